"""Structural similarity of whole pictures or parts of them: SSIM by partial convolution, as DyCheck defines mSSIM.

Wang et al. 2004 with DyCheck's constants. Masks are treated as in Gao et al. 2022 (dycheck, core/metrics/image.py),
after Liu et al. 2018, section 3.1: masked-out pixels are left out of each window, and the rest is weighted higher.
OpenCV is imported where it is used.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
"""Size and standard deviation of the Gaussian window in pixels, and the constants that keep the quotient finite."""

HALF = SIZE // 2


@dataclass(frozen=True)
class Similarity:
    """SSIM at each position where a window fits into the picture.

    Attributes:
        map: (H-10,W-10,3) float64, 1 if a window has no pixel of the mask.
        counted: (H-10,W-10) bool, windows with at least one pixel of the mask.
        mask: (H-10,W-10) bool, the mask at the centres of the windows.
    """

    map: NDArray[np.float64]
    counted: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    @property
    def as_dycheck(self) -> float:
        """mSSIM: the mean of the whole map, where windows without a pixel of the mask count as 1, as in DyCheck."""
        return float(self.map.mean())

    @property
    def of_mask(self) -> float | None:
        """The mean over windows whose centre is in the mask; None if there are none."""
        return float(self.map[self.mask].mean()) if self.mask.any() else None


def similarity(a: NDArray[np.uint8], b: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> Similarity:
    """SSIM of two pictures (H,W,3), each side at least 11 pixels.

    Args:
        a, b: uint8 RGB.
        mask: (H,W) bool, which pixels count; None for all.
    """
    counts = np.ones(a.shape[:2]) if mask is None else mask.astype(np.float64)
    x, y = a.astype(np.float64) / 255, b.astype(np.float64) / 255
    mean_x, counted = _blurred(x, counts)
    mean_y = _blurred(y, counts)[0]
    var_x = np.maximum(_blurred(x * x, counts)[0] - mean_x**2, 0)
    var_y = np.maximum(_blurred(y * y, counts)[0] - mean_y**2, 0)
    both = _blurred(x * y, counts)[0] - mean_x * mean_y
    both = np.sign(both) * np.minimum(np.sqrt(var_x * var_y), np.abs(both))
    c1, c2 = K1**2, K2**2
    quotient = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    quotient /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return Similarity(quotient, counted, counts[HALF:-HALF, HALF:-HALF] > 0)


def _blurred(values: NDArray[np.float64], mask: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values (H,W,3) blurred along rows and then columns, and where the blur has any pixels to average."""
    weights = np.exp(-0.5 * ((np.arange(SIZE) - HALF) / SIGMA) ** 2)
    weights /= weights.sum()
    for along in ((1, SIZE), (SIZE, 1)):
        total = _valid(values * mask[..., None], weights.reshape(along))
        share = _valid(mask, np.full(along, 1 / SIZE))
        mask = (share > 0.5 / SIZE).astype(np.float64)
        values = np.where(mask[..., None] > 0, total / np.maximum(share, 1 / SIZE)[..., None], 0)
    return values, mask > 0


def _valid(values: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation where the kernel is completely inside the picture."""
    import cv2

    down, right = ((side - 1) // 2 for side in kernel.shape)
    made = np.asarray(cv2.filter2D(values, cv2.CV_64F, kernel), np.float64)
    return made[down : made.shape[0] - down, right : made.shape[1] - right]
