"""Soft depth edges become steps at the picture's edges; whatever is sharp or smooth stays."""

import numpy as np
import pytest

from ex4d.depth import edges
from ex4d.geometry.depth_video import DepthVideo
from ex4d.synthetic import depth_errors, scenes
from ex4d.synthetic.depth_errors import DepthErrors

BLUR = DepthErrors(jitter=0, shape=0, edge=2.4)  # at a width of 256: 1.2 pixels


@pytest.fixture(scope="module")
def square():
    """A picture (96,256,3) of a grainy orange 40-pixel square in front of a grainy blue wall, and its true depth."""
    random = np.random.default_rng(4)
    near = np.zeros((96, 256), bool)
    near[28:68, 100:140] = True
    picture = np.where(near[..., None], (220, 130, 40), (60, 90, 160)) + random.normal(0, 6, (96, 256, 3))
    return picture.astype(np.uint8), np.where(near, 2.0, 6.0).astype(np.float32), near


def wrong_pixels(depth, true, by=0.02):
    return int((np.abs(np.log(depth / true)) > by).sum())


def test_a_blurred_edge_becomes_a_step_where_the_picture_has_it(square):
    picture, true, _ = square
    soft = depth_errors.wrong(true[None], BLUR, 0)[0]
    assert wrong_pixels(soft, true) > 700
    made = edges.snap(soft, picture)
    assert wrong_pixels(made, true) <= 8, "all but pixels at the corners"
    assert made.dtype == np.float32


def test_an_edge_beside_the_pictures_moves_there_where_colours_tell(square):
    picture, true, _ = square
    soft = np.roll(depth_errors.wrong(true[None], BLUR, 0)[0], 2, axis=1)
    left, right = np.s_[32:64, 98:104], np.s_[32:64, 136:144]
    for sides in (left, right):  # 64 pixels of each are on the wrong side
        assert wrong_pixels(edges.snap(soft, picture)[sides], true[sides]) <= 20
    blind = edges.snap(soft, np.full_like(picture, 128))
    assert wrong_pixels(blind, true) > 100, "without colours the edge stays where the depth has it"
    assert wrong_pixels(blind, np.roll(true, 2, axis=1)) <= 8


def test_steps_and_slopes_stay_to_the_bit(square):
    picture, true, _ = square
    rows, columns = np.mgrid[0:96, 0:256].astype(np.float32)
    floor = 1 / (0.02 + 0.004 * rows + 0.0003 * columns)  # a plane
    for depth in (true, floor, np.where(true < 3, np.float32(1.5), floor)):
        np.testing.assert_array_equal(edges.snap(depth, picture), depth)


def test_a_thing_of_two_pixels_keeps_a_depth_of_its_own(square):
    picture, true, _ = square
    pole = true.copy()
    pole[:, 30:32] = 2.0
    picture = picture.copy()
    picture[:, 30:32] = (20, 20, 20)
    made = edges.snap(depth_errors.wrong(pole[None], BLUR, 0)[0], picture)
    assert np.median(made[10:86, 30:32]) < 3.7
    assert np.median(made[10:86, 35:40]) == pytest.approx(6, rel=0.01)
    assert np.median(made[10:86, 22:27]) == pytest.approx(6, rel=0.01)


def test_grain_does_not_become_steps(square):
    picture, true, _ = square
    grain = np.exp(0.002 * np.random.default_rng(0).standard_normal(true.shape)).astype(np.float32)
    made = edges.snap(depth_errors.wrong(true[None], BLUR, 0)[0] * grain, picture)
    wall = np.s_[:, 160:]
    assert np.std(np.log(made[wall])) < 0.0025
    assert wrong_pixels(made, true) < 200


def test_pictures_of_twice_the_size_are_snapped_as_far(square):
    picture, true, _ = square
    picture, true = (np.repeat(np.repeat(each, 4, axis=0), 4, axis=1) for each in (picture, true))
    soft = depth_errors.wrong(true[None], DepthErrors(jitter=0, shape=0, edge=1.2), 0)[0]  # 2.4 pixels at 1024
    assert wrong_pixels(soft, true) > 6000
    assert wrong_pixels(edges.snap(soft, picture), true) < 400


@pytest.mark.parametrize("size", [(3, 3), (5, 4), (16, 16), (4, 700)])
def test_pictures_of_any_size_can_be_snapped(size):
    random = np.random.default_rng(0)
    depth = np.exp(random.normal(size=size)).astype(np.float32)
    made = edges.snap(depth, random.integers(0, 256, (*size, 3), np.uint8))
    assert made.shape == size
    assert depth.min() <= made.min() <= made.max() <= depth.max() * (1 + 1e-6)


def test_a_note_says_how_much_moved_and_it_is_not_done_twice(square):
    picture, true, _ = square
    frames = np.stack([picture, picture])
    soft = DepthVideo(depth_errors.wrong(np.stack([true, true]), BLUR, 0), np.diag([200.0, 200, 1]), "some", ("Mine.",))
    steps = []
    made = edges.snapped(soft, frames, lambda stage, step, of: steps.append((stage, step, of)))
    share = np.mean(np.abs(made.depth - soft.depth) > 0.02 * soft.depth)
    assert made.notes == (
        "Mine.",
        f"The depth's soft edges were snapped to those of the picture; {share:.1%} of its pixels moved.",
    )
    assert steps == [("Sharpening edges of the depth", 1, 2), ("Sharpening edges of the depth", 2, 2)]
    np.testing.assert_array_equal(made.depth, edges.snapped(soft, frames).depth)
    assert edges.snapped(made, frames) is made


@pytest.mark.parametrize("name", ["still", "drone"])
def test_true_depth_of_a_whole_scene_stays_as_it_is_also_where_some_of_it_is_soft(name):
    example = scenes.make(name, 2, 256, 144)
    depth = DepthVideo(example.source.depth, example.source.cameras.intrinsics, "some")
    assert not np.array_equal(edges.snap(depth.depth[0], example.source.frames[0]), depth.depth[0])
    assert edges.snapped(depth, example.source.frames) is depth
    soft = DepthVideo(depth_errors.wrong(depth.depth, BLUR, 0), depth.intrinsics, "some")
    assert edges.snapped(soft, example.source.frames) is not soft


def test_a_generated_scene_has_fewer_pixels_at_a_wrong_distance():
    example = scenes.make("still", 2, 256, 144)
    true, frames = example.source.depth, example.source.frames
    soft = depth_errors.wrong(true, BLUR, 0)
    made = np.stack([edges.snap(depth, picture) for depth, picture in zip(soft, frames, strict=True)])
    assert wrong_pixels(made, true, by=0.1) < 0.5 * wrong_pixels(soft, true, by=0.1)
