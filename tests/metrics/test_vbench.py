"""VBench through its adapter: a stand-in with its interface, and the package itself if it can be imported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_shots import FPS
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.errors import InputError
from ex4d.media.movie import write_movie
from ex4d.metrics import vbench

STAND_IN = """
import json
from pathlib import Path


class VBench:
    def __init__(self, device, full_info_dir, output_path):
        self.device, self.out = device, output_path

    def evaluate(self, videos_path, name, dimension_list, mode):
        assert (self.device, mode) == ("cpu", "custom_input")
        files = sorted(Path(videos_path).iterdir())
        rows = [{"video_path": str(file), "video_results": 0.25 * n} for n, file in enumerate(files, 1)]
        Path(self.out, f"{name}_eval_results.json").write_text(json.dumps({d: [0.5, rows] for d in dimension_list}))
"""

SCORES = {"a": 0.25, "b": 0.5, "mean": 0.5}


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """This Python, with a package vbench that has VBench's interface."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "vbench.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    return Path(sys.executable)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    still = np.full((9, 64, 64, 3), 120, np.uint8)
    write_movie(folder / "a.mp4", still, FPS)
    blinking = still.copy()
    blinking[1::2] += 51  # a fifth of 255
    write_movie(folder / "b.mp4", blinking, FPS)
    return folder


def test_scores_come_back_by_video_and_dimension(runner, videos):
    scored = vbench.evaluate(videos, ["imaging_quality", "motion_smoothness"], "cpu", runner)
    assert scored == vbench.Scored({"imaging_quality": SCORES, "motion_smoothness": SCORES}, {})


def test_a_dimension_that_needs_vbenchs_own_prompts_is_refused(videos):
    with pytest.raises(
        InputError, match="VBench does not measure color on videos of one's own: choose from subject_con"
    ):
        vbench.evaluate(videos, ["color"], "cpu")


def test_where_it_is_not_set_up_that_is_said(videos):
    with pytest.raises(InputError, match="VBench is not set up"):
        vbench.evaluate(videos, ["imaging_quality"], "cpu")


def test_its_last_words_are_told_when_it_fails(runner, videos, tmp_path):
    (tmp_path / "packages" / "vbench.py").write_text("raise RuntimeError('no weights for you')")
    with pytest.raises(InputError, match=r"VBench failed on imaging_quality: .*no weights for you"):
        vbench.evaluate(videos, ["imaging_quality"], "cpu", runner)


def failing(tmp_path, statement):
    """Make the stand-in fail on imaging quality."""
    line = f'        if "imaging_quality" in dimension_list: {statement}\n        assert'
    (tmp_path / "packages" / "vbench.py").write_text(STAND_IN.replace("        assert", line))


FAILURES = {
    "raise ConnectionError('no route to host')": "could not download the network that it needs (imaging_quality: no",
    "raise RuntimeError('CUDA error')": "VBench failed on imaging_quality: ",
    "import os; os._exit(9)": "VBench failed on imaging_quality: exit code 9",
    "return": "VBench left no scores for imaging_quality that can be read ",
}


@pytest.mark.parametrize("statement", FAILURES)
def test_a_dimension_that_fails_is_missing_with_its_reason_and_the_others_stand(runner, videos, tmp_path, statement):
    failing(tmp_path, statement)
    scored = vbench.evaluate(videos, ["motion_smoothness", "imaging_quality", "dynamic_degree"], "cpu", runner)
    assert scored.scores == {"motion_smoothness": SCORES, "dynamic_degree": SCORES}
    assert list(scored.missing) == ["imaging_quality"]
    assert FAILURES[statement] in scored.missing["imaging_quality"]


def test_a_dimension_that_fails_alone_is_an_error(runner, videos, tmp_path):
    failing(tmp_path, "raise ConnectionError('no route to host')")
    with pytest.raises(InputError, match=r"could not download the network .*\(imaging_quality: no route to host\)"):
        vbench.evaluate(videos, ["imaging_quality"], "cpu", runner)


