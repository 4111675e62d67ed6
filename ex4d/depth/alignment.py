"""Turning an estimator's relative disparity into distances: one scale and one shift for the whole shot."""

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError

MOST_SAMPLES = 200_000
"""Maximum number of samples in a fit; larger sets are thinned out evenly, with no visible effect."""

TUKEY = 4.685
"""Residuals beyond this many deviations have no weight (Beaton and Tukey 1974; 95 % efficient on normal noise)."""

RELEASE_DISPARITY, RELEASE_FARTHEST = 3900.0, 1e4
"""The release's depth is 10000 / (3900 d), at most 10000 (recon.py), so the nearest pixel is at 2.564."""

FARTHEST_OVER_NEAREST = 1000.0
"""Depth that a metric fit puts beyond infinity is placed at this many times the shot's nearest distance."""


def fit_disparity(relative: NDArray, metric: NDArray) -> tuple[float, float]:
    """Fit scale and shift so that `scale * relative + shift` is the metric disparity, robust against outliers.

    Starts from the line of least absolute residuals and reweights iteratively with Tukey's biweight, so some 40 % of
    the samples may be arbitrary.

    Args:
        relative: disparity of the estimator, any shape; larger is nearer.
        metric: 1 / distance of the same samples.

    Returns:
        (scale, shift), scale > 0, in 1 / the unit of the distances.

    Raises:
        InputError: fewer than two usable samples, all of the same disparity, or near and far swapped.
    """
    x, y = np.asarray(relative, np.float64).ravel(), np.asarray(metric, np.float64).ravel()
    usable = np.isfinite(x) & np.isfinite(y) & (y > 0)
    x, y = x[usable], y[usable]
    if len(x) > MOST_SAMPLES:
        kept = np.linspace(0, len(x) - 1, MOST_SAMPLES).astype(np.intp)
        x, y = x[kept], y[kept]
    if len(x) < 2 or np.ptp(x) <= 1e-9 * np.abs(x).max():
        raise InputError(
            "The estimated depth cannot be scaled to metres, because it shows no difference between near and far:"
            " choose another estimator or other key frames."
        )
    line = _line(x, y, np.ones_like(x))
    smallest = 1e-9 * np.median(y)
    for reweigh in (_absolute, _biweight):
        for _ in range(50):
            residual = np.abs(line[0] * x + line[1] - y)
            spread = max(float(np.median(residual)) / 0.6745, smallest)
            factor = reweigh(residual / spread)
            if np.ptp(x[factor > 0]) == 0:
                break
            before, line = line, _line(x, y, factor)
            if np.allclose(before, line, rtol=1e-7, atol=0):
                break
    scale, shift = line
    if not scale > 0:
        raise InputError(
            "The estimated depth contradicts the distances it is scaled by (near and far are swapped): choose another"
            " estimator or other key frames."
        )
    return float(scale), float(shift)


def metric_depth(disparity: NDArray[np.float32], scale: float, shift: float) -> NDArray[np.float32]:
    """Convert the relative disparity (T,H,W) of a whole shot to distances > 0, with the fit of `fit_disparity`.

    Raises:
        InputError: nothing in the shot is in front of the camera.
    """
    nearest = scale * float(disparity.max()) + shift
    if not nearest > 0:
        raise InputError("Once scaled, the estimated depth lies entirely beyond infinity: choose another estimator.")
    return _inverse(disparity, scale, shift, nearest / FARTHEST_OVER_NEAREST)


def relative_depth(disparity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert disparity of unknown scale and shift to distances of a whole shot (T,H,W) in the release's unit.

    Normalised once over all frames to d in [0, 1]; depth = 10000 / (3900 d), at most 10000 (recon.py).

    Raises:
        InputError: the disparity is the same everywhere.
    """
    low, high = float(disparity.min()), float(disparity.max())
    if not high > low:
        raise InputError("The estimator sees no depth in this clip: choose another one.")
    scale = RELEASE_DISPARITY / RELEASE_FARTHEST / (high - low)
    return _inverse(disparity, scale, -scale * low, 1 / RELEASE_FARTHEST)


def _inverse(disparity: NDArray[np.float32], scale: float, shift: float, least: float) -> NDArray[np.float32]:
    depth = np.empty(disparity.shape, np.float32)
    for number, frame in enumerate(disparity):  # avoids a temporary as large as the shot
        depth[number] = 1 / np.maximum(scale * frame.astype(np.float64) + shift, least)
    return depth


def _line(x: NDArray, y: NDArray, weights: NDArray) -> tuple[float, float]:
    """Fit y = a x + b by weighted least squares."""
    total = weights.sum()
    mean_x, mean_y = (weights * x).sum() / total, (weights * y).sum() / total
    centred = x - mean_x
    a = (weights * centred * (y - mean_y)).sum() / (weights * centred**2).sum()
    return a, mean_y - a * mean_x


def _absolute(residual: NDArray) -> NDArray:
    """Weights that turn least squares into least absolute residuals."""
    return 1 / np.maximum(residual, 1e-3)


def _biweight(residual: NDArray) -> NDArray:
    return np.maximum(1 - (residual / TUKEY) ** 2, 0) ** 2
