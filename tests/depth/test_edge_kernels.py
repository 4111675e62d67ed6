"""The compiled loops for snapping match OpenCV, including at the picture's border."""

import cv2
import numpy as np
import pytest

from ex4d.depth import edge_kernels

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@pytest.mark.parametrize("size", [(3, 3), (4, 31), (40, 57)])
def test_a_round_of_the_shock_filter_is_dilation_or_erosion_by_the_sign_of_the_curvature(size):
    random = np.random.default_rng(1)
    disparity = random.uniform(0.5, 1, size).astype(np.float32)
    smoothed = cv2.GaussianBlur(disparity, (5, 5), 1)
    hardly = random.uniform(0, 0.1, size).astype(np.float32)
    hardly[random.random(size) < 0.2] = np.inf
    on_near_side = hardly + np.float32(0.02)
    made = np.empty_like(disparity)
    edge_kernels.shocked(disparity, smoothed, hardly, on_near_side, made)

    curvature = cv2.Laplacian(smoothed, cv2.CV_32F, ksize=1)
    curvature[[0, -1]] = curvature[[1, -2]]
    curvature[:, [0, -1]] = curvature[:, [1, -2]]
    nearest, farthest = cv2.dilate(disparity, CROSS), cv2.erode(disparity, CROSS)
    expected = np.where(curvature < -on_near_side, nearest, np.where(curvature > hardly, farthest, disparity))
    decided = np.minimum(np.abs(curvature - hardly), np.abs(curvature + on_near_side)) > 1e-5  # else rounding decides
    np.testing.assert_array_equal(made[decided], expected[decided])
    if made.size > 100:
        assert 0.1 < np.mean(made != disparity) < 0.95


def test_a_pixel_is_nearer_where_its_colour_is_that_of_the_near_side():
    disparity = np.where(np.arange(9) < 4, np.float32(1), np.float32(0.2))[None].repeat(9, axis=0)
    picture = np.where(np.arange(9) < 6, 200, 40).astype(np.uint8)[None, :, None].repeat(9, axis=0).repeat(3, axis=2)
    ones, middle = np.ones_like(disparity), np.full_like(disparity, 0.6)
    looked_at = edge_kernels.looked_at(disparity, picture, ones, middle, 3)
    offsets = np.array([(0, x) for x in range(-3, 4)])
    asked = np.ones(disparity.shape, bool)
    asked[:, 0] = False
    nearer = edge_kernels.nearer(looked_at, asked, offsets)
    # Of column 5's neighbours, 2 are near, all with its colour; of the 5 far ones, 2 have its colour.
    assert nearer[4, 5] == pytest.approx(np.log((1 + 0.01) / (2 / 5 + 0.01)), abs=1e-3)
    assert nearer[4, 7] < 0
    assert not nearer[:, 0].any()
    made = edge_kernels.on_clearer_side(
        looked_at, asked, asked, nearer, nearer, ones, np.float32(np.log(1.5)), offsets, np.ones(7, np.float32)
    )
    np.testing.assert_array_equal(made[4], np.where(np.arange(9) < 6, np.float32(1), np.float32(0.2)))
