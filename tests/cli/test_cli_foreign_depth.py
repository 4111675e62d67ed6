"""Depth files of other tools next to a clip, on the command line."""

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import ex4d

from ex4d.geometry.depth_video import load_depth_npz
from ex4d.media.movie import write_movie

HEIGHT, WIDTH, FRAMES = 96, 160, 5
SWAPPED = "Near and far look swapped"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EX4D_MODELS", raising=False)


@pytest.fixture
def street(tmp_path) -> tuple[Path, np.ndarray]:
    """A folder with clip.mp4, and its disparity (T,H,W), 0 to 1: a textured floor with a wall at its end."""
    rows = np.mgrid[:HEIGHT, :WIDTH][0]
    texture = np.random.default_rng(0).integers(0, 255, (HEIGHT // 4, WIDTH // 4), np.uint8)
    frame = cv2.resize(texture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    write_movie(tmp_path / "clip.mp4", np.stack([np.dstack([frame] * 3)] * FRAMES), Fraction(24))
    floor = np.maximum(rows - 0.4 * HEIGHT, 0) / (0.6 * HEIGHT)
    return tmp_path, np.stack([floor * (1 - 0.02 * t) for t in range(FRAMES)])


def depth(folder: Path, *more: object):
    done = ex4d("depth", "--input_video", folder / "clip.mp4", "--output_dir", folder / "out", *more)
    return done, load_depth_npz(folder / "out" / "clip.depth.npz").depth if done.returncode == 0 else None


def test_a_grey_video_beside_the_clip_is_found_and_read_as_disparity(street):
    folder, disparity = street
    write_movie(folder / "clip_depth.mp4", np.round(255 * disparity).astype(np.uint8), Fraction(24), lossless=True)
    done, found = depth(folder, "--depth_edges", "off")
    assert done.returncode == 0, done.stderr
    assert "clip_depth.mp4 holds a grey video: it was read as relative disparity" in done.stderr
    assert "levels, so distant" in done.stderr
    assert SWAPPED not in done.stderr
    grey = np.round(255 * disparity)
    expected = 10000 / (3900 * np.maximum((grey - grey.min()) / np.ptp(grey), 1e-9))
    assert np.allclose(found, np.minimum(expected, 10000), rtol=1e-4)


def test_disparity_that_is_taken_for_distances_is_told_with_the_option_that_mends_it(street):
    folder, disparity = street
    np.savez(folder / "clip_depths.npz", depths=(1.3 + 22 * disparity).astype(np.float16))
    done, wrong = depth(folder)
    assert done.returncode == 0, done.stderr
    assert f"{SWAPPED}: the numbers in clip_depths.npz grow towards the camera" in done.stderr
    assert "read it as relative disparity" in done.stderr
    assert wrong[0, -1, 0] > wrong[0, 0, 0]
    done, right = depth(folder, "--depth_convention", "disparity")
    assert done.returncode == 0, done.stderr
    assert SWAPPED not in done.stderr
    assert right[0, -1, 0] == pytest.approx(10000 / 3900, rel=0.01)
    assert right[0, 0, 0] == pytest.approx(10000, rel=0.01)


def test_a_take_keeps_the_warning_and_is_made_again_from_a_depth_video(street):
    folder, disparity = street
    far_is_light = np.round(255 * np.minimum(1 / np.maximum(disparity, 0.05), 20) / 20).astype(np.uint8)
    write_movie(folder / "clip_depth.mp4", far_is_light, Fraction(24), lossless=True)
    done = ex4d("generate", "--input_video", folder / "clip.mp4", "--cam", "30", "--output_video", folder / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert "what is light in clip_depth.mp4 seems to be far" in done.stderr
    record = json.loads((folder / "out.take" / "take.json").read_text())
    assert SWAPPED in record["depth"]["caution"]
    assert any(note.startswith(SWAPPED) for note in record["notes"])
    assert [blob["name"] for blob in record["job"]["source"]["depth"]] == ["clip_depth.mp4"]
    again = ex4d("again", folder / "out.take", "--output_dir", folder / "again", fresh=True)
    assert again.returncode == 0, again.stderr
    assert (folder / "again" / "result.mp4").read_bytes() == (folder / "out.take" / "result.mp4").read_bytes()


def test_what_may_be_depth_is_named_where_it_was_not_taken_and_a_colour_map_is_refused(street):
    folder, disparity = street
    grey = np.round(255 * disparity).astype(np.uint8)
    coloured = np.stack([cv2.applyColorMap(frame, cv2.COLORMAP_INFERNO)[..., ::-1] for frame in grey])
    write_movie(folder / "clip_disp_vis.mp4", coloured, Fraction(24))
    done, _ = depth(folder)
    assert done.returncode == 0, done.stderr
    assert "clip_disp_vis.mp4 beside clip.mp4 may be its depth: if so, name it as the depth file." in done.stderr
    done, _ = depth(folder, "--depth_estimator", "file")
    assert done.returncode != 0
    assert "clip_disp_vis.mp4 beside clip.mp4 may be its depth" in " ".join(done.stderr.split())
    done, _ = depth(folder, "--depth", folder / "clip_disp_vis.mp4")
    assert done.returncode != 0
    assert "is in colour, such as a colour map" in " ".join(done.stderr.split())
