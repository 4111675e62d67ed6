"""Depth of a picture that is known in parts, against the truth."""

import numpy as np
import pytest

from ex4d.depth import beside_known

HEIGHT, WIDTH = 60, 100


@pytest.fixture
def room():
    """A wall that recedes to the right, a box in front of it, and a hole next to the box (true depth, known)."""
    depth = np.broadcast_to(np.linspace(4, 8, WIDTH, dtype=np.float32), (HEIGHT, WIDTH)).copy()
    depth[20:50, 30:50] = 2
    known = np.ones((HEIGHT, WIDTH), bool)
    known[:, 50:70] = False
    return depth, known


def off(found, depth, where):
    return float(np.median(np.abs(found[where] / depth[where] - 1)))


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.3, 0.05), (2.5, -0.02)])
def test_an_estimate_of_unknown_scale_and_shift_is_brought_to_what_is_known(room, scale, shift):
    depth, known = room
    found = beside_known.fitted((1 / (scale / depth + shift)).astype(np.float32), 1 / depth, known)
    assert off(found, depth, ~known) < 1e-3
    assert np.allclose(found[known], depth[known], rtol=1e-5)


def test_a_smooth_error_leaves_no_step_at_the_edge_of_what_is_known(room):
    depth, known = room
    bent = depth * (1 + 0.15 * np.sin(np.linspace(0, 6, WIDTH)))
    found = beside_known.fitted(bent.astype(np.float32), 1 / depth, known)
    top = found[5]  # above the box
    assert np.abs(np.diff(np.log(top)))[[49, 69]].max() < 0.05  # 0.16 in the bent estimate itself
    assert off(found, depth, ~known) < off(bent, depth, ~known) / 2


def test_an_estimate_that_contradicts_what_is_known_is_not_used(room):
    depth, known = room
    noise = np.exp(np.random.default_rng(0).normal(0, 1, depth.shape)).astype(np.float32)
    assert beside_known.fitted(noise, 1 / depth, known) is None
    assert beside_known.fitted(1 / depth, 1 / depth, known) is None  # near and far swapped
    assert beside_known.fitted(depth, 1 / depth, np.zeros_like(known)) is None


def test_a_picture_of_a_plain_wall_with_something_wrong_in_it_is_fitted_all_the_same(room):
    """The robust line needs near and far to differ. A wall has no such difference, and a third of this one is wrong."""
    _depth, known = room
    wall = np.full((HEIGHT, WIDTH), 5, np.float32)
    wrong = wall.copy()
    wrong[:, :20] = 2
    found = beside_known.fitted(wrong * 3, 1 / wall, known)
    assert off(found, wall, ~known) < 0.05


def test_what_is_behind_goes_on_where_nobody_estimates_it(room):
    depth, known = room
    found = beside_known.continued(1 / depth, known)
    assert np.allclose(found[known], depth[known], rtol=1e-5)
    hole = found[25:45, 50:70]
    assert (hole > 4).mean() > 0.8  # the wall, not the box next to it
    assert np.median(np.abs(hole / depth[25:45, 50:70] - 1)) < 0.15
