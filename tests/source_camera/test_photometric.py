"""The pictures refine depth that is wrong, and leave true depth alone."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.errors import Cancelled
from ex4d.geometry.depth_video import DepthVideo
from ex4d.source_camera import photometric
from ex4d.source_camera.found import UNCHANGED, Steadying
from ex4d.source_camera.scale_field import places, upsampled
from ex4d.source_camera.steadying import steadied
from ex4d.synthetic import depth_errors, scenes

FRAMES, SIZE = 33, (320, 180)


@pytest.fixture(scope="module")
def flight():
    return scenes.make("drone", FRAMES, *SIZE)


@pytest.fixture(scope="module")
def bent(flight):
    """Depth that is bent by 5 %, without pumping and in the unit of the camera."""
    errors = depth_errors.DepthErrors(jitter=0.0, shape=0.05)
    return replace(flight.depth, depth=depth_errors.wrong(flight.depth.depth, errors, 0))


def refined(example, depth, steady=UNCHANGED, scale=1.0, moving=None, progress=lambda *_: None):
    poses, moving = example.source.cameras.camera_to_world, example.source.moving if moving is None else moving
    return photometric.refined(
        example.clip.frames, depth.depth, moving, poses, depth.intrinsics, scale, steady, progress
    )


def error(depth, example):
    off = np.log(depth / example.source.depth)
    return 1.48 * np.median(np.abs(off - np.median(off)))


def test_bent_depth_becomes_three_times_as_exact(flight, bent):
    steady = refined(flight, bent)
    assert steady.frames is None
    assert steady.field.shape == (FRAMES, *places(*SIZE[::-1]))
    assert steady.field.mean() == pytest.approx(0, abs=1e-9)
    assert error(steadied(bent, steady).depth, flight) < error(bent.depth, flight) / 3


def test_it_does_not_matter_in_which_unit_the_depth_is(flight, bent):
    in_inches = replace(bent, depth=bent.depth * np.float32(39.37))
    ours, theirs = refined(flight, bent).field, refined(flight, in_inches, scale=1 / 39.37).field
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_it_goes_on_from_what_steadied_the_depth_before(flight, bent):
    slope = np.tile(np.linspace(-0.1, 0.1, 5), (FRAMES, 3, 1))
    across = 0.2 * ((np.arange(SIZE[0]) + 0.5) / SIZE[0] - 0.5)
    tilted = replace(bent, depth=bent.depth * np.exp(-across).astype(np.float32))
    scales = np.exp(0.05 * np.random.default_rng(0).standard_normal(FRAMES))
    pumping = replace(tilted, depth=tilted.depth * scales[:, None, None].astype(np.float32))
    steady = Steadying(np.stack([scales, np.zeros(FRAMES)], axis=1), slope)
    made = refined(flight, pumping, steady)
    assert made.frames is steady.frames
    assert error(steadied(pumping, made).depth, flight) < error(bent.depth, flight) / 3


def test_true_depth_stays_as_it_is_even_if_something_moves_unnoticed(flight):
    nothing = np.zeros_like(flight.source.moving)
    assert refined(flight, flight.depth) is UNCHANGED
    assert refined(flight, flight.depth, moving=nothing) is UNCHANGED
    # Half a per cent of noise is enough to be looked at, and the pictures do not make it better.
    noise = 0.005 * np.random.default_rng(0).standard_normal(flight.depth.depth.shape)
    noisy = replace(flight.depth, depth=(flight.depth.depth * np.exp(noise)).astype(np.float32))
    assert refined(flight, noisy) is UNCHANGED


def test_depth_of_something_else_is_not_made_to_fit(flight, bent):
    other = replace(bent, depth=np.ascontiguousarray(bent.depth[:, ::-1]))
    assert refined(flight, other) is UNCHANGED


def test_where_everything_moves_nothing_can_be_compared(flight, bent):
    assert refined(flight, bent, moving=np.ones_like(flight.source.moving)) is UNCHANGED


def test_progress_ends_at_its_end_and_cancelling_stops_it(flight, bent):
    steps = []
    refined(flight, bent, progress=lambda *step: steps.append(step))
    done = [step for _, step, _ in steps]
    assert done == sorted(done)
    assert steps[-1][1:] == (FRAMES, FRAMES)
    refined(flight, flight.depth, progress=lambda *step: steps.append(step))
    assert steps[-1][1:] == (FRAMES, FRAMES)

    def cancelling(number):
        def cancel(_stage, step, _steps):
            if step == number:
                raise Cancelled

        return cancel

    for number in (0, 1, FRAMES // 2):
        with pytest.raises(Cancelled):
            refined(flight, bent, progress=cancelling(number))


def upright(example):
    """The same clip, turned by 90 degrees: its frames, depth, mask, poses and lens."""
    swap = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])  # x and y change places, and the picture is mirrored
    mirrored = np.diag([1.0, 1, -1]) @ swap
    poses = example.source.cameras.camera_to_world.copy()
    turn = np.eye(4)
    turn[:3, :3] = mirrored
    lens = example.depth.intrinsics[:, [1, 0, 2]][:, :, [1, 0, 2]]
    return turn @ poses @ turn.T, lens


def test_an_upright_clip_is_refined_as_well(flight, bent):
    poses, lens = upright(flight)
    turned = [
        np.ascontiguousarray(one.swapaxes(1, 2)) for one in (flight.clip.frames, bent.depth, flight.source.moving)
    ]
    steady = photometric.refined(*turned, poses, lens, 1.0, UNCHANGED, lambda *_: None)
    assert steady.field.shape == (FRAMES, 64, 36)
    made = steadied(replace(bent, depth=turned[1], intrinsics=lens), steady).depth.swapaxes(1, 2)
    assert error(made, flight) < error(bent.depth, flight) / 3


@pytest.mark.parametrize("frames", [2, 5])
def test_so_few_frames_that_none_can_be_checked_stay_as_they_are(flight, bent, frames):
    given = (flight.clip.frames, bent.depth, flight.source.moving, flight.source.cameras.camera_to_world)
    few = [one[:frames] for one in given]
    assert photometric.refined(*few, bent.intrinsics[:frames], 1.0, UNCHANGED, lambda *_: None) is UNCHANGED


def agreeing(depth):
    """What a camera that does not change position makes of a static scene's depth (T,h,w)."""
    count, height, width = depth.shape
    frames, nothing = np.zeros((*depth.shape, 3), np.uint8), np.zeros(depth.shape, bool)
    lens = np.tile([[float(width), 0, width / 2], [0, width, height / 2], [0, 0, 1]], (count, 1, 1))
    still = np.tile(np.eye(4), (count, 1, 1))
    steady = photometric.refined(frames, depth, nothing, still, lens, 1.0, UNCHANGED, lambda *_: None, moves=False)
    return steadied(DepthVideo(depth, lens, "made"), steady).depth


def spread(depth):
    """Standard deviation of the logarithm from frame to frame, averaged over the pixels."""
    return float(np.log(depth).std(axis=0).mean())


@pytest.mark.parametrize(("count", "left"), [(8, 0.5), (24, 0.2), (41, 0.2)])
def test_without_parallax_all_frames_agree_in_the_end(count, left):
    off = 0.03 * np.random.default_rng(count).standard_normal((count, 3, 4))
    depth = 6 * np.exp([upsampled(one, 160, 90) for one in off])
    assert spread(agreeing(depth)) < left * spread(depth)


def test_even_frames_that_differ_from_odd_ones_agree_with_them():
    depth = np.full((40, 90, 160), 6.0, np.float32)
    depth[::2] *= 1.03
    assert spread(agreeing(depth)) < 0.1 * spread(depth)


def test_a_step_that_would_make_two_frames_change_places_does_not():
    depth = np.full((8, 90, 160), 6.0, np.float32)
    depth[:4] *= 1.03
    made = agreeing(depth)
    assert abs(np.log(made[0] / made[7]).mean()) < 0.6 * np.log(1.03)
