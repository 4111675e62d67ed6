"""`ex4d run`: a job file on a farm."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import ex4d

from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.job_file import write_job
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings
from ex4d.pipeline.take import SIDECAR, read_record

FARM = Path(__file__).parents[2] / "examples" / "farm"


@pytest.fixture
def job_file(shoot):
    """A job file for a preview, beside its clip."""
    places = [shoot / name for name in ("clip.mp4", "clip.depth.npz")]
    clip, depth = map(blob_of, places)
    job = Generate(Source((clip,), (depth,)), preset=PathSettings(cam="30"), generation=GenerateSettings("preview"))
    path = shoot / "shot.job.json"
    write_job(path, job, dict(zip((clip.sha256, depth.sha256), places, strict=True)))
    return path


def test_a_job_file_gives_the_bytes_of_the_command_wherever_the_folder_is_and_tells_how_far_it_is(job_file, tmp_path):
    done = ex4d(
        "generate", "--input_video", job_file.parent / "clip.mp4", "--cam", "30", "--generator", "preview",
        "--output_video", tmp_path / "command.mp4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    moved = tmp_path / "elsewhere"
    shutil.copytree(job_file.parent, moved, ignore=shutil.ignore_patterns("elsewhere", "command*"))
    done = ex4d("run", moved / job_file.name, "--output_dir", moved / "out" / "shot.take")
    assert done.returncode == 0, done.stderr
    take = moved / "out" / "shot.take"
    assert (take / "result.mp4").read_bytes() == (tmp_path / "command.mp4").read_bytes()
    assert set(read_record(take / SIDECAR).inputs.values()) == {"../../clip.mp4", "../../clip.depth.npz"}
    told = [float(number) for number in re.findall(r"^openjd_progress: (\S+)$", done.stdout, re.MULTILINE)]
    assert told == sorted(told)
    assert told[-1] == 100
    assert len(told) > 5
    assert re.search(r"^openjd_status: Rendering colour and mask \d+/\d+$", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1] == str(take)
    assert "openjd_fail" not in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: (file.parent / "clip.mp4").unlink(), "clip.mp4 is not there: bring it back, or make it visible"),
        (lambda file: (file.parent / "clip.mp4").write_bytes(b"another"), "clip.mp4 has changed since the job file"),
        (lambda file: file.write_text("{"), "is not a job file: make one with"),
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
