"""The pictures refine depth that is wrong, and leave true depth alone."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.errors import Cancelled
from ex4d.source_camera import photometric
from ex4d.source_camera.found import UNCHANGED, Steadying
from ex4d.source_camera.scale_field import places
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
    assert [done for _, done, _ in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][1] == steps[-1][2]
    refined(flight, flight.depth, progress=lambda *step: steps.append(step))
    assert steps[-1][1] == steps[-1][2]

    def cancel(*_):
        raise Cancelled

    with pytest.raises(Cancelled):
        refined(flight, bent, progress=cancel)


def test_a_clip_of_two_frames_and_one_that_is_upright_do_not_fail(flight, bent):
    poses, lens = flight.source.cameras.camera_to_world, flight.depth.intrinsics
    two = [one[:2] for one in (flight.clip.frames, bent.depth, flight.source.moving, poses, lens)]
    assert photometric.refined(*two, 1.0, UNCHANGED, lambda *_: None) is UNCHANGED
    assert places(320, 180) == (64, 36)
