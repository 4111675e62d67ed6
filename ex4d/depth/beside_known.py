"""Depth of a picture that is known in parts: an estimate is fitted to these parts and continues them without a step.

Without an estimate, the depth of the background is continued.
"""

from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.depth.alignment import FARTHEST_OVER_NEAREST, fit_disparity
from ex4d.errors import InputError

LEAST_KNOWN = 0.02
"""Smallest known part of the picture that an estimate is fitted to."""

MOST_MISFIT, LEAST_MISFIT = 0.5, 0.1
"""Limits for the median error of a fitted estimate where depth is known, whichever is larger: a fraction of the known
depth's own spread around its median, and a fraction of the distance. A worse estimate is useless."""

_SPREAD = 1 / 16
"""How far the residual of a fit spreads into the unknown parts, as a fraction of the picture's longer side."""

_FAR_COUNTS = 4.0
"""Power of the distance by which continued depth is weighted, because a hole shows what lies behind its edge."""

_GRID, _WIDTHS = 160, ((0.03, 1.0), (0.1, 0.03), (0.5, 1e-3))
"""Grid cells along the longer side on which depth is continued; and pairs of the width of a mean, as a fraction of that
side, and its weight."""


def fitted(
    estimate: NDArray[np.float32], inverse_distance: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """Complete the depth (h,w) of a picture from an estimate and its known parts; None if the two do not agree.

    Args:
        estimate: (h,w) depth in any unit; its disparity may be off by a scale and a shift.
        inverse_distance: (h,w) 1 / distance in the desired unit.
        known: (h,w) where `inverse_distance` is known.
    """
    if known.mean() < LEAST_KNOWN:
        return None
    disparity = 1 / np.maximum(estimate, np.float32(1e-9))
    true = inverse_distance[known]
    lines = [(float(np.median(true / disparity[known])), 0.0)]  # at nearly equal distances a shift means nothing
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
    """Complete the depth (h,w) of a picture that is `known` only in parts, by continuing its background.

    The rest gets the mean of its surroundings, by normalised convolution (Knutsson and Westin, 1993) at several widths.
    Something must be known.
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
    """Smooth values (h,w) by weight; they fade to 0 far from any weight."""
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    return np.asarray(cv2.GaussianBlur(values * weight, (0, 0), sigma) / (total + 1e-2), np.float32)
