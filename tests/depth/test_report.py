"""Reports on depth: flicker, range, field of view, repairs; and a video of clip, depth and normals."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d.depth.files import read_depth
from ex4d.depth.report import report
from ex4d.depth.views import coloured, normals, side_by_side, write_side_by_side
from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.intrinsics import fit_frame, from_focal
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import Clip, clip_info, read_clip

SAMPLE = Path(__file__).resolve().parents[2] / "sample"
WIDTH, HEIGHT = 160, 96


def texture() -> np.ndarray:
    small = np.random.default_rng(0).integers(40, 215, (HEIGHT // 4, WIDTH // 2, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


def panning(frames: int = 5) -> tuple[Clip, np.ndarray]:
    """A picture that slides 2 pixels per frame, and a stepped depth that slides with it."""
    pictures = np.stack([texture()[:, 2 * t : 2 * t + WIDTH] for t in range(frames)])
    steps = np.where(np.arange(2 * WIDTH) // 20 % 2, 3.0, 8.0).astype(np.float32)
    depth = np.stack([np.broadcast_to(steps[2 * t : 2 * t + WIDTH], (HEIGHT, WIDTH)) for t in range(frames)])
    return Clip(pictures, Fraction(24), "a.mp4", 0, fit_frame(WIDTH, HEIGHT)), depth


def video(depth: np.ndarray, notes: tuple[str, ...] = ()) -> DepthVideo:
    return DepthVideo(depth, from_focal(100, WIDTH, HEIGHT), "made up", notes, 0.03)


def test_depth_that_goes_with_the_picture_does_not_flicker():
    clip, depth = panning()
    made = report(clip, video(depth))
    assert made.flicker < 0.01
    assert made.followed > 0.85
    assert report(clip, video(np.repeat(depth[:1], 5, 0))).flicker > 0.05  # it stays while the picture slides


def test_a_scale_that_jumps_is_the_flicker_that_is_reported():
    clip, depth = panning()
    jumping = depth * np.float32([1, 1.1, 1, 1.1, 1])[:, None, None]
    assert report(clip, video(jumping)).flicker == pytest.approx(np.log(1.1), rel=0.1)


def test_range_lens_and_repairs_are_reported(tmp_path):
    clip, depth = panning()
    made = report(clip, video(depth, ("The focal length is a guess.", "Else.")))
    assert (made.nearest, made.farthest) == (3, 8)
    assert made.field_of_view == pytest.approx((2 * np.degrees(np.arctan(0.8)), 2 * np.degrees(np.arctan(0.48))))
    assert made.lens == "The focal length is a guess."
    text = made.text()
    for words in ("made up, 5 frames of 160x96", "3 to 8", "77.3 x 51.3 degrees (100 px)", "3.00%", "Else."):
        assert words in text
    made.save(tmp_path / "r.json")
    stored = json.loads((tmp_path / "r.json").read_text())
    assert stored["flicker"] == made.flicker
    assert stored["repaired"] == 0.03


def test_one_frame_has_no_flicker():
    clip, depth = panning(1)
    made = report(clip, video(depth))
    assert made.flicker is None
    assert "nothing to compare" in made.text()


def test_depth_of_another_clip_is_refused():
    clip, _ = panning(4)
    with pytest.raises(InputError, match="must belong together"):
        report(clip, video(panning(5)[1]))
    with pytest.raises(InputError, match="must belong together"):
        side_by_side(clip, video(panning(5)[1]))


def test_near_is_red_and_far_is_blue_on_one_scale():
    red, blue = coloured(np.array([[1.0, 50.0]], np.float32), 1, 50)[0].astype(int)
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_normals_of_a_wall_and_of_the_ground():
    wall = DWMesh.from_depth(video(np.full((1, HEIGHT, WIDTH), 5, np.float32)))
    assert np.allclose(normals(wall, 0), [0, 0, -1], atol=1e-6)
    rows = 100 / (np.arange(HEIGHT) + 10.0)  # a plane below a camera that looks down slightly
    ground = DWMesh.from_depth(video(np.repeat(rows[None, :, None], WIDTH, 2).astype(np.float32)))
    found = normals(ground, 0)
    assert (found[..., 1] < -0.5).all()  # up
    assert np.allclose(found[20:-20], found[50, 50], atol=1e-2)


def test_the_video_shows_clip_depth_and_normals_of_the_sample(tmp_path):
    clip = read_clip(SAMPLE / "moving" / "clip.mp4", frames=6)
    depth = read_depth(SAMPLE / "moving" / "clip.depth.npz", clip)
    pictures = side_by_side(clip, depth)
    assert pictures.shape == (6, 144, 768, 3)
    assert np.array_equal(pictures[:, :, :256], clip.frames)
    assert len({picture[:, 256:512].tobytes() for picture in pictures}) == 6
    write_side_by_side(tmp_path / "s.mp4", clip, depth)
    info = clip_info(tmp_path / "s.mp4")
    assert (info.width, info.height, info.frames, info.fps) == (768, 144, 6, clip.fps)
    assert info.metadata["title"] == "Depth: file"
