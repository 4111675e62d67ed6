"""What moves by itself is found as a whole, and nothing else is."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from ex4d.errors import Cancelled
from ex4d.source_camera.moving import LEAST_OFF, MOST_OFF, moving_mask, tolerance
from ex4d.source_camera.spreading import spread
from ex4d.synthetic import scenes
from ex4d.synthetic.footage import Recording, shoot

FRAMES, WIDTH, HEIGHT = 25, 384, 216


@cache
def footage(name, moves=True):
    """The clip of a scene, or of the same place without anything that moves."""
    world = scenes.SCENES[name](FRAMES, 0)
    if not moves:
        world = replace(world, things=tuple(thing for thing in world.things if thing.motion is None))
    return shoot(world, Recording(WIDTH, HEIGHT, FRAMES))[0]


@cache
def mask(name, moves=True, wrong=1.0):
    source, random = footage(name, moves), np.random.default_rng(0)
    scale = np.exp(0.05 * random.standard_normal(FRAMES))
    depth = (source.depth * (wrong / scale)[:, None, None]).astype(np.float32)
    cameras = source.cameras
    return moving_mask(
        source.frames, depth, cameras.camera_to_world, cameras.intrinsics, scale=scale, depth_off=tolerance(0.02)
    )


@pytest.mark.parametrize(
    ("name", "missed", "too_much"), [("street", 0.2, 0.08), ("drone", 0.2, 0.08), ("tripod", 0.1, 0.08)]
)
def test_people_and_cars_are_found_as_a_whole_and_little_around_them(name, missed, too_much):
    truth, found = footage(name).moving, mask(name)
    assert (truth & ~found).sum() < missed * truth.sum()
    assert (found & ~truth).sum() < too_much * (~truth).sum()


@pytest.mark.parametrize("name", ["street", "drone"])
def test_where_nothing_moves_hardly_anything_is_found(name):
    assert not footage(name, moves=False).moving.any()
    assert mask(name, moves=False).mean() < 0.01


def test_depth_that_is_off_by_less_than_the_tolerance_makes_nothing_move():
    assert mask("street", moves=False, wrong=1.1).mean() < 0.01


def test_the_tolerance_follows_the_error_at_points_and_is_widest_if_that_is_unknown():
    assert tolerance(0.0) == LEAST_OFF
    assert tolerance(0.08) == pytest.approx(np.exp(0.32))
    assert tolerance(1.0) == tolerance(float("nan")) == MOST_OFF


def test_votes_spread_over_their_surface_and_not_past_a_step_of_the_depth():
    colour, depth = np.full((60, 80, 3), 128, np.uint8), np.full((60, 80), 5.0, np.float32)
    depth[10:50, 20:60] = 3.0
    yes, no = np.zeros((2, 60, 80), np.float32)
    yes[30, 25:55], no[5, 5] = 1, 1
    said = spread(yes, no, colour, depth)
    surface = depth == 3.0
    assert said[surface].mean() > 0.95
    assert said[~surface].mean() < 0.03


def test_what_no_vote_reaches_does_not_move():
    empty = np.zeros((40, 40), np.float32)
    assert not spread(empty, empty, np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.float32)).any()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_few_frames_are_no_reason_to_fail(count):
    source, cameras = footage("street"), footage("street").cameras
    found = moving_mask(
        source.frames[:count], source.depth[:count], cameras.camera_to_world[:count], cameras.intrinsics[:count]
    )
    assert found.shape == (count, HEIGHT, WIDTH)
    if count == 1:
        assert not found.any()


def test_a_large_clip_gets_a_small_mask():
    source, cameras = footage("street"), footage("street").cameras
    size = 2 * WIDTH, 2 * HEIGHT
    frames = np.stack([cv2.resize(one, size) for one in source.frames[:3]])
    depth = np.stack([cv2.resize(one, size) for one in source.depth[:3]])
    lens = cameras.intrinsics[:3] * np.array([[2], [2], [1]])
    assert moving_mask(frames, depth, cameras.camera_to_world[:3], lens).shape == (3, HEIGHT, WIDTH)
    upright = frames.transpose(0, 2, 1, 3), depth.transpose(0, 2, 1)
    assert moving_mask(*upright, cameras.camera_to_world[:3], lens).shape[1:] == (WIDTH, HEIGHT)


def test_it_can_be_cancelled_from_the_first_frame_on():
    source, cameras, asked = footage("street"), footage("street").cameras, []

    def progress(stage, step, steps):
        asked.append((step, steps))
        raise Cancelled

    with pytest.raises(Cancelled):
        moving_mask(source.frames, source.depth, cameras.camera_to_world, cameras.intrinsics, progress)
    assert asked == [(1, FRAMES)]


def test_guessed_depth_does_not_make_everything_move():
    source, cameras = footage("drone"), footage("drone").cameras
    flat = np.ones_like(source.depth)
    scale = np.median(source.depth, axis=(1, 2)).astype(np.float64)
    found = moving_mask(source.frames, flat, cameras.camera_to_world, cameras.intrinsics, scale=scale)
    assert found[~source.moving].mean() < 0.12
