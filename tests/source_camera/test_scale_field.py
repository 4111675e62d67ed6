"""Bent depth is put right with points whose distance is known, and right depth is left alone."""

import numpy as np
import pytest
from walks import COUNT, SIZE, walked

from ex4d.source_camera import scale_field
from ex4d.source_camera.scale_field import field_of, upsampled


@pytest.fixture(scope="module")
def walk():
    return walked(points=800)


def bend(x, y, frame):
    """A smooth error of up to about 15 % of the distance, for places from 0 to 1."""
    return 0.15 * np.sin(3 * x + 0.06 * frame) * np.cos(2 * y)


def fitted(walk, error, keep=None):
    """The field for depth with this error (N,) of its logarithm at the sightings, of which some are kept."""
    candidate, tracks, z = walk
    sure = np.ones(len(z), bool) if keep is None else keep
    return field_of(candidate, tracks, z * np.exp(error), sure, SIZE)


def at_sightings(walk):
    _candidate, tracks, _z = walk
    x, y = (tracks.xy / SIZE).T
    return bend(x, y, tracks.frame)


def rest(field, width=48, height=27):
    """What remains (T,H,W) of `bend`, relative to its median."""
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height)[:, None] + 0.5) / height
    off = np.stack([bend(x, y, t) + upsampled(field[t], width, height) for t in range(COUNT)])
    return off - np.median(off)


def test_a_smooth_error_of_shape_is_found_everywhere_and_in_every_frame(walk):
    made = fitted(walk, at_sightings(walk))
    assert made.shape == (COUNT, 5, 8)
    assert made.mean() == pytest.approx(0, abs=1e-9)
    off = np.abs(rest(made))
    assert np.median(off) < 0.01
    assert np.quantile(off, 0.95) < 0.03
    assert np.abs(rest(np.zeros_like(made))).mean() > 0.05


def test_points_that_are_far_off_hardly_count(walk):
    error = at_sightings(walk)
    wrong = np.random.default_rng(0).random(len(error)) < 0.15
    off = np.abs(rest(fitted(walk, error + 0.5 * wrong)))
    assert np.median(off) < 0.02


def test_right_depth_is_left_alone_and_so_is_depth_whose_error_is_not_smooth(walk):
    random = np.random.default_rng(1)
    count = len(walk[1].track)
    assert fitted(walk, np.zeros(count)) is None
    assert fitted(walk, 0.005 * random.standard_normal(count)) is None
    of_point = 0.1 * random.standard_normal(walk[1].count)
    assert fitted(walk, of_point[walk[1].track]) is None


def test_few_points_are_not_enough(walk):
    few = walk[1].track < scale_field.FEWEST // 2
    assert fitted(walk, at_sightings(walk), few) is None


def test_where_there_are_no_points_the_field_stays_within_what_it_is_beside_them(walk):
    left = walk[1].xy[:, 0] < 0.5 * SIZE[0]
    made = fitted(walk, at_sightings(walk), left)
    beside = made[:, :, 4]
    assert (made[:, :, 5:] < beside.max(axis=1)[:, None, None] + 0.01).all()
    assert (made[:, :, 5:] > beside.min(axis=1)[:, None, None] - 0.01).all()


def test_the_blocks_of_the_system_are_solved_as_a_whole_would_be():
    random = np.random.default_rng(2)
    parts = random.standard_normal((4, 3, 3))
    own = parts @ parts.transpose(0, 2, 1) + 6 * np.eye(3)
    next_to, right = list(random.standard_normal((3, 3, 3))), random.standard_normal((4, 3))
    whole = np.zeros((12, 12))
    for k in range(4):
        whole[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = own[k]
        if k < 3:
            whole[3 * k : 3 * k + 3, 3 * k + 3 : 3 * k + 6] = next_to[k]
            whole[3 * k + 3 : 3 * k + 6, 3 * k : 3 * k + 3] = next_to[k].T
    expected = np.linalg.solve(whole, right.ravel()).reshape(4, 3)
    np.testing.assert_allclose(scale_field._solved(own, next_to, right), expected, rtol=1e-9)
