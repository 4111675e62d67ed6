"""Soft edges of depth made steps again, where the picture has its edges.

Depth models blur the edge of a thing over some pixels, and put it beside where it is. A mesh of such depth has a slope
there, whose pixels are at no surface's distance and smear as soon as the camera moves. Two steps, each a frame at a
time and in disparity, in which planes have no curvature:

1. A shock filter (Osher and Rudin 1990, in the morphological form of Kramer and Bruckner 1975): each pixel of a blurred
   edge takes the nearest or the farthest of its neighbours by the sign of the curvature, until the edge is a step.
2. Within 3 pixels of such a step, a pixel whose colour is clearly that of the other side goes over to it.

Edges that are steps already stay as they are, and so does depth whose edges mostly are, such as a renderer's. Lengths
are in pixels at a width of 512.
"""

import os
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

SHARP, _LOOKED_AT = 0.65, 8
"""Part of a shot's edges from which on its depth counts as sharp, and how many of its frames are looked at. Rendered
depth has 0.76 to 0.97, blurred 0.04 to 0.26, and blurred with grain 0.33 to 0.57."""

SOFT = 0.5
"""An edge is soft where no two neighbouring pixels differ by this part of what the pixels about them do."""

_AROUND = 3
"""How far those about a pixel reach."""

_ROUNDS = 6
"""Times that the shock filter goes on by a pixel, which is how wide a slope it makes a step."""

_CURVED = 0.007
"""Least curvature (second difference at a spacing of 1) of an edge, as a part of the disparity; surfaces have less."""

_GRAINY = 0.001
"""Median curvature, in the same terms, from which depth is grainy, and smoothed more before its curvature is taken."""

_SMOOTH, _SMOOTH_GRAIN = 0.5, 0.7
"""Standard deviations of the Gaussian before curvature is taken: in pictures wider than 512, and for grain."""

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

