"""The rendered pixels compared with a second camera's true view; benchmarks/true_view.py prints the figures."""

import sys
from pathlib import Path

import pytest

from ex4d.geometry import occlusion
from ex4d.render import mask_edges

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from true_view import Truth


@pytest.fixture(scope="module")
def truth():
    return Truth()


@pytest.fixture(scope="module")
def default(truth):
    return truth.conditioning(occlusion.FILTERS["default"])


def test_visible_pixels_agree_with_the_true_second_view_up_to_60_degrees(truth, default):
    assert truth.angles.round().tolist() == [0, 10, 20, 30, 40, 50, 60]
    inner = truth.figures(default, kernel=1)[:, 1]
    assert inner.min() >= 31.5, "28 dB is asked for; 32 is what the default reaches"


def test_our_filter_and_erosion_agree_better_than_the_releases_and_still_show_a_good_part(truth, default):
    released = truth.figures(truth.conditioning(occlusion.RELEASE), kernel=1)[1:]
    ours = truth.figures(default, kernel=mask_edges.DEFAULT_KERNELS[0])[1:]
    assert (ours[:, 0] > released[:, 0] + 2).all()
    assert (ours[:, 1] > released[:, 1]).all()
    assert (ours[:, 2] > 0.8 * released[:, 2]).all()
