"""Depth of a picture of which parts are known: an estimate is fitted to these, and goes on from them without a step.

Where nobody can estimate it, the depth behind what is near goes on.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.depth.alignment import FARTHEST_OVER_NEAREST, fit_disparity
from ex4d.errors import InputError

LEAST_KNOWN = 0.02
"""An estimate is fitted to no less than this part of the picture."""

MOST_MISFIT = 0.3
"""What is known may differ from the fitted estimate by this factor, in the median; a worse estimate is of no use."""

_SPREAD = 1 / 16
"""How far what a fit leaves over reaches into the rest, as a part of the picture's longer side."""

_FAR_COUNTS = 4.0
"""Power of the distance by which what is known counts where it goes on: what a hole shows lies behind its edge."""


def fitted(
    estimate: NDArray[np.float32], inverse_distance: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """The depth (h,w) of a picture, from an estimate and what is known of it; None where the two do not go together.

    Args:
        estimate: (h,w) depth of any unit; its disparity may be off by a scale and a shift.
        inverse_distance: (h,w) 1 / distance in the unit that is wanted.
        known: (h,w) where that is known.
    """
    if known.mean() < LEAST_KNOWN:
        return None
    disparity = 1 / np.maximum(estimate, np.float32(1e-9))
    true = inverse_distance[known]
    try:
        scale, shift = fit_disparity(disparity[known], true)
    except InputError:
        return None
    least = np.float32(max(float(true.max()), 1e-9) / FARTHEST_OVER_NEAREST)
    made = np.maximum(np.float32(scale) * disparity + np.float32(shift), least)
    left = np.where(known, np.log(np.maximum(inverse_distance, least) / made), 0).astype(np.float32)
    if np.median(np.abs(left[known])) > np.log(1 + MOST_MISFIT):
        return None
    made = made * np.exp(_spread(left, known.astype(np.float32), max(known.shape) * _SPREAD))
    return np.asarray(1 / np.where(known, np.maximum(inverse_distance, least), made), np.float32)


def continued(inverse_distance: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The depth (h,w) of a picture of which only a part is known: what is far goes on behind what is near."""
    least = np.float32(max(float(inverse_distance[known].max(initial=0)), 1e-9) / FARTHEST_OVER_NEAREST)
    here = np.maximum(inverse_distance, least)
    weight = np.where(known, (float(here[known].max()) / here) ** _FAR_COUNTS, 0).astype(np.float32)
    return np.asarray(1 / np.where(known, here, _from_around(here, weight)), np.float32)


def _spread(values: NDArray[np.float32], weight: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Values (h,w) smoothed by weight; far from all that has any, they become 0."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    return np.asarray(cv2.GaussianBlur(values * weight, (0, 0), sigma) / (total + 1e-2), np.float32)


def _from_around(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (h,w) where their weight is 0, from the nearest that have any: by halves and back (Gortler and others,
    "The Lumigraph", 1996)."""
    height, width = values.shape
    if min(height, width) < 2:
        total = float(weight.sum())
        return np.full_like(values, float((values * weight).sum()) / total if total else 0)
    size = (width + 1) // 2, (height + 1) // 2
    less = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32)
    summed = np.asarray(cv2.resize(values * weight, size, interpolation=cv2.INTER_AREA), np.float32)
    coarse = np.asarray(summed / np.maximum(less, np.float32(1e-12)), np.float32)
    if (less == 0).any():
        coarse = _from_around(coarse, less)
    up = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(weight > 0, values, up).astype(np.float32)
