"""docs/extending.md, followed word for word: its packages are cut out of the page, installed, and used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ex4d.pipeline import take

REPO = Path(__file__).resolve().parent.parent
PAGE = (REPO / "docs" / "extending.md").read_text()


@pytest.fixture
def ex4d(tmp_path):
    """The command line of an environment in which the page's packages are installed."""
    code = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.DOTALL)
    points = re.findall(
        r"```toml\n.*?\[project\.entry-points\.\"([\w.]+)\"\]\n(\w+) = \"(\w+):(\w+)\"\n```", PAGE, re.DOTALL
    )
    assert len(code) == len(points) == 3
    for name, text in code:
        (tmp_path / f"{name}.py").write_text(text)
    for group, name, module, thing in points:
        about = tmp_path / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{thing}\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200", "EX4D_CACHE": str(tmp_path / "cache")}

    def run(*words):
        command = [sys.executable, "-m", "ex4d.cli", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=True)

    return run


def test_the_generator_of_the_page_is_in_the_help_and_makes_a_take(ex4d, tmp_path):
    assert "--strength" in ex4d("generate", "--help").stdout
    known = ("--input_video", REPO / "sample" / "clip.mp4", "--num_frames", 5, "--output_video", tmp_path / "out.mp4")
    done = ex4d("generate", *known, "--generator", "hold", "--strength", "0.5", "--cam", "30")
    assert "Holes hold the last colour" in done.stderr
    record = take.read_record(tmp_path / "out.take" / take.SIDECAR)
    assert (record.generator, record.settings["strength"]) == ("hold", 0.5)


def test_the_depth_estimator_of_the_page_gives_the_depth_of_a_take(ex4d, tmp_path):
    known = ("--input_video", REPO / "sample" / "clip.mp4", "--num_frames", 5, "--output_video", tmp_path / "out.mp4")
    ex4d("generate", *known, "--depth_estimator", "flat", "--cam", "30")
    record = take.read_record(tmp_path / "out.take" / take.SIDECAR)
    assert record.depth["provider"] == "flat"


def test_the_command_of_the_page_is_one(ex4d):
    assert ex4d("hello", "--name", "Ada").stdout == "Hello, Ada.\n"
