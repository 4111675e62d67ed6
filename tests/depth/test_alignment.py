"""From relative disparity to distances: one scale and shift per shot, robust against errors."""

import numpy as np
import pytest

from ex4d.depth.alignment import fit_disparity, metric_depth, relative_depth
from ex4d.errors import InputError

RANDOM = np.random.default_rng(0)


def samples(count: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Relative disparity and its true values: 0.7 d + 0.03."""
    relative = RANDOM.uniform(0, 1, count)
    return relative, 0.7 * relative + 0.03


def test_an_exact_line_is_found_exactly():
    assert fit_disparity(*samples()) == pytest.approx((0.7, 0.03), rel=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_a_share_of_nonsense_does_not_bend_the_fit(share):
    relative, metric = samples()
    metric += RANDOM.normal(0, 0.003, len(metric))
    wrong = int(share * len(metric))
    metric[:wrong] = RANDOM.uniform(0.5, 3, wrong)  # all on one side
    assert fit_disparity(relative, metric) == pytest.approx((0.7, 0.03), abs=0.005)
    plain = np.polyfit(relative, metric, 1)
    assert np.abs(plain - (0.7, 0.03)).max() > 0.05  # the result of plain least squares


def test_a_person_that_the_other_model_misses_does_not_bend_the_fit():
    relative, metric = samples()
    metric[relative > 0.8] = 0.1  # every near sample has the same error
    assert fit_disparity(relative, metric) == pytest.approx((0.7, 0.03), abs=1e-3)


def test_unusable_samples_are_left_out():
    relative, metric = samples(100)
    relative = np.append(relative, [np.nan, 0.5, 0.5, 0.5, np.inf])
    metric = np.append(metric, [1, np.nan, np.inf, -1, 1])
    assert fit_disparity(relative, metric) == pytest.approx((0.7, 0.03), rel=1e-9)


def test_what_cannot_be_fitted_says_so():
    with pytest.raises(InputError, match="no difference between near and far"):
        fit_disparity(np.ones(10), np.ones(10))
    with pytest.raises(InputError, match="no difference"):
        fit_disparity(np.full(10, np.nan), np.ones(10))
    relative, metric = samples()
    with pytest.raises(InputError, match="near and far are swapped"):
        fit_disparity(1 - relative, metric)


def test_metric_depth_is_the_inverse_and_stays_in_front_of_the_camera():
    disparity = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    assert np.allclose(metric_depth(disparity, 0.7, 0.03), 1 / (0.7 * disparity + 0.03))
    behind = metric_depth(disparity, 0.7, -0.1)  # the lowest disparities are beyond infinity
    assert behind.max() == pytest.approx(1000 / 0.6)
    assert behind.min() == pytest.approx(1 / 0.6)
    with pytest.raises(InputError, match="beyond infinity"):
        metric_depth(disparity, 0.1, -0.2)


def test_relative_depth_is_the_releases_and_one_for_the_shot():
    disparity = np.stack([np.full((4, 4), 2.0), np.full((4, 4), 6.0), np.full((4, 4), 4.0)]).astype(np.float32)
    depth = relative_depth(disparity)
    assert depth[:, 0, 0] == pytest.approx([1e4, 10000 / 3900, 10000 / 1950])
    with pytest.raises(InputError, match="sees no depth"):
        relative_depth(np.ones((2, 4, 4), np.float32))
