"""The pumping of depth is removed with static points, and nothing else is."""

import numpy as np
import pytest

from ex4d.geometry.depth_video import DepthVideo
from ex4d.source_camera.candidate import Candidate
from ex4d.source_camera.steadying import steadied, steadying, steadying_still
from ex4d.source_camera.structure import triangulated
from ex4d.source_camera.tracks import Tracks

COUNT, SIZE = 49, (480, 270)
LENS = np.array([[400.0, 0, 240], [0, 400, 135], [0, 0, 1]])
NO_SHIFT = np.zeros(COUNT)
SLOW = 1 + 0.2 * np.linspace(-1, 1, COUNT)


def walked(nearest=3.0, points=400, part=1.0):
    """A camera that moves to the right past points, the sightings in this part of the frames, and their distances."""
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 3] = np.linspace(0, 2, COUNT)
    return sighted(poses, nearest, points, part, moves=True)


def turned():
    """The same with a camera that only turns, by 30 degrees."""
    angle = np.radians(np.linspace(-15, 15, COUNT))
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 0], poses[:, 0, 2] = np.cos(angle), np.sin(angle)
    poses[:, 2, 0], poses[:, 2, 2] = -np.sin(angle), np.cos(angle)
    return sighted(poses, 3.0, 400, 1.0, moves=False)


def sighted(poses, nearest, points, part, moves):
    random = np.random.default_rng(0)
    world = random.uniform((-8, -4, nearest), (8, 4, 14), (points, 3))
    track, frame, xy, z = [], [], [], []
    for t in range(int(part * COUNT)):
        local = (world - poses[t, :3, 3]) @ poses[t, :3, :3]
        at = 400 * local[:, :2] / local[:, 2:] + LENS[:2, 2]
        seen = np.flatnonzero(((at > 0) & (at < SIZE)).all(axis=1))
        track.append(seen)
        frame.append(np.full(len(seen), t))
        xy.append(at[seen] + 0.1 * random.standard_normal((len(seen), 2)))
        z.append(local[seen, 2])
    tracks = Tracks(*(np.concatenate(a) for a in (track, frame, xy)), np.ones(COUNT))
    k = np.tile(LENS, (COUNT, 1, 1))
    return Candidate("depth", poses, k, moves, triangulated(tracks, poses, k)), tracks, np.concatenate(z)


def fitted(walk, scale, shift=NO_SHIFT, more=1.0):
    """What steadies a depth whose disparity in frame t is scale[t] / z + shift[t], times `more` at each sighting."""
    candidate, tracks, z = walk
    at = 1 / ((scale[tracks.frame] / z + shift[tracks.frame]) * more)
    return steadying(candidate, tracks, at, np.ones(len(z), bool))


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
    assert steadying_still(true, moving) is None
    made = steadying_still(depth, moving)
    assert (made[:, 1] == 0).all()
    assert change(made, scale, 0, 6.0) < 0.004
    assert steadying_still(depth, np.zeros_like(moving)) is None, "what moves would have counted"
    assert steadying_still(depth, np.ones_like(moving)) is None, "everything moves"


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
    assert change(steadying_still(clamped, nothing), scale[:, 0, 0], 0, 6.0) < 0.005
    assert steadying_still(np.where(sky, true / scale, true), nothing) is None


@pytest.mark.parametrize("part", [0.3, 0.5])
def test_a_near_thing_that_sways_unnoticed_before_a_still_camera_leaves_true_depth_as_it_is(part):
    depth = np.array(ground_and_sky(0.2)[0])
    depth[:, :, : int(64 * part)] = (2 + 0.1 * np.sin(np.arange(COUNT) * 2 * np.pi / 10))[:, None, None]
    assert steadying_still(depth, np.zeros(depth.shape, bool)) is None


def test_depth_is_steadied_and_says_by_how_much_and_the_sky_stays_far():
    scale = jitter(0.05)
    depth = np.full((COUNT, 4, 4), 6.0, np.float32) / scale[:, None, None].astype(np.float32)
    depth[:, 0, 0] = 1e5
    steady = np.stack([1 / scale, np.full(COUNT, 0.002)], axis=1)
    made = steadied(DepthVideo(depth, LENS, "model", ("Before.",)), steady)
    np.testing.assert_allclose(made.depth[:, 1, 1], 1 / (1 / 6 + 0.002), rtol=1e-5)
    assert made.depth[:, 0, 0].min() > 4e4
    assert made.notes[0] == "Before."
    percent = float(np.sqrt(np.mean(np.log(scale / (1 + 0.012)) ** 2)))
    assert made.notes[1] == (
        f"The depth's scale pumped by {percent:.1%} from frame to frame; it was fitted to what stands still."
    )
