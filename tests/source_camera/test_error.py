"""Figures of how wrong a camera is, for hand-made errors."""

import numpy as np
import pytest

from ex4d.geometry import transforms
from ex4d.geometry.intrinsics import from_focal
from ex4d.source_camera import error


def turn(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1.0]])


def walk(frames: int = 11) -> np.ndarray:
    """1 m along a curved path, turning a tenth of a degree to the right in each frame."""
    poses = np.stack([turn(0.1 * t) for t in range(frames)])
    way = np.linspace(0, 1, frames)
    poses[:, :3, 3] = np.stack([way, 0.2 * np.sin(3 * way), 0.1 * way**2], 1)
    return poses


def moved(poses: np.ndarray, scale: float) -> np.ndarray:
    """The same path in another world and another unit."""
    other = transforms.look_at([1, 2, 3], [0, 0, 9]) @ poses
    other[:, :3, 3] *= scale
    return other


def test_another_world_and_unit_is_no_error():
    found, true = moved(walk(), 7.3), walk()
    assert error.absolute(found, true) < 1e-12
    shift, rotation = error.relative(found, true)
    assert shift < 1e-12
    assert rotation < 1e-6
    assert error.rotation_at_end(found, true) < 1e-6
    fit = error.fitted(found[:, :3, 3], true[:, :3, 3])
    assert fit.scale == pytest.approx(1 / 7.3)
    assert np.allclose(fit.points(found[:, :3, 3]), true[:, :3, 3])


def test_a_mirrored_path_is_not_the_same_path():
    found = walk()
    found[:, 0, 3] *= -1
    assert np.linalg.det(error.fitted(found[:, :3, 3], walk()[:, :3, 3]).rotation) == pytest.approx(1)


def test_the_absolute_error_is_a_part_of_the_path():
    true = np.tile(np.eye(4), (5, 1, 1))
    true[:, 0, 3] = [0, 1, 2, 3, 4]
    found = true.copy()
    found[:, 1, 3] = [0.1, -0.1, 0, -0.1, 0.1]  # neither scale nor rotation reduces this
    assert error.path_length(true) == 4
    assert error.absolute(found, true) == pytest.approx(np.sqrt(0.04 / 5) / 4, rel=0.02)


def test_a_camera_that_stays_has_no_path_to_be_a_part_of():
    true = np.tile(np.eye(4), (5, 1, 1))
    assert error.absolute(walk(5), true) is None
    assert error.relative(walk(5), true)[0] is None
    assert error.absolute(true, walk(5)) == pytest.approx(
        np.sqrt(((walk(5) - walk(5).mean(axis=0))[:, :3, 3] ** 2).sum(axis=1).mean()) / error.path_length(walk(5))
    )


def test_rotations_are_told_in_degrees_even_if_tiny():
    found = walk()
    found[-1] = found[-1] @ turn(2)
    assert error.rotation_at_end(found, walk()) == pytest.approx(2)
    assert error.relative(found, walk())[1] == pytest.approx(2 / np.sqrt(10))
    assert error.angles(turn(1e-5)[None], np.eye(4)[None])[0] == pytest.approx(1e-5)
    assert error.angles(turn(180)[None], np.eye(4)[None])[0] == pytest.approx(180)


def test_the_relative_shift_is_a_part_of_the_mean_step():
    true = np.tile(np.eye(4), (5, 1, 1))
    true[:, 0, 3] = [0, 1, 2, 3, 4]
    found = true.copy()
    found[:, 1, 3] = [0, 0.1, 0, 0.1, 0]  # 0.1 of a step off, each time; the best scale is nearly 1
    assert error.relative(found, true)[0] == pytest.approx(0.1, rel=0.02)


def test_the_worst_focal_length_counts():
    true = np.stack([from_focal(100, 64, 48)] * 3)
    found = np.stack([from_focal(f, 64, 48) for f in (100, 80, 110)])
    assert error.focal(found, true) == pytest.approx(-0.2)


def test_static_points_drift_by_what_the_camera_is_off():
    lenses = np.stack([from_focal(100.0, 64, 48)] * 2)
    still = np.tile(np.eye(4), (2, 1, 1))
    at = np.array([[32.0, 24.0], [40.0, 20.0]])
    points = error.Points(np.array([0, 0]), np.array([1, 1]), at, at, np.array([5.0, 10.0]))
    assert np.allclose(error.drift(points, still, lenses), 0)
    found = still.copy()
    found[1, 0, 3] = 0.5  # half a metre to the right: 100 * 0.5 / depth pixels
    assert np.allclose(error.drift(points, found, lenses), [10, 5])
    found[1, :3, 3] = 0, 0, 20
    assert np.isinf(error.drift(points, found, lenses)).all()
