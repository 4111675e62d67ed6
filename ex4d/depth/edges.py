"""Soft edges of depth made steps again, where the picture has its edges.

Depth models blur the edge of a thing over some pixels and put it next to where it is. A mesh of such depth has a slope of
pixels there that are at no surface's distance, and they fly off as soon as the camera moves. Two steps, both a frame at
a time and in disparity, in which planes have no curvature:

1. A shock filter (Osher and Rudin 1990, in the morphological form of Kramer and Bruckner 1975): each pixel of a blurred
   edge takes the nearest or the farthest of its neighbours by the sign of the curvature, until the edge is a step.
2. Within 3 pixels of such a step, a pixel whose colour is clearly that of the other side goes over to it.

Edges that are steps already, as those of rendered depth, stay as they are. Lengths are in pixels at a width of 512.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.depth_video import DepthVideo
from ex4d.progress import SNAPPING, Progress, silent

SNAPPED = "The depth's soft edges were snapped to those of the picture"
"""How the note begins that says so; depth that has it is not snapped again."""

MOVED = 0.02
"""Relative change of a distance from which a pixel counts as moved in that note."""

SOFT = 0.5
"""An edge is soft where no two neighbouring pixels differ by this part of what the pixels about them do."""

_AROUND = 3
"""How far those about a pixel reach."""

_ROUNDS = 6
"""Times that the shock filter goes on by a pixel, which is how wide a slope it makes a step."""

_CURVED = 0.007
"""Least curvature (second difference at a spacing of 1) of an edge as a part of the disparity; less may be a surface's."""

_CURVED_OF_STEP = 0.05
"""The same for the near side, as a part of what the pixels about differ by: outlines of round things are curved too."""

STEP = 0.1
"""Relative difference of two neighbours that is a step, from which colours are compared."""

_REACH = 3
"""How far from a step a pixel may change sides."""

_WINDOW, _SPACING = 6, 2
"""Pixels of both sides are compared as far as this, at this spacing."""

_COLOUR = 15.0
"""Standard deviation of the colours of a surface, in levels of 8 bits."""

_CLEARLY = 2.0
"""How many times as alike the other side must be."""

_SQUARE = np.ones((3, 3), np.uint8)
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def snapped(depth: DepthVideo, frames: NDArray[np.uint8], progress: Progress = silent) -> DepthVideo:
    """Depth whose soft edges are steps at the picture's edges, with a note that says how much of it moved.

    Args:
        depth: of T frames; what was snapped before, or is a guess, or has no soft edge comes back as it is.
        frames: (T,H,W,3) uint8, the pictures.
        progress: told after each frame; raises `Cancelled` to stop.
    """
    if depth.is_guess or any(note.startswith(SNAPPED) for note in depth.notes):
        return depth
    made, moved = np.empty_like(depth.depth), 0
    with ThreadPoolExecutor() as threads:  # numpy and OpenCV let go of Python meanwhile
        results = threads.map(snap, depth.depth, frames)
        try:
            for t, (old, new) in enumerate(zip(depth.depth, results, strict=True)):
                made[t] = new
                moved += int(np.count_nonzero(np.abs(new - old) > MOVED * old))
                progress(SNAPPING, t + 1, len(made))
        finally:
            threads.shutdown(cancel_futures=True)
    if not moved:
        return depth
    return replace(depth, depth=made, notes=(*depth.notes, f"{SNAPPED}; {moved / made.size:.1%} of its pixels moved."))


