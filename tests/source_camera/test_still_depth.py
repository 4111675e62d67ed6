"""Before a still camera, what stands still gets one distance, and what moves keeps its own."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.source_camera import kept
from ex4d.source_camera.found import STILL, Found, checked
from ex4d.source_camera.steadying import steadied
from ex4d.source_camera.still_depth import steadying_still
from ex4d.synthetic import depth_errors, scenes

FRAMES, SIZE = 33, (320, 180)


@pytest.fixture(scope="module")
def market():
    return scenes.make("still", FRAMES, *SIZE)


@pytest.fixture(scope="module")
def wrong(market):
    return replace(market.depth, depth=depth_errors.wrong(market.depth.depth, depth_errors.usual(0), 0))


@pytest.fixture(scope="module")
def steady(market, wrong):
    return steadying_still(wrong.depth, market.source.moving)


def changes(depth, static):
    """Median over the pixels that are always static of the standard deviation of the distance's logarithm."""
    return float(np.median(np.log(depth)[:, static.all(axis=0)].std(axis=0)))


def test_static_pixels_have_one_distance_in_all_frames(market, wrong, steady):
    static, made = ~market.source.moving, steadied(wrong, steady, moving=market.source.moving).depth
    assert changes(wrong.depth, static) > 0.05
    assert changes(made, static) < 1e-6
    assert (made[static] == np.broadcast_to(steady.still, made.shape)[static]).mean() > 0.97


def test_what_is_near_stays_in_front_of_what_is_behind_it(market, wrong, steady):
    moving, true = market.source.moving, market.source.depth
    made = steadied(wrong, steady, moving=moving).depth
    still = np.broadcast_to(steady.still, made.shape)
    in_front = moving & (true < 0.7 * np.median(true, axis=0))
    assert in_front.mean() > 0.05
    assert (made[in_front] < 0.9 * still[in_front]).mean() > 0.97


def test_someone_close_to_a_wall_does_not_become_part_of_it(market):
    true = np.broadcast_to(np.median(market.source.depth, axis=0), market.source.depth.shape).copy()
    moving = np.zeros(true.shape, bool)
    for t in range(FRAMES):
        moving[t, 60:150, 40 + 5 * t : 100 + 5 * t] = True
    true[moving] *= 0.9
    noise = 0.01 * np.random.default_rng(0).standard_normal(true.shape)
    depth = replace(market.depth, depth=(true * np.exp(noise)).astype(np.float32))
    made = steadied(depth, steadying_still(depth.depth, moving), moving=moving).depth
    off = np.abs(np.log(made / true))
    assert np.median(off[moving]) < 0.015
    assert np.median(off[~moving]) < 0.003


def test_someone_who_stands_for_half_of_the_clip_unnoticed_does_not_bend_their_surroundings(market):
    true = np.broadcast_to(np.median(market.source.depth, axis=0), market.source.depth.shape).copy()
    there = np.zeros(true.shape, bool)
    there[:18, 60:150, 100:160] = True
    true[there] *= 0.7
    noise = 0.01 * np.random.default_rng(0).standard_normal(true.shape)
    depth = replace(market.depth, depth=(true * np.exp(noise)).astype(np.float32))
    made = steadied(depth, steadying_still(depth.depth, np.zeros(true.shape, bool))).depth
    off = np.abs(np.log(made / true))
    assert np.median(off[:, 60:150, 100:160]) < 0.02
    assert np.median(off) < 0.005


def test_the_mean_of_many_frames_is_nearer_to_the_truth_than_one_frame(market, wrong, steady):
    def error(depth):
        off = np.log(depth / market.source.depth)
        return 1.48 * np.median(np.abs(off - np.median(off)))

    assert error(steadied(wrong, steady).depth) < 0.85 * error(wrong.depth)


def test_the_note_says_how_much_it_changed(wrong, steady):
    notes = steadied(wrong, steady).notes
    assert notes[-1].startswith("The depth was bent or drifted by ")
    assert notes[-1].endswith("%; what stands still now has one distance in all frames, but it may still be bent.")


def test_frames_that_go_on_after_steady_ones_get_their_distances(market, wrong, steady):
    earlier = 20
    first = steadied(wrong, steady)
    joined = np.concatenate([first.depth[:earlier], wrong.depth[earlier:]])
    whole = replace(wrong, depth=joined)
    again = steadied(whole, steadying_still(joined, market.source.moving), already=range(earlier))
    assert np.array_equal(again.depth[:earlier], first.depth[:earlier])
    static = ~market.source.moving.any(axis=0)
    jump = np.log(again.depth[earlier] / again.depth[earlier - 1])[static]
    before = np.log(joined[earlier] / joined[earlier - 1])[static]
    assert np.median(np.abs(jump)) < 0.3 * np.median(np.abs(before))


def test_two_frames_meet_in_the_middle(wrong):
    depth = np.stack([wrong.depth[0], wrong.depth[0] * np.float32(1.04)])
    steady = steadying_still(depth, np.zeros(depth.shape, bool))
    made = steadied(replace(wrong, depth=depth, intrinsics=wrong.intrinsics[:2]), steady).depth
    assert np.abs(np.log(made[0] / made[1])).max() < 0.005


def test_true_depth_stays_as_it_is(market):
    assert not steadying_still(market.depth.depth, market.source.moving)
    assert not steadying_still(market.depth.depth, np.ones_like(market.source.moving))


def test_a_pixel_that_is_never_static_is_left_to_what_moves(market, wrong):
    moving = market.source.moving.copy()
    moving[:, 60:120, 100:200] = True
    steady = steadying_still(wrong.depth, moving)
    assert np.isnan(steady.still[60:120, 100:200]).all()
    made = steadied(wrong, steady, moving=moving).depth
    assert np.isfinite(made).all()
    assert np.log(made[:, 90, 150]).std() > 0.005
    assert changes(made, ~moving) < 1e-6


def test_it_is_cached_with_the_camera_and_damage_is_noticed(steady, tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path))
    kept.kept("0" * 64, lambda: Found(STILL, steady=steady))
    again = kept.kept("0" * 64, lambda: pytest.fail("was not cached"))
    np.testing.assert_array_equal(again.steady.still, steady.still)
    for damaged in (steady.still.astype(np.float64), steady.still[0], -steady.still, steady.still * np.float32(np.inf)):
        with pytest.raises(ValueError, match=r"stands still|each pixel"):
            checked(None, steady.field, still=damaged)
