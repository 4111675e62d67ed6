"""Turns soft depth edges back into steps, at the edges of the picture.

Depth models blur the edge of an object over several pixels, and displace it. A mesh of such depth has a slope there,
whose pixels are at the distance of neither surface and smear as soon as the camera moves. Two steps fix this, one frame
at a time and in disparity, in which planes have no curvature:

1. A shock filter (Osher and Rudin 1990, in the morphological form of Kramer and Bruckner 1975): each pixel of a blurred
   edge takes the value of its nearest or farthest neighbour, by the sign of the curvature, until the edge is a step.
2. Within 3 pixels of such a step, a pixel whose colour clearly belongs to the other side moves to that side.

Edges that are steps already stay as they are, and so does depth in which most edges are, such as a renderer's. Lengths
are in pixels at a width of 512.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.depth import edge_kernels
from ex4d.geometry.depth_video import DepthVideo
from ex4d.progress import SNAPPING, Progress, silent

SNAPPED = "The depth's soft edges were snapped to those of the picture"
"""Start of the note that says so; depth with this note is not snapped again."""

MOVED = 0.02
"""Relative change of distance above which that note counts a pixel as moved."""

SHARP, _LOOKED_AT = 0.65, 8
"""Fraction of sharp edges above which a shot's depth counts as sharp, and number of frames examined. Rendered depth has
0.76 to 0.97, blurred depth 0.04 to 0.26, and blurred depth with grain 0.33 to 0.57."""

SOFT = 0.5
"""An edge is soft if no two neighbouring pixels differ by this fraction of the range of the pixels around them."""

_AROUND = 3
"""Radius of the neighbourhood of a pixel."""

_ROUNDS = 6
"""Rounds of the shock filter, each one pixel; they limit how wide a slope can become a step."""

_LEAST_EDGE = 0.03
"""Relative range of the pixels around a pixel above which it may be at an edge."""

_CURVED = 0.007
"""Minimum curvature (second difference at a spacing of 1) of an edge, relative to the disparity; surfaces have less."""

_GRAINY = 0.001
"""Median curvature, on the same scale, above which depth is grainy and is smoothed more before curvature is taken."""

_SMOOTH, _SMOOTH_GRAIN = 0.5, 0.7
"""Standard deviations of the Gaussian before curvature is taken: for pictures wider than 512, and for grain."""

_CURVED_OF_STEP = 0.05
"""Minimum curvature on the near side, relative to the range of the surrounding pixels; round outlines curve too."""

STEP = 0.1
"""Relative difference between neighbours that counts as a step, where colours are compared."""

_REACH = 3
"""How far from a step a pixel may change sides."""

_WINDOW, _SPACING = 6, 2
"""Radius within which pixels of both sides are compared, and their spacing."""

_CLEARLY = 2.0
"""How many times as similar the other side must be."""

_LIMIT_BYTES, _BYTES_A_PIXEL = 1 << 30, 150
"""Memory limit for frames in progress, in bytes, and bytes per pixel of one frame."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def snapped(depth: DepthVideo, frames: NDArray[np.uint8], progress: Progress = silent) -> DepthVideo:
    """Snap soft edges of depth to the picture's edges, and add a note that says how much of it moved.

    Args:
        depth: of T frames; returned unchanged if it was snapped before, is a guess, or is sharp.
        frames: (T,H,W,3) uint8, the pictures.
        progress: called after each frame; raises `Cancelled` to stop.
    """
    if depth.is_guess or any(note.startswith(SNAPPED) for note in depth.notes):
        return depth
    if is_sharp(depth.depth):
        return depth
    made = np.empty_like(depth.depth)

    def one(t: int) -> int:
        made[t] = snap(depth.depth[t], frames[t])
        return int(np.count_nonzero(cv2.absdiff(made[t], depth.depth[t]) > MOVED * depth.depth[t]))

    moved = 0
    at_once = max(1, min(os.cpu_count() or 1, _LIMIT_BYTES // (_BYTES_A_PIXEL * made[0].size)))
    with ThreadPoolExecutor(at_once) as threads:  # OpenCV and compiled loops release the GIL
        try:
            for t, count in enumerate(threads.map(one, range(len(made)))):
                moved += count
                progress(SNAPPING, t + 1, len(made))
        finally:
            threads.shutdown(cancel_futures=True)
    if not moved:
        return depth
    return replace(depth, depth=made, notes=(*depth.notes, f"{SNAPPED}; {moved / made.size:.1%} of its pixels moved."))


def snap(depth: NDArray[np.float32], picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Snap soft edges in the depth (H,W) of a picture (H,W,3); float32, the same bytes on every call."""
    disparity, scale = np.float32(1) / depth, _scale(depth)
    around = _range(disparity, _box(_AROUND * scale))
    soft = _soft(disparity, around, scale)
    if not soft.any():
        return depth
    steep = _to_steps(disparity, soft, around, scale)
    decided = _by_colour(steep, soft, picture, scale)
    # Unchanged pixels stay identical to the bit, which 1 / (1 / x) would not guarantee.
    return np.where(decided == disparity, depth, 1 / decided)


def is_sharp(depth: NDArray[np.float32]) -> bool:
    """Whether most edges of a shot (T,H,W) are sharp."""
    edges, sharp = 0, 0
    for t in np.unique(np.linspace(0, len(depth) - 1, _LOOKED_AT).astype(int)):
        disparity, scale = np.float32(1) / depth[t], _scale(depth[t])
        around = _range(disparity, _box(_AROUND * scale))
        edge = around > STEP * disparity
        edges += int(np.count_nonzero(edge))
        sharp += int(np.count_nonzero(edge & ~_soft(disparity, around, scale)))
    return sharp > SHARP * edges


def _scale(depth: NDArray[np.float32]) -> int:
    return max(1, round(depth.shape[1] / 512))


def _soft(disparity: NDArray[np.float32], around: NDArray[np.float32], scale: int) -> NDArray[np.bool_]:
    """Where the edges around a pixel (H,W) are soft; `around` is the range of the values around each pixel."""
    jump = np.zeros_like(disparity)
    jump[:, 1:] = cv2.absdiff(disparity[:, 1:], disparity[:, :-1])
    jump[1:] = cv2.max(jump[1:], cv2.absdiff(disparity[1:], disparity[:-1]))
    return np.asarray(cv2.dilate(jump, _box(_AROUND * scale)) < SOFT * around)


def _to_steps(
    disparity: NDArray[np.float32], soft: NDArray[np.bool_], around: NDArray[np.float32], scale: int
) -> NDArray[np.float32]:
    """Apply the shock filter where the pixels around a pixel differ enough."""
    curvature = cv2.Laplacian(disparity, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)[::scale, ::scale]
    grain = float(np.median(np.abs(curvature) / disparity[::scale, ::scale]))
    smooth = scale * _SMOOTH_GRAIN if grain > _GRAINY else scale * _SMOOTH if scale > 1 else 0
    at_edge = soft & (around > _LEAST_EDGE * disparity)
    hardly = np.where(at_edge, np.float32(_CURVED / scale**2) * disparity, np.float32(np.inf))
    on_near_side = np.maximum(hardly, np.float32(_CURVED_OF_STEP / scale**2) * around)
    made, following, blurred = disparity, np.empty_like(disparity), np.empty_like(disparity)
    for _ in range(_ROUNDS * scale):
        smoothed = _blurred(made, smooth, blurred) if smooth else made
        edge_kernels.shocked(made, smoothed, hardly, on_near_side, following)
        made, following = following, (np.empty_like(disparity) if made is disparity else made)
    return made


def _by_colour(
    disparity: NDArray[np.float32], soft: NDArray[np.bool_], picture: NDArray[np.uint8], scale: int
) -> NDArray[np.float32]:
    """Disparity (H,W) in which pixels near a step are on the side that their colour belongs to.

    A pixel's similarity to a side is the mean of a Gaussian of the colour distances to that side's pixels, weighted
    towards those far from the step. A pixel that changes sides takes the disparity of a similar, near pixel.
    """
    at_step = cv2.dilate(disparity, _CROSS) > cv2.erode(disparity, _CROSS) * (1 + STEP)
    away = cv2.distanceTransform((~at_step).astype(np.uint8), cv2.DIST_L2, 3)
    band = soft & (away <= _REACH * scale - 1)
    if not band.any():
        return disparity
    reach = _WINDOW * scale
    window = _box(reach)
    middle = np.asarray((cv2.dilate(disparity, window) + cv2.erode(disparity, window)) / 2, np.float32)
    counts = (np.minimum((away + 0.5) / (_REACH * scale), 1) + 0.05).astype(np.float32)
    looked_at = edge_kernels.looked_at(disparity, picture, counts, middle, reach)
    steps = np.arange(-reach, reach + 1, _SPACING * scale)
    dx, dy = (each.ravel() for each in np.meshgrid(steps, steps))
    square = dx * dx + dy * dy
    offsets = np.stack([dy, dx], axis=-1)[square <= reach * reach + 1]
    closeness = (1 / (1 + square[square <= reach * reach + 1] / scale**2)).astype(np.float32)

    # In wide pictures only every fourth pixel is computed, and the others follow their neighbours.
    asked = band.copy()
    if scale > 1:
        asked[1::2] = asked[:, 1::2] = False
    nearer = edge_kernels.nearer(looked_at, asked, offsets)
    about = _blurred(nearer, scale)
    share = _blurred(asked.astype(np.float32), scale)
    clearly = np.float32(np.log(_CLEARLY))
    return edge_kernels.on_clearer_side(looked_at, band, asked, nearer, about, share, clearly, offsets, closeness)


def _blurred(
    values: NDArray[np.float32], deviation: float, into: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Blur with a Gaussian cut off at twice its standard deviation, in half the time of OpenCV's default."""
    side = 2 * math.ceil(2 * deviation) + 1
    return np.asarray(cv2.GaussianBlur(values, (side, side), deviation, dst=into), np.float32)


def _box(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _range(values: NDArray[np.float32], around: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The range of the values around each pixel."""
    return np.asarray(cv2.dilate(values, around) - cv2.erode(values, around), np.float32)
