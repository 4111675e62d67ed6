"""The pumping of depth is removed with static points, and nothing else is."""

import numpy as np
import pytest
from walks import COUNT, LENS, SIZE, turned, walked

from ex4d.geometry.depth_video import DepthVideo
from ex4d.source_camera.found import Steadying
from ex4d.source_camera.steadying import steadied, steadying
from ex4d.source_camera.still_depth import steadying_still

NO_SHIFT = np.zeros(COUNT)
SLOW = 1 + 0.2 * np.linspace(-1, 1, COUNT)


def fitted(walk, scale, shift=NO_SHIFT, more=1.0):
    """What steadies a depth whose disparity in frame t is scale[t] / z + shift[t], times `more` at each sighting."""
    candidate, tracks, z = walk
    at = 1 / ((scale[tracks.frame] / z + shift[tracks.frame]) * more)
    return steadying(candidate, tracks, at, np.ones(len(z), bool), SIZE).frames


def jitter(size, seed=1):
    return np.exp(size * np.random.default_rng(seed).standard_normal(COUNT))


def change(made, scale, shift, distance):
    """Median change of a thing's distance from frame to frame."""
    disparity = made[:, 0] * (scale / distance + shift) + made[:, 1]
    return np.median(np.abs(np.diff(np.log(disparity))))


def test_five_per_cent_of_pumping_become_a_tenth_of_it_though_the_depth_has_errors_of_shape():
    walk, scale = walked(), jitter(0.05)
    tracks = walk[1]
    made = fitted(walk, scale, more=1 + 0.1 * np.sin(tracks.xy[:, 0] / 90 + 0.1 * tracks.frame))
    assert change(np.array([[1.0, 0]] * COUNT), scale, 0, 6.0) > 0.025
    assert change(made, scale, 0, 6.0) < 0.003


def test_a_shift_that_changes_from_frame_to_frame_is_taken_out_near_and_far():
    scale, shift = jitter(0.05), 0.006 * np.random.default_rng(2).standard_normal(COUNT)
    made = fitted(walked(), scale, shift)
    for distance in (4.0, 13.0):
        assert change(made, scale, shift, distance) < 0.004


def test_a_single_frame_that_is_off_is_put_back():
    scale = np.ones(COUNT)
    scale[20] = 1.25
    made = fitted(walked(), scale)
    assert made[20, 0] * 1.25 + 6 * made[20, 1] == pytest.approx(1, abs=0.025)


def test_points_all_at_one_distance_tell_a_scale_and_no_shift():
    made = fitted(walked(nearest=11.0), jitter(0.05))
    assert (made[:, 1] == 0).all()
    assert change(made, jitter(0.05), 0, 12.0) < 0.003


def test_true_depth_stays_and_so_does_one_that_drifts_slowly():
    assert fitted(walked(), np.ones(COUNT)) is None
    made = fitted(walked(), jitter(0.05) * SLOW)
    np.testing.assert_allclose(np.median(made[:10, 0] + 6 * made[:10, 1]), 1, atol=0.05)  # not 1.25


def test_frames_with_too_few_points_stay_as_they_are():
    made = fitted(walked(part=0.6), jitter(0.05))
    without = slice(int(0.6 * COUNT), None)
    assert (made[without] == [1, 0]).all()
    assert (made[: int(0.6 * COUNT), 0] != 1).all()
    assert fitted(walked(points=60), jitter(0.05)) is None


def test_a_camera_that_only_turns_shows_that_its_depth_pumps_and_not_where_points_are():
    assert fitted(turned(), np.ones(COUNT)) is None
    made = fitted(turned(), jitter(0.05))
    assert (made[:, 1] == 0).all()
    assert change(made, jitter(0.05), 0, 6.0) < 0.004


def test_with_a_still_camera_what_stands_still_keeps_its_distance_and_what_moves_does_not_count():
    random = np.random.default_rng(3)
    true = random.uniform(2, 20, (36, 64)).astype(np.float32) * np.ones((COUNT, 1, 1), np.float32)
    scale, moving = jitter(0.05), np.zeros(true.shape, bool)
    moving[:, :, :40] = True  # most of the picture
    true[1::2, :, :40] *= 1.3  # to and fro
    depth = (true / scale[:, None, None]).astype(np.float32)
    assert not steadying_still(true, moving)
    made = steadying_still(depth, moving).frames
    assert (made[:, 1] == 0).all()
    assert change(made, scale, 0, 6.0) < 0.004
    assert steadying_still(depth, np.zeros_like(moving)).frames is None, "what moves would have counted"
    assert not steadying_still(depth, np.ones_like(moving)), "everything moves"


def ground_and_sky(part):
    """Depth (T,36,64) of ground that rises to a horizon, with a constant sky in this part of the rows; and the sky."""
    rows = np.arange(36) / 36
    depth = np.where(rows < part, 1e5, 2 / np.maximum(rows - part + 0.05, 0.05))
    sky = np.broadcast_to((rows < part)[:, None], (COUNT, 36, 64))
    return np.broadcast_to(depth[:, None], sky.shape).astype(np.float32), sky