_LIMIT_BYTES, _BYTES_A_PIXEL = 1 << 30, 150
"""Most memory that frames take while they are worked on, and what one takes a pixel."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def snapped(depth: DepthVideo, frames: NDArray[np.uint8], progress: Progress = silent) -> DepthVideo:
    """Depth whose soft edges are steps at the picture's edges, with a note that says how much of it moved.

    Args:
        depth: of T frames; what was snapped before, is a guess, or is sharp comes back as it is.
        frames: (T,H,W,3) uint8, the pictures.
        progress: told after each frame; raises `Cancelled` to stop.
    """
    if depth.is_guess or any(note.startswith(SNAPPED) for note in depth.notes):
        return depth
    if _is_sharp(depth.depth):
        return depth
    made, moved = np.empty_like(depth.depth), 0
    at_once = max(1, min(os.cpu_count() or 1, _LIMIT_BYTES // (_BYTES_A_PIXEL * depth.depth[0].size)))
    with ThreadPoolExecutor(at_once) as threads:  # numpy and OpenCV let go of Python meanwhile
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
    disparity, scale = np.float32(1) / depth, _scale(depth)
    soft = _soft(disparity, scale)
    if not soft.any():
        return depth
    steep = _to_steps(disparity, soft, scale)
    decided = _by_colour(steep, soft, picture, scale)
    # Pixels that did not change keep their very bits, which 1 / (1 / x) would not.
    return np.where(decided == disparity, depth, 1 / decided)


def _is_sharp(depth: NDArray[np.float32]) -> bool:
    """Whether most edges of a shot (T,H,W) are sharp."""
    edges, sharp = 0, 0
    for t in np.unique(np.linspace(0, len(depth) - 1, _LOOKED_AT).astype(int)):
        disparity, scale = np.float32(1) / depth[t], _scale(depth[t])
        edge = _range(disparity, _box(_AROUND * scale)) > STEP * disparity
        edges += int(np.count_nonzero(edge))
        sharp += int(np.count_nonzero(edge & ~_soft(disparity, scale)))
    return sharp > SHARP * edges


def _scale(depth: NDArray[np.float32]) -> int:
    return max(1, round(depth.shape[1] / 512))


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
    grain = float(np.median((np.abs(_curvature(disparity)) / disparity)[::scale, ::scale]))
    smooth = scale * _SMOOTH_GRAIN if grain > _GRAINY else scale * _SMOOTH if scale > 1 else 0
    for _ in range(_ROUNDS * scale):
        smoothed = np.asarray(cv2.GaussianBlur(disparity, (0, 0), smooth), np.float32) if smooth else disparity
        curvature = _curvature(smoothed)
        to_near, to_far = soft & (curvature < -on_near_side), soft & (curvature > hardly)
        nearest, farthest = cv2.dilate(disparity, _CROSS), cv2.erode(disparity, _CROSS)
        disparity = np.where(to_near, nearest, np.where(to_far, farthest, disparity))
    return disparity


def _curvature(values: NDArray[np.float32]) -> NDArray[np.float32]:
    curvature = np.asarray(cv2.Laplacian(values, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE), np.float32)
    curvature[[0, -1]] = curvature[[1, -2]]  # planes have none at the picture's border either
    curvature[:, [0, -1]] = curvature[:, [1, -2]]
    return curvature


def _by_colour(
    disparity: NDArray[np.float32], soft: NDArray[np.bool_], picture: NDArray[np.uint8], scale: int
) -> NDArray[np.float32]:
    """Disparity (H,W) in which pixels near a step are on the side whose colours are theirs.

    A pixel's likeness to a side is the mean of a Gaussian of its colour's distances to that side's pixels, in which
    those far from the step count most. What goes over takes the disparity of the pixel that is alike and near.
    """
    width = disparity.shape[1]
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
    disparities = padded(disparity).ravel()
    counts = padded(np.minimum((away + 0.5) / (_REACH * scale), 1).astype(np.float32) + np.float32(0.05)).ravel()
    colours = padded(picture).reshape(-1, 3).astype(np.float32) / np.float32(np.sqrt(2) * _COLOUR)
    steps = range(-reach, reach + 1, _SPACING * scale)
    offsets = [(dx, dy) for dy in steps for dx in steps if dx * dx + dy * dy <= reach * reach + 1]

    own = colours[at]
    alike, weight, near_alike, near_weight = (np.zeros(len(at), np.float32) for _ in range(4))
    for dx, dy in offsets:
        other = at + (dy * wide + dx)
        count = counts[other]
        likeness = count * _likeness(colours[other], own)
        is_near = disparities[other] > middle
        alike += likeness
        weight += count
        near_alike += likeness * is_near
        near_weight += count * is_near
    near, far = (
        mine / np.maximum(of, 1e-6) + np.float32(0.01)
        for mine, of in ((near_alike, near_weight), (alike - near_alike, weight - near_weight))
    )
    nearer = _smoothed(np.log(near / np.maximum(far, np.float32(0.01))), rows, columns, disparity.shape, scale)
    is_near, clearly = disparity[rows, columns] > middle, np.log(_CLEARLY)
    goes = np.flatnonzero(np.where(is_near, nearer < -clearly, nearer > clearly))

    at, own, middle, to_near = at[goes], own[goes], middle[goes], ~is_near[goes]
    best, found = np.zeros(len(at), np.float32), disparity[rows[goes], columns[goes]]
    for dx, dy in offsets:
        other = at + (dy * wide + dx)
        rank = (_likeness(colours[other], own) + np.float32(0.1)) * counts[other]
        rank /= np.float32(1 + (dx * dx + dy * dy) / scale**2)
        better = (rank > best) & ((disparities[other] > middle) == to_near)
        best[better], found[better] = rank[better], disparities[other[better]]
    result = disparity.copy()
    result[rows[goes], columns[goes]] = found
    return result


def _likeness(colours: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 for colours (n,3) that are the same, falling as a Gaussian; they are in units in which that is exp(-d*d)."""
    difference = colours - own
    likeness: NDArray[np.float32] = np.exp(-np.einsum("ij,ij->i", difference, difference))
    return likeness


def _smoothed(
    values: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, ...], scale: int
) -> NDArray[np.float32]:
    """Values at some pixels of a picture, each averaged with the mean of those about it."""

    def spread(there: NDArray[np.float32] | float) -> NDArray[np.float32]:
        image = np.zeros(shape, np.float32)
        image[rows, columns] = there
        return np.asarray(cv2.GaussianBlur(image, (0, 0), scale), np.float32)[rows, columns]

    return np.asarray((values + spread(values) / spread(1)) / 2, np.float32)


def _box(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _range(values: NDArray[np.float32], around: NDArray[np.uint8]) -> NDArray[np.float32]:
    """By how much the values about each pixel differ."""
    return np.asarray(cv2.dilate(values, around) - cv2.erode(values, around), np.float32)
