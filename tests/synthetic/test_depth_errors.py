"""Depth errors are those that were requested, and no others."""

import numpy as np

from ex4d.synthetic import depth_errors
from ex4d.synthetic.depth_errors import DepthErrors, wrong

NONE = DepthErrors(jitter=0, shape=0, edge=0)


def steps(frames: int = 40) -> np.ndarray:
    """A ramp, with a thing in front of its middle."""
    depth = np.broadcast_to(np.linspace(4, 12, 128, dtype=np.float32), (frames, 72, 128)).copy()
    depth[:, 24:48, 40:80] = 2
    return depth


def test_without_errors_depth_stays():
    assert np.allclose(wrong(steps(), NONE, 0), steps(), rtol=1e-6)


def test_scale_and_shift_are_those_of_disparity():
    true = steps()
    low, high = np.percentile(1 / true[0], (2, 98))
    made = 1 / wrong(true, DepthErrors(scale=3, shift=0.1, jitter=0, shape=0, edge=0), 0)
    assert np.allclose(made, 3 * (1 / true + 0.1 * (high - low)), rtol=0.02)


def test_each_frame_has_its_own_scale():
    ratio = wrong(steps(400), DepthErrors(jitter=0.05, shape=0, edge=0), 1) / steps(400)
    assert ratio.std(axis=(1, 2)).max() < 1e-6
    assert 0.045 < ratio[:, 0, 0].std() < 0.055


def test_the_error_of_shape_is_smooth_and_of_the_size_asked_for():
    error = steps() / wrong(steps(), DepthErrors(jitter=0, shape=0.1, edge=0), 2) - 1
    assert np.allclose(np.sqrt((error**2).mean(axis=(1, 2))), 0.1, atol=0.01)
    assert np.abs(np.diff(error, axis=2)).max() < 0.03
    assert np.abs(np.diff(error, axis=0)).max() < 0.06
    assert not np.allclose(error[0], error[-1], atol=0.05)


def test_edges_become_soft_and_flat_parts_stay():
    made = wrong(steps(2), DepthErrors(jitter=0, shape=0, edge=4), 0)  # one pixel at this width
    assert np.allclose(made[0, 36, 50:70], 2, rtol=1e-3)
    assert 2.1 < made[0, 36, 39] < steps()[0, 36, 39] - 0.5
    assert (np.diff(made[0, 36, 70:90]) > -0.02).all()


def test_the_usual_errors_differ_by_seed_and_repeat():
    assert depth_errors.usual(1) == depth_errors.usual(1) != depth_errors.usual(2)
    made = wrong(steps(), depth_errors.usual(1), 1)
    assert made.dtype == np.float32
    assert np.array_equal(made, wrong(steps(), depth_errors.usual(1), 1))
    assert made.min() > 0
    assert np.isfinite(made).all()
