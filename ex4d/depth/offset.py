"""Finds out by how much a shot's depth is offset from its picture, and moves it back.

Depth can be a few pixels off as a whole, for example because a tool enlarged it from a corner instead of from pixel
centres, or, approximately, because it comes from a sensor beside the camera. Then every edge is wrong on both sides,
and colours cannot tell, since a pixel beside an edge may belong to either surface. But over a whole shot, steps of
depth coincide with edges of the picture more often than with anything else. So the offset is where the correlation of
the two is highest, and depth is moved only if it is clearly higher there than where the depth is, for steps that face
either way. Depth in which near things are too large has steps that are off as well, but in opposite directions.

Pictures are examined at a width of 512 at most, in whose pixels lengths are given.
"""

import re
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.depth.edges import SNAPPED
from ex4d.depth.refinement import REFINED
from ex4d.geometry.depth_video import DepthVideo

OFFSET = "The depth was offset from the picture"
"""Start of the note that says so."""

_WAYS = {"to the right": (1, 0), "to the left": (-1, 0), "down": (0, 1), "up": (0, -1)}

_REACH = 4
"""Offsets below this are found, along both axes; in small pictures, those of 1 pixel."""

_LOOKED_AT = 8
"""Number of frames examined."""

_LEAST_STEP, _LARGEST_STEP = 0.01, 0.1
"""Gradients of log disparity, per pixel: smaller ones are surfaces, and larger ones count as this much."""

_LARGEST_CONTRAST = 20.0
"""Gradients of the picture, in CIELAB units per pixel, count as this much at most."""

_AROUND = 30
"""Side of the square whose mean contrast is subtracted, so that depth is not drawn to where there is more texture."""

_LEAST_CORRELATION = 0.06
"""Depth and pictures of eight generated scenes have 0.11 to 0.26; depth of one with pictures of another, 0.04 at
most."""

_CLEARLY, _NEARLY = 0.93, 0.98
"""Depth is moved if the correlation where it is falls below this fraction of the highest; and then to the nearest place
with this fraction. Depth in its right place has 0.97 to 1, and with an offset of 2 pixels 0.23 to 0.9."""

_LEAST_LOSS = 0.15
"""Steps that face one way forbid a move along an axis if their correlation is highest elsewhere on it, by more than
this fraction."""


def moved_back(depth: DepthVideo, frames: NDArray[np.uint8], known: tuple[int, int] | None = None) -> DepthVideo:
    """Move depth that is offset from its picture back by whole pixels, and add a note that says how far.

    Args:
        depth: of T frames; returned unchanged if it is where it belongs as far as can be told, is a guess, or had its
            edges treated before.
        frames: (T,H,W,3) uint8, the pictures.
        known: the offset (x, y), if it is known and need not be found.
    """
    if depth.is_guess or any(note.startswith((OFFSET, SNAPPED, REFINED)) for note in depth.notes):
        return depth
    x, y = offset(depth.depth, frames) if known is None else known
    if not x and not y:
        return depth
    back = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    made = np.empty_like(depth.depth)
    for frame, moved in zip(depth.depth, made, strict=True):
        size = (frame.shape[1], frame.shape[0])
        cv2.warpAffine(frame, back, size, moved, cv2.INTER_NEAREST, cv2.BORDER_REPLICATE)
    return replace(depth, depth=made, notes=(*depth.notes, _note(x, y)))


def noted(notes: tuple[str, ...]) -> tuple[int, int]:
    """The offset (x, y) that a depth's notes tell of; (0, 0) if they tell of none."""
    x, y = 0, 0
    for note in notes:
        if note.startswith(OFFSET):
            for pixels, way in re.findall(r"(\d+) pixels? (to the right|to the left|down|up)", note):
                along_x, along_y = _WAYS[way]
                x, y = x + int(pixels) * along_x, y + int(pixels) * along_y
    return x, y


def _note(x: int, y: int) -> str:
    told = []
    for way, (along_x, along_y) in _WAYS.items():
        pixels = x * along_x + y * along_y
        if pixels > 0:
            told.append(f"{pixels} {'pixel' if pixels == 1 else 'pixels'} {way}")
    return f"{OFFSET} by {' and '.join(told)}, and was moved back."


def offset(depth: NDArray[np.float32], frames: NDArray[np.uint8]) -> tuple[int, int]:
    """Offset (x, y) in pixels of a shot's depth (T,H,W) from its pictures (T,H,W,3); (0, 0) if it is not clear."""
    smaller = max(1.0, depth.shape[2] / 512)
    size = round(depth.shape[2] / smaller), round(depth.shape[1] / smaller)
    reach = max(2, round(_REACH * size[0] / 512))
    if min(size) < 8 * reach:
        return 0, 0
    agree = np.zeros((4, 2 * reach + 1, 2 * reach + 1))  # for each way that a step can face
    strength = 0.0
    for t in np.unique(np.linspace(0, len(depth) - 1, _LOOKED_AT).astype(int)):
        contrast = _contrast(cv2.resize(frames[t], size, interpolation=cv2.INTER_AREA))
        steps = _steps(cv2.resize(depth[t], size, interpolation=cv2.INTER_AREA))[:, reach:-reach, reach:-reach]
        for facing, each in enumerate(steps):
            agree[facing] += cv2.matchTemplate(contrast, np.ascontiguousarray(each), cv2.TM_CCORR)
        strength += float(np.linalg.norm(steps)) * float(np.linalg.norm(contrast))
    whole = agree.sum(0)
    highest = float(whole.max())
    if highest <= _LEAST_CORRELATION * strength or whole[reach, reach] >= _CLEARLY * highest:
        return 0, 0
    y, x = np.argwhere(whole == highest)[0]
    if max(abs(x - reach), abs(y - reach)) == reach:  # it may be even higher farther away
        return 0, 0
    places = np.argwhere(whole >= _NEARLY * highest)
    y, x = places[np.argmin(((places - reach) ** 2).sum(1))]
    loss = _LEAST_LOSS * agree.max((1, 2))
    if (agree[:2, y].max(1) - agree[:2, y, x] > loss[:2]).any():
        x = reach
    if (agree[2:, :, x].max(1) - agree[2:, y, x] > loss[2:]).any():
        y = reach
    return round(float(reach - x) * smaller), round(float(reach - y) * smaller)


def _steps(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Strength (4,H,W) of the steps where what is near begins to the right, to the left, below, and above."""
    x, y = _gradient(-np.log(depth))
    length = cv2.magnitude(x, y)
    steps = np.where(length < _LEAST_STEP, np.float32(0), np.minimum(length, np.float32(_LARGEST_STEP)))
    across = np.abs(x) >= np.abs(y)
    facing = (across & (x > 0), across & (x <= 0), ~across & (y > 0), ~across & (y <= 0))
    return np.asarray([steps * each for each in facing], np.float32)


def _contrast(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    strongest = np.max([cv2.magnitude(*_gradient(lab[..., channel])) for channel in range(3)], axis=0)
    contrast = np.minimum(strongest, np.float32(_LARGEST_CONTRAST))
    side = 2 * round(_AROUND * picture.shape[1] / 1024) + 1
    return np.asarray(contrast - cv2.blur(contrast, (side, side)), np.float32)


def _gradient(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The gradient (x, y) per pixel, each (H,W)."""
    x, y = (cv2.Sobel(values, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1)))
    return np.asarray(x, np.float32), np.asarray(y, np.float32)