def snap(depth: NDArray[np.float32], picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Depth (H,W) of a picture (H,W,3) with its soft edges snapped, float32; the same bytes on every call."""
    disparity = 1 / depth
    scale = max(1, round(depth.shape[1] / 512))
    soft = _soft(disparity, scale)
    if not soft.any():
        return depth
    steep = _to_steps(disparity, soft, scale)
    decided = _by_colour(steep, soft, picture, scale)
    # Pixels that did not change keep their very bits, which 1 / (1 / x) would not.
    return np.where(decided == disparity, depth, 1 / decided)


def _soft(disparity: NDArray[np.float32], scale: int) -> NDArray[np.bool_]:
    """Where the edges about a pixel (H,W) are soft."""
    jump = np.zeros_like(disparity)
    jump[:, 1:] = np.abs(np.diff(disparity, axis=1))
    jump[1:] = np.maximum(jump[1:], np.abs(np.diff(disparity, axis=0)))
    around = _box(_AROUND * scale)
    return cv2.dilate(jump, around) < SOFT * _range(disparity, around)


def _to_steps(disparity: NDArray[np.float32], soft: NDArray[np.bool_], scale: int) -> NDArray[np.float32]:
    """The shock filter."""
    hardly = _CURVED / scale**2 * disparity
    on_near_side = np.maximum(hardly, _CURVED_OF_STEP / scale**2 * _range(disparity, _box(_AROUND * scale)))
    for _ in range(_ROUNDS * scale):
        smooth = disparity if scale == 1 else cv2.GaussianBlur(disparity, (0, 0), scale / 2)
        curvature = cv2.Laplacian(smooth, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)
        to_near, to_far = soft & (curvature < -on_near_side), soft & (curvature > hardly)
        nearest, farthest = cv2.dilate(disparity, _CROSS), cv2.erode(disparity, _CROSS)
        disparity = np.where(to_near, nearest, np.where(to_far, farthest, disparity))
    return disparity


def _by_colour(
    disparity: NDArray[np.float32], soft: NDArray[np.bool_], picture: NDArray[np.uint8], scale: int
) -> NDArray[np.float32]:
    """Disparity (H,W) in which pixels near a step are on the side whose colours are theirs.

    A pixel's likeness to a side is the mean of a Gaussian of its colour's distances to that side's pixels, in which
    those far from the step count most. What goes over takes the disparity of the pixel that is alike and near.
    """
    height, width = disparity.shape
    at_step = cv2.dilate(disparity, _CROSS) > cv2.erode(disparity, _CROSS) * (1 + STEP)
    away = cv2.distanceTransform((~at_step).astype(np.uint8), cv2.DIST_L2, 3)
    rows, columns = np.nonzero(soft & (away <= _REACH * scale - 1))
    if not len(rows):
        return disparity
    reach = _WINDOW * scale
    window = _box(reach)
    middle = ((cv2.dilate(disparity, window) + cv2.erode(disparity, window)) / 2)[rows, columns]

    def padded(values: NDArray) -> NDArray:
        return cv2.copyMakeBorder(values, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)

    wide = width + 2 * reach
    at = (rows + reach) * wide + columns + reach
    all_disparities = padded(disparity).ravel()
    all_weights = padded(np.minimum((away + 0.5) / (_REACH * scale), 1).astype(np.float32) + np.float32(0.05)).ravel()
    all_colours = padded(picture).reshape(-1, 3).astype(np.float32) / np.float32(np.sqrt(2) * _COLOUR)
    own = all_colours[at]
    alike, weight, best, best_disparity = (np.zeros((2, len(at)), np.float32) for _ in range(4))
    for dy in range(-reach, reach + 1, _SPACING * scale):
        for dx in range(-reach, reach + 1, _SPACING * scale):
            if dx * dx + dy * dy > reach * reach + 1:
                continue
            other = at + (dy * wide + dx)
            difference = all_colours[other] - own
            likeness = np.exp(-np.einsum("ij,ij->i", difference, difference))
            there, counts = all_disparities[other], all_weights[other]
            is_near = there > middle
            rank = (likeness + np.float32(0.1)) * counts / np.float32(1 + (dx * dx + dy * dy) / scale**2)
            for side, on_side in enumerate((~is_near, is_near)):
                here = counts * on_side
                alike[side] += likeness * here
                weight[side] += here
                better = rank * on_side > best[side]
                best[side, better] = rank[better]
                best_disparity[side, better] = there[better]
    mean = alike / np.maximum(weight, 1e-9) + np.float32(0.01)
    nearer = _smoothed(np.log(mean[1] / mean[0]), rows, columns, disparity.shape, scale)
    is_near = disparity[rows, columns] > middle
    clearly = np.float32(np.log(_CLEARLY))
    result = disparity.copy()
    for side, goes in enumerate(((nearer < -clearly) & is_near, (nearer > clearly) & ~is_near)):
        goes &= best[side] > 0
        result[rows[goes], columns[goes]] = best_disparity[side, goes]
    return result


def _smoothed(
    values: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, ...], scale: int
) -> NDArray[np.float32]:
    """Values at some pixels of a picture, each averaged with the mean of those about it."""
    spread, there = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    spread[rows, columns], there[rows, columns] = values, 1
    spread, there = (cv2.GaussianBlur(each, (0, 0), scale) for each in (spread, there))
    mean: NDArray[np.float32] = (values + spread[rows, columns] / there[rows, columns]) / 2
    return mean


def _box(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _range(values: NDArray[np.float32], around: NDArray[np.uint8]) -> NDArray[np.float32]:
    """By how much the values about each pixel differ."""
    return cv2.dilate(values, around) - cv2.erode(values, around)
