"""Peak signal-to-noise ratio, over a whole picture or a part of it."""

import numpy as np
from numpy.typing import NDArray

PEAK = 255.0


def psnr(a: NDArray, b: NDArray) -> float:
    """PSNR in dB of two arrays of 8-bit values with the same shape; infinite if they are equal.

    10 log10(255^2 / mean squared error), with the mean over all pixels and channels.
    """
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def masked_psnr(a: NDArray, b: NDArray, mask: NDArray[np.bool_]) -> float | None:
    """PSNR in dB over the pixels of pictures (H,W,3) where a mask (H,W) is set; None if it is not set anywhere.

    This is DyCheck's mPSNR (Gao et al. 2022, core/metrics/image.py), which also takes the mean over the masked pixels.
    """
    return psnr(a[mask], b[mask]) if mask.any() else None
