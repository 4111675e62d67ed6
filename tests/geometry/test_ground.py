"""The ground of a shot, found among all points or fitted to given ones."""

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import ground
from ex4d.synthetic import depth_errors, scenes

EYE, UP = np.zeros(3), np.array([0.0, -1.0, 0.0])


def pitched(degrees: float) -> np.ndarray:
    """Rotation (3,3) from the axes of a level camera to those of one that looks down by this many degrees."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def street(degrees: float, height: float) -> np.ndarray:
    """Points (N,3) of the ground under a camera, a wall standing on it, and a table."""
    draw = np.random.default_rng(1)
    floor = np.stack([draw.uniform(-6, 6, 800), np.full(800, height), draw.uniform(-6, 6, 800)], -1)
    wall = np.stack([draw.uniform(-6, 6, 900), draw.uniform(height - 3, height, 900), np.full(900, 7.0)], -1)
    table = np.stack([draw.uniform(-1, 1, 700), np.full(700, height - 0.8), draw.uniform(2, 4, 700)], -1)
    return np.concatenate([floor, wall, table]) @ pitched(degrees).T * draw.normal(1, 0.003, (2400, 1))


@pytest.mark.parametrize("degrees", [0.0, 20.0, -15.0])
def test_the_ground_is_the_lowest_level_thing_and_neither_the_table_nor_the_wall(degrees):
    plane = ground.found(street(degrees, 1.6), EYE, UP)
    assert plane is not None
    assert np.degrees(np.arccos(plane.normal @ pitched(degrees) @ UP)) < 0.5
    assert plane.heights(EYE[None])[0] == pytest.approx(1.6, rel=0.01)


def test_a_wall_alone_is_no_ground():
    wall = np.stack([*np.random.default_rng(0).uniform(-3, 3, (2, 500)), np.full(500, 5.0)], -1)
    assert ground.found(wall, EYE, UP) is None
    assert ground.found(np.zeros((0, 3)), EYE, UP) is None
    assert ground.found(np.zeros((50, 3)), EYE, UP) is None


def test_a_ceiling_is_no_ground():
    ceiling = street(0, 1.6)[:800] * [1, -1, 1]
    assert ground.found(ceiling, EYE, UP) is None


@pytest.mark.parametrize("wrong", [False, True])
def test_the_ground_of_a_generated_street_is_found_also_with_the_errors_of_a_depth_model(wrong):
    made = scenes.make("street", 2, 192, 108)
    depth = made.depth.depth if not wrong else depth_errors.wrong(made.depth.depth, depth_errors.usual(0), 0)
    rows, columns = np.mgrid[3:108:6, 3:192:6].reshape(2, -1)
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], -1) @ np.linalg.inv(made.depth.intrinsics[0]).T
    plane = ground.found(rays * depth[0, rows, columns][:, None].astype(float), EYE, UP)
    assert plane is not None
    assert np.degrees(np.arccos(plane.normal @ UP)) < 3


def test_a_plane_goes_through_three_points_and_its_normal_points_up():
    points = np.array([[0.0, 1, 2], [3, 1, 2], [0, 1, 5]])
    plane = ground.through(points, UP)
    assert np.abs(plane.heights(points)).max() < 1e-12
    assert plane.normal.tolist() == pytest.approx([0, -1, 0])


def test_points_of_which_only_a_line_is_level_are_no_ground():
    line = np.stack([np.linspace(-3, 3, 400), np.full(400, 1.5), np.full(400, 4.0)], -1)
    assert ground.found(line, EYE, UP) is None


def test_points_in_a_line_and_too_few_are_refused():
    with pytest.raises(InputError, match="in a line: choose three"):
        ground.through(np.array([[0.0, 0, 1], [1, 0, 2], [2, 0, 3]]), UP)
    with pytest.raises(InputError, match="three points, not 2"):
        ground.through(np.eye(3)[:2], UP)
