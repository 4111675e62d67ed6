"""The numbered examples, run as a reader runs them, on the sample."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ex4d.media.clip import clip_info
from ex4d.pipeline import take

REPO = Path(__file__).resolve().parent.parent


def run(name, *arguments):
    command = [sys.executable, REPO / "examples" / name, REPO / "sample" / "clip.mp4", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout


def test_an_orbit_of_the_sample_becomes_a_video(tmp_path):
    said = run("1_orbit.py", tmp_path / "orbit.mp4")
    assert clip_info(tmp_path / "orbit.mp4").frames == 49
    assert "49 frames" in said


def test_a_path_of_ones_own_becomes_a_video_and_a_camera_file(tmp_path):
    run("2_own_path.py", tmp_path / "own.mp4")
    assert clip_info(tmp_path / "own.mp4").frames == 49
    assert (tmp_path / "own.npz").is_file()


def test_the_depth_of_the_sample_is_written_and_told(tmp_path):
    said = run("3_depth.py", tmp_path / "depth")
    assert {path.name for path in (tmp_path / "depth").iterdir()} == {"depth.npz", "depth.mp4"}
    assert "flicker" in said.lower()


@pytest.fixture
def address(tmp_path):
    command = [sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", tmp_path / "state"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield re.search(r"tcp://\S+", server.stdout.readline())[0]
        server.terminate()


def test_a_job_on_a_server_leaves_a_take(address, tmp_path):
    run("4_server.py", tmp_path / "out", address)
    (folder,) = (tmp_path / "out").iterdir()
    assert take.read_record(folder / take.SIDECAR).frames == 49