def test_with_a_still_camera_the_sky_neither_hides_that_the_ground_pumps_nor_makes_it_pump():
    true, sky = ground_and_sky(0.45)
    scale, nothing = jitter(0.05)[:, None, None].astype(np.float32), np.zeros(sky.shape, bool)
    clamped = np.where(sky, true, true / scale)
    assert change(steadying_still(clamped, nothing).frames, scale[:, 0, 0], 0, 6.0) < 0.005
    assert not steadying_still(np.where(sky, true / scale, true), nothing)


@pytest.mark.parametrize("part", [0.3, 0.5])
def test_a_near_thing_that_sways_unnoticed_before_a_still_camera_leaves_true_depth_as_it_is(part):
    depth = np.array(ground_and_sky(0.2)[0])
    depth[:, :, : int(64 * part)] = (2 + 0.1 * np.sin(np.arange(COUNT) * 2 * np.pi / 10))[:, None, None]
    assert not steadying_still(depth, np.zeros(depth.shape, bool))


def test_depth_is_steadied_and_says_by_how_much_and_the_sky_stays_far():
    scale = jitter(0.05)
    depth = np.full((COUNT, 4, 4), 6.0, np.float32) / scale[:, None, None].astype(np.float32)
    depth[:, 0, 0] = 1e5
    steady = np.stack([1 / scale, np.full(COUNT, 0.002)], axis=1)
    made = steadied(DepthVideo(depth, LENS, "model", ("Before.",)), Steadying(steady))
    np.testing.assert_allclose(made.depth[:, 1, 1], 1 / (1 / 6 + 0.002), rtol=1e-5)
    assert made.depth[:, 0, 0].min() > 4e4
    assert made.notes[0] == "Before."
    percent = float(np.sqrt(np.mean(np.log(scale / (1 + 0.012)) ** 2)))
    assert made.notes[1] == (
        f"The depth's scale pumped by {percent:.1%} from frame to frame; it was fitted to what stands still."
    )


BEND = np.array([[-0.2, 0.1, 0.2], [0.0, -0.1, 0.1]])


def test_bent_depth_is_straightened_with_the_shape_that_was_fitted_and_says_how_much():
    depth = np.full((COUNT, 9, 9), 6.0, np.float32)
    steady = Steadying(field=np.tile(BEND, (COUNT, 1, 1)))
    made = steadied(
        DepthVideo(
            depth,
            LENS,
            "model",
            ("Before.", "The depth was bent or drifted by 30%; long ago.", "The depth's scale pumped by 5.0% before."),
        ),
        steady,
    )
    at_centres = [0.5 / 9, 4.5 / 9, 8.5 / 9]
    for row, y in zip((0, 4, 8), at_centres, strict=True):
        expected = 6 * np.exp([np.interp(x, [0, 0.5, 1], (1 - y) * BEND[0] + y * BEND[1]) for x in at_centres])
        np.testing.assert_allclose(made.depth[7, row, [0, 4, 8]], expected, rtol=1e-5)
    percent = float(np.std(BEND))
    said = f"The depth was bent or drifted by {percent:.1%}; it was fitted to what stands still."
    assert made.notes == ("Before.", "The depth's scale pumped by 5.0% before.", said)
    assert (depth == 6).all()


def test_frames_that_are_steady_stay_and_new_ones_are_straightened_in_their_unit():
    depth = np.full((COUNT, 4, 4), 6.0, np.float32)
    field = np.zeros((COUNT, 2, 3))
    field[:30] -= 0.07  # the median of all, which the field is relative to, is that of frames that are new
    made = steadied(DepthVideo(depth, LENS, "model"), Steadying(field=field), already=range(30))
    assert (made.depth[:30] == 6).all()
    np.testing.assert_allclose(made.depth[30:], 6 * np.exp(0.07), rtol=1e-5)
    whole = DepthVideo(depth, LENS, "model")
    assert steadied(whole, Steadying(field=field), already=range(COUNT)) is whole
    assert steadied(whole, Steadying()) is whole


def test_depth_that_pumps_and_is_bent_is_right_once_both_are_taken_out():
    candidate, tracks, z = walked(points=800)
    x = tracks.xy[:, 0] / SIZE[0]
    scale = np.exp(0.05 * np.random.default_rng(1).standard_normal(COUNT))
    at = z * np.exp(0.15 * np.sin(3 * x + 0.05 * tracks.frame)) / scale[tracks.frame]
    made = steadying(candidate, tracks, at, np.ones(len(z), bool), SIZE)
    depth = np.ones((COUNT, 1, 48), np.float32)
    columns = (np.arange(48) + 0.5) / 48
    bend = np.exp(0.15 * np.sin(3 * columns + 0.05 * np.arange(COUNT)[:, None]))
    depth[:, 0] = 6 * bend / scale[:, None]
    off = [np.log(d.depth / 6) for d in (DepthVideo(depth, LENS, "m"), steadied(DepthVideo(depth, LENS, "m"), made))]
    before, after = (np.median(np.abs(one - np.median(one))) for one in off)
    assert before > 0.07
    assert after < 0.012
