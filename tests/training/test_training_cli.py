"""`ex4d train masks` from the command line."""

import subprocess
import sys

import cv2
import numpy as np
from films import folder_of, panned, written
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.training.dataset import Dataset


def test_the_command_leaves_a_dataset_and_a_sheet_and_lists_what_it_left_out(tmp_path):
    films = folder_of(tmp_path / "films", 2, 10)
    written(films / "short.mp4", panned(3, 4))
    (tmp_path / "table.csv").write_text(
        "video,caption\nfilm_1.mp4,A wall.\nshort.mp4,Nothing.\nfilm_0.mp4,Another wall.\n"
    )
    arguments = ["train", "masks", str(tmp_path / "table.csv"), str(tmp_path / "set"), "--frames", "9", "--size", "64"]
    options = ["--masks", "2", "--depth_estimator", "plane", "--processes", "1", "--seed", "3"]
    result = CliRunner().invoke(build_app(), [*arguments, *options])
    assert result.exit_code == 0, result.output
    made = Dataset.open(tmp_path / "set")
    assert [made.about_clip(clip).caption for clip in made.clips] == ["A wall.", "Another wall."]
    assert made.about.settings.seed == 3
    assert result.stdout.split() == [str(tmp_path / "set"), str(tmp_path / "set/contact_sheet.png")]
    said = " ".join(result.stderr.split())
    assert "2 clips with 2 masks each." in said
    assert "1 of 3 videos were left out." in said
    assert "short.mp4: it has 4 frames, and a clip needs 9." in said
    sheet = cv2.imread(str(tmp_path / "set/contact_sheet.png"))
    assert sheet.shape[1] > 1000
    row = sheet[30:254, :224, ::-1].astype(int)  # the first frame, complete
    expected = cv2.resize(made.load(made.clips[0], 0).frames[0], (224, 224), interpolation=cv2.INTER_AREA)
    assert np.abs(row - expected).mean() < 1


def test_the_command_line_lists_its_commands_without_what_training_needs():
    code = "import sys; from ex4d.cli.app import build_app; build_app(); print([m for m in ('torch','cv2','numba','av')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} if m in sys.modules], 'ex4d.training.making' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("]")[1].strip() == "False"
    assert "torch" not in done.stdout


def test_a_length_that_the_video_model_does_not_take_is_said_before_anything_is_made(tmp_path):
    for frames, told in (("8", True), ("9", False)):
        asked = ["train", "masks", str(tmp_path), str(tmp_path / "set"), "--frames", frames]
        output = CliRunner().invoke(build_app(), asked).output
        assert ("The video model takes 4k+1 frames" in output) is told
