"""The benchmark's figures, on a generated scene: the truth has no error, and a still camera has a large one."""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from camera_cases import Case, Found, Take, figures, generated, truth, visible


@pytest.fixture(scope="module")
def street() -> Case:
    return generated("street", Take(9, 192))


def test_the_true_camera_has_no_error_and_the_second_view_agrees(street):
    made = figures(street, street.depth, truth(street, street.depth))
    assert made.ate < 1e-9
    assert made.end < 1e-9
    assert made.drift_95 < 0.01  # so projection, lifting and visibility are consistent
    assert made.visible == made.visible_true > 22


def test_a_lens_that_is_a_little_off_is_a_camera_a_little_elsewhere_to_the_eye(street):
    lens = street.depth.intrinsics.copy()
    lens[:, [0, 1], [0, 1]] *= 0.98
    made = figures(street, street.depth, Found(street.poses, lens))
    assert made.placed_true == pytest.approx(made.visible_true, abs=0.05)
    assert made.visible < made.visible_true - 1
    assert made.placed > made.visible + 0.5


def test_a_world_that_is_turned_moved_and_larger_is_the_same_to_the_eye(street):
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = cv2.Rodrigues(np.array([0.02, -0.05, 0.01]))[0], (0.3, -0.1, 0.2)
    larger = street.poses.copy()
    larger[:, :3, 3] *= 1.05
    depth = replace(street.depth, depth=street.depth.depth * np.float32(1.05))
    made = visible(street, depth, Found(turn @ larger, street.depth.intrinsics), by_eye=True)
    assert made == pytest.approx(visible(street, street.depth, truth(street, street.depth)), abs=0.1)


def test_a_camera_that_stands_is_wrong_in_every_figure(street):
    still = Found(np.tile(np.eye(4), (9, 1, 1)), street.depth.intrinsics)
    made = figures(street, street.depth, still)
    assert made.ate > 0.2
    assert made.drift > 5
    assert made.way == 0
    assert made.visible < made.visible_true - 6
    assert made.placed < made.placed_true - 4


def test_wrong_depth_has_a_unit_in_which_the_true_camera_is_told(street):
    wrong = street.wrong_depth(0)
    found = truth(street, wrong)
    ratio = np.median(wrong.depth[~street.moving] / street.depth.depth[~street.moving])
    assert street.unit(wrong) == pytest.approx(ratio, rel=0.05)
    assert np.allclose(found.poses[:, :3, 3], street.unit(wrong) * street.poses[:, :3, 3])
    assert figures(street, wrong, found).drift < 3


def test_where_nothing_stands_still_there_is_no_drift_and_still_a_unit():
    case = generated("all_moving", Take(5, 96))
    wrong = case.wrong_depth(0)
    made = figures(case, wrong, truth(case, wrong))
    assert made.drift is None
    assert made.ate < 1e-9
