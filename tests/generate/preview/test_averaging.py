"""Invented pixels are mixed with the same place in the frame before, and with nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.generate.preview.averaging import NEW, Frame, averaged
from ex4d.geometry import intrinsics
from ex4d.geometry.camera_path import CameraPath

WIDTH, HEIGHT, FAR = 160, 96, 10.0
GREY = np.full(3, 120.0)


def path_of(*cameras, focals=(100.0, 100.0)):
    """A path from places (3,) and turns to the right in degrees, with its lenses."""
    poses = np.tile(np.eye(4), (len(cameras), 1, 1))
    for pose, (place, degrees) in zip(poses, cameras, strict=True):
        angle = np.radians(degrees)
        pose[0, :3] = np.cos(angle), 0, np.sin(angle)
        pose[2, :3] = -np.sin(angle), 0, np.cos(angle)
        pose[:3, 3] = place
    k = np.stack([intrinsics.from_focal(focal, WIDTH, HEIGHT) for focal in focals])
    return CameraPath(poses, k, WIDTH, HEIGHT)


def seen(path, camera):
    """A wall in the distance `FAR` with soft stripes, as a camera sees it."""
    pose, k = path.camera_to_world[camera], path.intrinsics[camera]
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(k).T @ pose[:3, :3].T
    distance = (FAR - pose[2, 3]) / rays[..., 2]
    x, y = (rays[..., :2] * distance[..., None] + pose[:2, 3]).transpose(2, 0, 1)
    colour = 120 + 90 * np.stack([np.sin(3 * x), np.sin(3 * y + 1), np.sin(2 * x + 2 * y)], axis=-1)
    return Frame(camera, colour.astype(np.float32), (1 / distance).astype(np.float32), GREY)


MOVES = path_of(((0, 0, 0), 0), ((0.3, -0.2, 0.5), 2), focals=(100.0, 104.0))
HOLE = np.ones((HEIGHT, WIDTH), bool)


@pytest.mark.parametrize(
    "here", [seen(MOVES, 1).colour, np.zeros((HEIGHT, WIDTH, 3), np.float32)], ids=["same", "black"]
)
def test_a_place_is_found_again_by_a_camera_that_moves_turns_and_zooms(here):
    mixed = averaged(replace(seen(MOVES, 1), colour=here), HOLE, seen(MOVES, 0), MOVES).colour
    inner = slice(12, -12), slice(12, -12)
    assert mixed[inner] == pytest.approx(NEW * here[inner] + (1 - NEW) * seen(MOVES, 1).colour[inner], abs=2)


def test_what_is_real_or_moves_or_has_moved_or_was_not_in_the_picture_keeps_its_colour():
    still = path_of(((0, 0, 0), 0), ((0, 0, 0), 0))
    now, last, hole = seen(still, 1), seen(still, 0), HOLE.copy()
    now.colour[:] = 0
    hole[:, :40] = False
    now.static_inverse_distance[:, 40:60] = 0
    last.static_inverse_distance[:, 60:80] = 0
    assert np.array_equal(averaged(now, hole, last, still).colour.any(axis=(0, 2)), np.arange(WIDTH) >= 80)
    aside = path_of(((0, 0, 0), 0), ((1, 0, 0), 0))  # by ten pixels
    assert np.array_equal(
        averaged(replace(seen(aside, 1), colour=now.colour), HOLE, seen(aside, 0), aside).colour.any(axis=(0, 2)),
        np.arange(WIDTH) < WIDTH - 10,
    )


def test_it_starts_afresh_after_a_gap_a_jump_of_the_path_and_a_sudden_change_of_light():
    now, last = seen(MOVES, 1), seen(MOVES, 0)
    assert averaged(now, HOLE, last, MOVES) is not now
    assert averaged(now, HOLE, replace(last, camera=-1), MOVES) is now, "a frame without holes was in between"
    assert averaged(now, HOLE, replace(last, light=np.array([120.0, 145.0, 120.0])), MOVES) is now
    assert averaged(now, HOLE, replace(last, light=np.full(3, np.nan)), MOVES) is not now, (
        "nothing real tells the light"
    )
    assert averaged(now, ~HOLE, last, MOVES) is now
    near = np.where(np.arange(WIDTH) < 80, 1 / 3, 1 / FAR) * np.ones((HEIGHT, 1))
    jump = path_of(((0, 0, 0), 0), ((2, 0, 0), 0))
    two = replace(seen(jump, 1), static_inverse_distance=near.astype(np.float32))
    assert averaged(two, HOLE, seen(jump, 0), jump) is two
    turn = path_of(((0, 0, 0), 0), ((0, 0, 0), 20))
    turned = replace(seen(turn, 1), static_inverse_distance=near.astype(np.float32))
    assert averaged(turned, HOLE, seen(turn, 0), turn) is not turned, "turning hides nothing"


def test_a_camera_that_has_passed_what_it_sees_mixes_nothing():
    back = path_of(((0, 0, FAR + 5), 0), ((0, 0, 0), 0))
    now = seen(back, 1)
    assert averaged(now, HOLE, seen(path_of(((0, 0, 0), 0), ((0, 0, 0), 0)), 0), back) is now
