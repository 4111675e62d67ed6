"""Peak signal-to-noise ratio, over a whole picture or a part of it."""

import numpy as np
from numpy.typing import NDArray

PEAK = 255.0


def psnr(a: NDArray, b: NDArray) -> float:
    """PSNR in dB of two arrays of 8-bit values of one shape; infinite where they are equal.

    10 log10(255^2 / mean squared error), the mean being taken over pixels and channels alike.
    """
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def masked_psnr(a: NDArray, b: NDArray, mask: NDArray[np.bool_]) -> float | None:
    """PSNR in dB over the pixels of pictures (H,W,3) where a mask (H,W) is set; None where it is set nowhere.

    This is DyCheck's mPSNR (Gao et al. 2022, core/metrics/image.py), whose mean too is that of the pixels in the mask.
    """
    return psnr(a[mask], b[mask]) if mask.any() else None
