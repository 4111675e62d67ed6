"""The guess without a model: every clip gets relief, and moving things stand in front of the ground."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d.depth.estimators import plane
from ex4d.depth.report import flicker
from ex4d.errors import InputError
from ex4d.geometry.intrinsics import fit_frame
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import Clip, read_clip

SHARED = Path(__file__).resolve().parents[3] / "shared" / "clips"
WIDTH, HEIGHT = 256, 144


def clip_of(frames: np.ndarray) -> Clip:
    return Clip(frames, Fraction(24), "a.mp4", 0, fit_frame(frames.shape[2], frames.shape[1]))


def texture(height: int, width: int, seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(40, 215, (height // 4, width // 4, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


def walker(frames: int = 12, pan: int = 0, stops: int | None = None) -> Clip:
    """A textured box that moves 3 pixels per frame to the right in front of a wall; the camera may pan."""
    wall, box = texture(HEIGHT, WIDTH + 200, 0), texture(60, 32, 1)
    result = []
    for t in range(frames):
        picture = wall[:, pan * t :][:, :WIDTH].copy()
        left = 60 + 3 * min(t, frames if stops is None else stops)
        picture[60:120, left : left + 32] = box
        result.append(picture)
    return clip_of(np.stack(result))


def nearness_of_box(depth: np.ndarray, t: int, step: int | None = None) -> float:
    """How many times as near the middle of the box is as the wall at the same height, away from the box."""
    left = 60 + 3 * (t if step is None else step)
    return float(np.median(depth[t, 80:100, 200:240]) / np.median(depth[t, 80:100, left + 8 : left + 24]))


@pytest.mark.parametrize("pan", [0, 2, 5])
def test_what_moves_stands_in_front_whether_the_camera_pans_or_not(pan):
    depth = plane.estimate(walker(pan=pan)).depth
    for t in (0, 5, 11):
        assert nearness_of_box(depth, t) > 1.25


def test_what_has_stopped_goes_on_standing_out():
    depth = plane.estimate(walker(14, stops=7)).depth
    assert nearness_of_box(depth, 13, 7) > 1.25


def test_a_still_picture_is_a_ground_plane_before_a_background():
    one = plane.estimate(walker(1))
    still = plane.estimate(clip_of(np.repeat(walker(1).frames, 4, 0)))
    for made in (one, still):
        rows = made.depth[0, :, WIDTH // 2]
        assert np.allclose(made.depth, rows[:, None])
        assert (np.diff(rows) <= 0).all()
        assert rows[0] / rows[-1] == pytest.approx(5, rel=0.02)
        # The ground is flat when seen from a level camera at height 1.
        vertices = DWMesh.from_depth(made).camera_vertices(0)
        horizon = (HEIGHT / 2 - plane.HORIZON * HEIGHT) / made.intrinsics[0, 1, 1]
        height = vertices[100:140, 50, 1] + horizon * vertices[100:140, 50, 2]
        assert np.allclose(height, 1, rtol=0.01)


def test_noise_alone_moves_nothing():
    still = np.repeat(walker(1).frames, 6, 0).astype(np.int16)
    noisy = still + np.random.default_rng(0).normal(0, 3, still.shape).round().astype(np.int16)
    depth = plane.estimate(clip_of(noisy.clip(0, 255).astype(np.uint8))).depth
    calm = plane.estimate(walker(1)).depth
    assert np.median(np.abs(depth / calm - 1)) < 0.02


def test_it_is_steady_labelled_and_of_one_scale():
    clip = walker()
    made = plane.estimate(clip)
    change, followed = flicker(clip.frames, made.depth)
    assert change < 0.01
    assert followed > 0.8
    assert made.provider == "plane"
    assert plane.NOTE in made.notes
    assert any("54 degrees" in note for note in made.notes)
    assert np.ptp(made.depth[:, -1, -1]) < 0.02


def test_proportions_do_not_depend_on_the_size_of_the_picture():
    clip = walker(4)
    twice = clip_of(clip.frames.repeat(2, 1).repeat(2, 2))
    small, large = plane.estimate(clip), plane.estimate(twice)
    assert np.allclose(large.intrinsics[0, :2], 2 * small.intrinsics[0, :2])
    assert np.median(np.abs(large.depth[:, ::2, ::2] / small.depth - 1)) < 0.02


def test_a_lens_can_be_given_and_must_be_possible():
    assert plane.estimate(walker(2), focal_px=300).intrinsics[0, 0, 0] == 300
    with pytest.raises(InputError, match="positive number of pixels"):
        plane.estimate(walker(2), focal_px=-1)


@pytest.mark.parametrize("value", [0, 255])
def test_pictures_without_anything_in_them_stand_up_too(value):
    depth = plane.estimate(clip_of(np.full((3, 64, 64, 3), value, np.uint8))).depth
    assert np.isfinite(depth).all()
    assert depth.min() > 0


def test_a_person_in_a_real_clip_stands_before_the_background():
    if not SHARED.is_dir():
        pytest.skip("the real clips for tests are not on this machine")
    clip = read_clip(SHARED / "05_default_juggle.mp4", frames=33, longest_side=512)
    depth = plane.estimate(clip).depth
    assert np.isfinite(depth).all()
    assert depth.min() > 0
    for t in (0, 16, 32):  # his chest against the trees next to him
        chest = depth[t, 60:120, 260:300] if t else depth[t, 60:120, 265:295]
        assert np.median(depth[t, 60:120, 400:500]) > 1.3 * np.median(chest)
