"""PSNR and SSIM against values computed by hand, in closed form, or by their definition, pixel by pixel."""

import numpy as np
import pytest

from ex4d.metrics.pixels import masked_psnr, psnr
from ex4d.metrics.structure import similarity


def test_psnr_of_a_difference_of_ten_levels_everywhere_is_that_of_the_formula():
    picture = np.full((4, 6, 3), 100, np.uint8)
    assert psnr(picture, picture + 10) == pytest.approx(10 * np.log10(65025 / 100))
    assert psnr(picture + 10, picture) == pytest.approx(28.1308, abs=1e-4)
    assert psnr(picture, picture) == np.inf


def test_psnr_of_a_part_counts_the_pixels_of_the_mask_alone():
    true, made = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    made[0, 0] = (30, 0, 0)  # squared error 900 in one of three channels
    mask = np.array([[True, True], [False, False]])
    assert masked_psnr(made, true, mask) == pytest.approx(10 * np.log10(65025 / 150))
    assert masked_psnr(made, true, ~mask) == np.inf
    assert masked_psnr(made, true, np.zeros((2, 2), bool)) is None


def partial_convolution(values, mask, weights, axis):
    """By its definition: at each position the sum over the window, times window size / pixels of the mask in it."""
    size, channels = len(weights), values.shape[2]
    rows, columns = values.shape[:2]
    height, width = (rows - size + 1, columns) if axis == 0 else (rows, columns - size + 1)
    made, counted = np.zeros((height, width, channels)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            total, there = np.zeros(channels), 0.0
            for n, weight in enumerate(weights):
                place = (y + n, x) if axis == 0 else (y, x + n)
                total += weight * values[place] * mask[place]
                there += mask[place]
            if there:
                made[y, x], counted[y, x] = total * size / there, 1
    return made, counted


def mssim_by_definition(a, b, mask):
    """DyCheck's compute_ssim written out without any library."""
    weights = [np.exp(-0.5 * ((n - 5) / 1.5) ** 2) for n in range(11)]
    weights = [weight / sum(weights) for weight in weights]

    def blurred(values):
        return partial_convolution(*partial_convolution(values, mask, weights, 1), weights, 0)[0]

    a, b = a / 255.0, b / 255.0
    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = np.maximum(blurred(a**2) - mean_a**2, 0), np.maximum(blurred(b**2) - mean_b**2, 0)
    both = blurred(a * b) - mean_a * mean_b
    both = np.sign(both) * np.minimum(np.sqrt(var_a * var_b), np.abs(both))
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


@pytest.fixture
def pictures():
    random = np.random.default_rng(3)
    a = random.integers(0, 256, (24, 28, 3), dtype=np.uint8)
    b = np.clip(a.astype(int) + random.integers(-60, 61, a.shape), 0, 255).astype(np.uint8)
    return a, b


@pytest.mark.parametrize("kind", ["all", "scattered", "half", "nearly empty"])
def test_masked_ssim_is_dychecks_partial_convolution(pictures, kind):
    a, b = pictures
    mask = np.ones(a.shape[:2])
    if kind == "scattered":
        mask = (np.random.default_rng(1).random(mask.shape) < 0.3).astype(float)
    elif kind == "half":
        mask[:, 14:] = 0
    elif kind == "nearly empty":
        mask[:] = 0
        mask[12, 13] = 1
    assert similarity(a, b, mask > 0).as_dycheck == pytest.approx(mssim_by_definition(a, b, mask), abs=1e-9)


def test_ssim_of_two_even_pictures_is_the_quotient_of_their_levels():
    a, b = np.full((16, 16, 3), 51, np.uint8), np.full((16, 16, 3), 102, np.uint8)  # 0.2 and 0.4
    assert similarity(a, b).as_dycheck == pytest.approx((2 * 0.2 * 0.4 + 1e-4) / (0.2**2 + 0.4**2 + 1e-4))
    assert similarity(a, a).as_dycheck == 1


def test_what_is_masked_out_does_not_change_ssim(pictures):
    a, b = pictures
    mask = np.zeros(a.shape[:2], bool)
    mask[:, :14] = True
    other = b.copy()
    other[:, 14:] = 255 - other[:, 14:]
    assert similarity(a, b, mask).of_mask == similarity(a, other, mask).of_mask
    assert similarity(a, b).of_mask != similarity(a, other).of_mask
    assert similarity(a, b, np.zeros_like(mask)).of_mask is None
