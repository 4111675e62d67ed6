"""Depth of a picture of which parts are known: an estimate is fitted to these, and goes on from them without a step.

Where nobody can estimate it, the depth behind what is near goes on.
"""

from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.depth.alignment import FARTHEST_OVER_NEAREST, fit_disparity
from ex4d.errors import InputError

LEAST_KNOWN = 0.02
"""An estimate is fitted to no less than this part of the picture."""

MOST_MISFIT, LEAST_MISFIT = 0.5, 0.1
"""What is known may differ from the fitted estimate, in the median, by this part of what it differs from its own
median, and always by this part of the distance; a worse estimate is of no use."""

_SPREAD = 1 / 16
"""How far what a fit leaves over reaches into the rest, as a part of the picture's longer side."""

_FAR_COUNTS = 4.0
"""Power of the distance by which what is known counts where it goes on: what a hole shows lies behind its edge."""

_GRID, _WIDTHS = 160, ((0.03, 1.0), (0.1, 0.03), (0.5, 1e-3))
"""Places along the longer side at which it goes on, and how wide, as a part of that side, and how much means count."""


def fitted(
    estimate: NDArray[np.float32], inverse_distance: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """The depth (h,w) of a picture, from an estimate and what is known of it; None if the two do not go together.

    Args:
        estimate: (h,w) depth of any unit; its disparity may be off by a scale and a shift.
        inverse_distance: (h,w) 1 / distance in the unit that is wanted.
        known: (h,w) where that is known.
    """
    if known.mean() < LEAST_KNOWN:
        return None
    disparity = 1 / np.maximum(estimate, np.float32(1e-9))
    true = inverse_distance[known]
    lines = [(float(np.median(true / disparity[known])), 0.0)]  # where all is about as far away, a shift tells nothing
    with suppress(InputError):
        lines.append(fit_disparity(disparity[known], true))
    least = np.float32(max(float(true.max()), 1e-9) / FARTHEST_OVER_NEAREST)
    logs = np.log(np.maximum(true, least))

    def misfit(line: tuple[float, float]) -> float:
        return float(np.median(np.abs(logs - np.log(np.maximum(line[0] * disparity[known] + line[1], least)))))

    scale, shift = min(lines, key=misfit)
    if misfit((scale, shift)) > max(LEAST_MISFIT, MOST_MISFIT * float(np.median(np.abs(logs - np.median(logs))))):
        return None
    made = np.maximum(np.float32(scale) * disparity + np.float32(shift), least)
    left = np.where(known, np.log(np.maximum(inverse_distance, least) / made), 0).astype(np.float32)
    made = made * np.exp(_spread(left, known.astype(np.float32), max(known.shape) * _SPREAD))
    return np.asarray(1 / np.where(known, np.maximum(inverse_distance, least), made), np.float32)


def continued(inverse_distance: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The depth (h,w) of a picture of which only a part is `known`, but some is: what is far goes on.

    The rest has the mean of what is around it, by normalised convolution (Knutsson and Westin, 1993) at several widths.
    """
    least = np.float32(max(float(inverse_distance[known].max()), 1e-9) / FARTHEST_OVER_NEAREST)
    here = np.maximum(inverse_distance, least)
    weight = np.where(known, (float(here[known].max()) / here) ** _FAR_COUNTS, 0).astype(np.float32)
    height, width = here.shape
    part = min(1.0, _GRID / max(height, width))
    size = max(1, round(width * part)), max(1, round(height * part))
    small = cv2.resize(np.dstack([weight, weight * here]), size, interpolation=cv2.INTER_AREA)
    total = np.zeros(small.shape, np.float32)
    for sigma, share in _WIDTHS:
        total = total + np.float32(share) * cv2.GaussianBlur(small, (0, 0), sigma * max(size)).astype(np.float32)
    mean = np.asarray(total[..., 1] / np.maximum(total[..., 0], np.float32(1e-30)), np.float32)
    around = np.maximum(cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR), least)
    return np.asarray(1 / np.where(known, here, around), np.float32)


def _spread(values: NDArray[np.float32], weight: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Values (h,w) smoothed by weight; far from all that has any, they become 0."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    return np.asarray(cv2.GaussianBlur(values * weight, (0, 0), sigma) / (total + 1e-2), np.float32)
