"""Users' clips on the command line: sequences, steps, frame rates, other aspect ratios."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import ex4d

from ex4d.media.movie import read_movie, write_movie
from ex4d.pipeline import take

HEIGHT, WIDTH = 48, 64


def level(number: int) -> int:
    """The grey level of frame `number`."""
    return 20 + 4 * number


def grey(number: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), level(number), np.uint8)


def shown(path: Path) -> list[int]:
    """The number of each frame in a video, read from its middle, which the camera hardly moves."""
    frames = read_movie(path).frames[:, HEIGHT // 2 - 4 : HEIGHT // 2 + 4, WIDTH // 2 - 4 : WIDTH // 2 + 4]
    return [round((float(frame.mean()) - 20) / 4) for frame in frames]


def depth_for(clip: Path, frames: int) -> None:
    np.savez(clip.with_name(f"{clip.stem}.depth.npz"), depth=np.full((frames, HEIGHT, WIDTH), 5, np.float32))


def recon(folder: Path, *arguments) -> tuple[Path, str]:
    """Run recon with a move so small that the middle of the picture stays in place."""
    out = folder / "out"
    done = ex4d("recon", "--cam", "zoom_in", "--amount", "0.01", "--output_dir", out, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return out / "color_zoom_in.mp4", done.stderr


@pytest.fixture
def shot(tmp_path) -> Path:
    """A folder shot with images 1001 to 1012 except 1004 to 1006, with masks next to them, and their depth."""
    folder = tmp_path / "shot"
    folder.mkdir()
    for number in [*range(3), *range(6, 12)]:
        cv2.imwrite(str(folder / f"shot.{1001 + number}.png"), grey(number))
        cv2.imwrite(str(folder / f"shot_mask.{1001 + number}.png"), grey(40))
    depth_for(folder, 12)
    return folder


def test_missing_pictures_are_held_or_left_out_and_masks_are_not_mixed_in(shot):
    movie, said = recon(shot.parent, "--input_video", "shot")
    assert shown(movie) == [0, 1, 2, 2, 2, 2, 6, 7, 8, 9, 10, 11]
    assert "Missing from shot.####.png: 1004 to 1006." in said
    assert "Left out: shot_mask.####.png (9);" in said
    movie, said = recon(shot.parent, "--input_video", shot / "shot.1002.png", "--gaps", "leave", "--num_frames", 5,
                        "--depth_estimator", "plane")  # fmt: skip
    assert shown(movie) == [0, 1, 2, 6, 7]
    assert "5 of the 9 frames of shot are used, beginning with frame 0 (from 0 in the file)." in said
    movie, _ = recon(shot.parent, "--input_video", shot / "shot_mask.1002.png", "--num_frames", 1,
                     "--depth_estimator", "plane")  # fmt: skip
    assert shown(movie) == [40]


def test_start_step_and_fps_say_which_frames_are_used(tmp_path):
    write_movie(tmp_path / "clip.mp4", np.stack([grey(n) for n in range(50)]), Fraction(30))
    depth_for(tmp_path / "clip.mp4", 50)
    movie, said = recon(tmp_path, "--input_video", "clip.mp4", "--start", 4, "--step", 3, "--num_frames", 5)
    assert shown(movie) == [4, 7, 10, 13, 16]
    assert read_movie(movie).fps == 10
    assert (
        "5 of the 50 frames of clip.mp4 are used, every 3rd one, beginning with frame 4 (from 0 in the file)." in said
    )
    movie, said = recon(tmp_path, "--input_video", "clip.mp4", "--fps", 12, "--num_frames", 4)
    assert shown(movie) == [1, 3, 6, 8], "what is on screen in the middle of each twelfth of a second"
    assert read_movie(movie).fps == 12
    assert "read at 12 frames per second instead of its own 30" in said
    _movie, said = recon(tmp_path, "--input_video", "clip.mp4")
    assert "49 of the 50 frames of clip.mp4 are used, beginning with frame 0 (from 0 in the file)." in said


def test_a_take_of_pictures_keeps_only_those_of_its_range(shot):
    done = ex4d(
        "generate", "--input_video", "shot", "--start", 2, "--num_frames", 5, "--cam", "30",
        "--output_video", "take.mp4", cwd=shot.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Left out: shot_mask.####.png (9);" in done.stderr
    record = take.read_record(shot.parent / "take.take" / take.SIDECAR)
    assert [blob.name for blob in record.job.source.clip] == ["shot.1003.png", "shot.1007.png"]
    again = ex4d("again", "take.take", cwd=shot.parent, fresh=True)
    assert "The result is the same, byte for byte." in again.stderr, again.stderr


def test_another_aspect_is_cropped_or_squeezed_and_told(tmp_path):
    write_movie(tmp_path / "clip.mp4", np.stack([grey(n) for n in range(3)]), Fraction(24))
    depth_for(tmp_path / "clip.mp4", 3)
    common = ("generate", "--input_video", "clip.mp4", "--width", 96, "--height", 96, "--output_video", "r.mp4")
    for more, said in (
        ((), "25% of the picture was cropped at the sides"),
        (("--fit", "squeeze"), "the picture was squeezed to 75% of its width"),
        (("--release_compat",), "the picture was squeezed to 75% of its width"),
    ):
        done = ex4d(*common, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        assert read_movie(tmp_path / "r.mp4").frames.shape == (3, 96, 96, 3)