def test_the_command_prints_the_scores_and_says_what_is_missing(runner, videos, tmp_path, monkeypatch):
    failing(tmp_path, "raise ConnectionError('no route to host')")
    monkeypatch.setattr(vbench, "missing", lambda: "")
    monkeypatch.setattr(vbench, "python", lambda: runner)
    dimensions = "imaging_quality,dynamic_degree"
    asked = ["evaluate", "vbench", str(videos), "--dimensions", dimensions, "--device", "cpu"]
    result = CliRunner().invoke(build_app(), asked)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f"dynamic_degree {name} {score:.4f}" for name, score in SCORES.items()]
    assert "(imaging_quality: no route to host)" in " ".join(result.stderr.split())


@pytest.mark.skipif(os.name == "nt", reason="a process is interrupted in another way there")
def test_an_interrupt_loses_no_score_that_was_there_before(runner, videos, tmp_path):
    started = tmp_path / "started"
    what = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(100)"
    line = f'        if "dynamic_degree" in dimension_list: {what}\n        assert'
    (tmp_path / "packages" / "vbench.py").write_text(STAND_IN.replace("        assert", line))
    environment = tmp_path / "cache" / "vbench"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(runner)
    (environment / "installed.txt").write_text("\n".join(vbench.REQUIREMENTS))
    asked = ["evaluate", "vbench", str(videos), "--dimensions", "imaging_quality,dynamic_degree", "--device", "cpu"]
    command = [sys.executable, "-m", "ex4d.cli", *asked]
    packages = os.pathsep.join([os.environ["PYTHONPATH"], *sys.path])
    places = {**os.environ, "PYTHONPATH": packages, "EX4D_CACHE": str(tmp_path / "cache")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def listening() -> None:  # a shell that runs tests in the background lets them ignore interrupts
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, env=places, start_new_session=True, preexec_fn=listening, **pipes) as scoring:
        told = [scoring.stdout.readline() for _ in SCORES]
        while scoring.poll() is None and not started.exists():  # an interrupt of a Python that is starting may be lost
            time.sleep(0.05)
        assert scoring.poll() is None
        os.killpg(scoring.pid, signal.SIGINT)  # as a terminal does
        rest, _ = scoring.communicate(timeout=60)
    assert told == [f"imaging_quality {name} {score:.4f}\n" for name, score in SCORES.items()]
    assert rest == ""
    assert scoring.returncode != 0


def test_an_environment_whose_installation_did_not_finish_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path))
    vbench.python().parent.mkdir(parents=True)
    vbench.python().write_text("")
    assert "VBench is not set up" in vbench.missing()
    (vbench.folder() / "installed.txt").write_text("\n".join(vbench.REQUIREMENTS))
    assert vbench.missing() == ""


def test_a_python_that_is_too_new_for_its_pins_is_refused(tmp_path):
    newer = tmp_path / "python"
    newer.write_text("#!/bin/sh\necho 3 13\n")
    newer.chmod(0o755)
    with pytest.raises(InputError, match=r"VBench needs Python 3.8 to 3.11, .* for 3.13: name another Python"):
        vbench.set_up(newer)


def test_vbenchs_own_flicker_of_a_known_video(videos):
    if subprocess.run([sys.executable, "-c", "import vbench"], capture_output=True, check=False).returncode:
        pytest.skip("the package vbench is not installed here")
    scores = vbench.evaluate(videos, ["temporal_flickering"], "cpu", Path(sys.executable))
    scores = scores.scores["temporal_flickering"]
    assert scores["a"] == pytest.approx(1, abs=0.003)
    assert scores["b"] == pytest.approx(1 - 51 / 255, abs=0.01)
    assert scores["mean"] == pytest.approx((scores["a"] + scores["b"]) / 2)
