"""`ex4d run`: run a job file, as on a render farm."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import ex4d

from ex4d.pipeline.take import SIDECAR, read_record

FARM = Path(__file__).parents[2] / "examples" / "farm"


WISH = ("--cam", "30", "--generator", "preview")


@pytest.fixture
def job_file(shoot):
    """A job file for a preview, next to its clip."""
    path = shoot / "shot.job.json"
    done = ex4d("generate", "--input_video", shoot / "clip.mp4", *WISH, "--job_file", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(path)
    assert not [place for place in shoot.iterdir() if place.suffix == ".take"]
    return path


def test_a_job_file_gives_the_bytes_of_the_command_wherever_the_folder_is_and_tells_how_far_it_is(job_file, tmp_path):
    done = ex4d(
        "generate", "--input_video", job_file.parent / "clip.mp4", *WISH, "--output_video", tmp_path / "command.mp4"
    )
    assert done.returncode == 0, done.stderr
    moved = tmp_path / "elsewhere"
    shutil.copytree(job_file.parent, moved, ignore=shutil.ignore_patterns("elsewhere", "command*"))
    done = ex4d("run", moved / job_file.name, "--output_dir", moved / "out" / "shot.take", fresh=True)
    assert done.returncode == 0, done.stderr
    take = moved / "out" / "shot.take"
    assert (take / "result.mp4").read_bytes() == (tmp_path / "command.mp4").read_bytes()
    assert set(read_record(take / SIDECAR).inputs.values()) == {"../../clip.mp4", "../../clip.depth.npz"}
    told = [float(number) for number in re.findall(r"^openjd_progress: (\S+)$", done.stdout, re.MULTILINE)]
    assert told == sorted(told)
    assert told[-1] == 100
    assert len(told) > 5
    assert told[-2] > 50, "it does not wait for stages that a preview does not have"
    assert re.search(r"^openjd_status: Rendering colour and mask \d+/\d+$", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1] == str(take)
    assert "openjd_fail" not in done.stdout


def test_a_camera_of_several_files_is_kept_beside_the_job_file(job_file, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "cameras.txt").write_text("1 PINHOLE 160 96 150 150 80 48\n")
    rows = (f"{n} 1 0 0 0 {0.01 * n} 0 0 1 {n:04d}.png\n\n" for n in range(1, 26))
    (model / "images.txt").write_text("".join(rows))
    (model / "points3D.txt").write_text("")
    path = job_file.with_name("colmap.json")
    done = ex4d("generate", "--input_video", job_file.parent / "clip.mp4", "--camera", model, "--job_file", path)
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(path.read_text())["inputs"].values()) == ["clip.depth.npz", "clip.mp4", "colmap.path.npz"]
    assert (path.parent / "colmap.path.npz").is_file()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "Name either the video, such as --output_video shot.mp4, or a job file"),
        (("--job_file", "a.json", "--output_video", "a.mp4"), "Name either the video, such as --output_video shot.mp4"),
        (("--job_file", "clip.mp4"), "is an input of the result"),
        (("--job_file", "a.json", "--output_format", "prores"), "A job file makes a take, whose videos are .mp4"),
    ],
)
def test_a_job_file_is_refused_where_it_is_not_what_is_meant(shoot, more, said):
    done = ex4d("generate", "--input_video", "clip.mp4", *WISH, *more, cwd=shoot)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not (shoot / "a.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: (file.parent / "clip.mp4").unlink(), "clip.mp4 is not there: bring it back, or make it visible"),
        (lambda file: (file.parent / "clip.mp4").write_bytes(b"another"), "clip.mp4 has changed since the job file"),
        (lambda file: file.write_text("{"), "is not a job file, or is damaged: create it again."),
        (lambda file: file.write_text(file.read_text().replace('"format": 1', '"format": 2')), "by a later version"),
        (
            lambda file: file.write_text(file.read_text().replace('"cam": "30"', '"cam": 30')),
            "this version cannot read",
        ),
        (lambda file: file.unlink(), "cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_said_to_the_farm_too_and_nothing_is_left(job_file, change, said):
    change(job_file)
    done = ex4d("run", job_file, "--output_dir", job_file.parent / "out" / "shot.take")
    assert done.returncode != 0
    (line,) = re.findall(r"^openjd_fail: .*$", done.stdout, re.MULTILINE)
    assert said in line
    assert said.split(":")[0] in " ".join(done.stderr.split())
    assert not (job_file.parent / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="farms end processes otherwise there")
def test_a_job_that_the_farm_ends_leaves_nothing_half_made(job_file):
    command = [sys.executable, "-m", "ex4d.cli", "run", job_file, "--output_dir", job_file.parent / "out" / "shot.take"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("openjd_status: Rendering"):
                break
        process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert process.returncode == 128 + signal.SIGTERM, process.stderr.read()
    assert not (job_file.parent / "out").exists()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_flamenco_job_type_makes_one_task_that_runs_the_command():
    script = (
        (FARM / "flamenco_ex4d.js").read_text()
        + """
    const made = [];
    const author = {
        Task: (name, type) => ({ name, type, commands: [], addCommand(command) { this.commands.push(command); } }),
        Command: (name, parameters) => ({ name, parameters }),
    };
    const settings = Object.fromEntries(JOB_TYPE.settings.map((each) => [each.key, each.default || "/" + each.key]));
    compileJob({ settings, addTask: (task) => made.push(task) });
    console.log(JSON.stringify(made));
    """
    )
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    (task,) = json.loads(done.stdout)
    assert [(each["name"], each["parameters"]) for each in task["commands"]] == [
        ("exec", {"exe": "ex4d", "args": ["run", "/job_file", "--output_dir", "/output_dir"]})
    ]
