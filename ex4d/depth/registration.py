"""Finds out by how much a shot's depth lies beside its picture, and moves it back.

Depth can be a few pixels off as a whole, because a model or a tool enlarged it with other pixel centres, or because it
comes from a sensor next to the camera. Then every edge is wrong on both sides, and colours cannot tell, since a pixel
beside an edge may belong to either surface. But over a whole shot, steps of depth coincide with edges of the picture
more often than with anything else. So the displacement is where the correlation of the two is highest, and depth is
moved only if it is clearly higher there than where the depth is.

Lengths are in pixels at a width of 512.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.depth.edges import SNAPPED
from ex4d.depth.refinement import REFINED
from ex4d.geometry.depth_video import DepthVideo

REGISTERED = "The depth lay beside the picture"
"""Start of the note that says so."""

_REACH = 4
"""Maximum displacement that is found, along both axes."""

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
with this fraction. Depth in its right place has 0.97 to 1, and with a displacement of 2 pixels 0.23 to 0.9."""


def registered(depth: DepthVideo, frames: NDArray[np.uint8]) -> DepthVideo:
    """Move depth that lies beside its picture back by whole pixels, and add a note that says how far.

    Args:
        depth: of T frames; returned unchanged if it is where it belongs as far as can be told, is a guess, or had its
            edges treated before.
        frames: (T,H,W,3) uint8, the pictures.
    """
    if depth.is_guess or any(note.startswith((REGISTERED, SNAPPED, REFINED)) for note in depth.notes):
        return depth
    x, y = displacement(depth.depth, frames)
    if not x and not y:
        return depth
    back = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    made = np.empty_like(depth.depth)
    for frame, moved in zip(depth.depth, made, strict=True):
        size = (frame.shape[1], frame.shape[0])
        cv2.warpAffine(frame, back, size, moved, cv2.INTER_NEAREST, cv2.BORDER_REPLICATE)
    ways = [f"{abs(x)} to the {'right' if x > 0 else 'left'}"] if x else []
    ways += [f"{abs(y)} {'down' if y > 0 else 'up'}"] if y else []
    note = f"{REGISTERED}, by this many pixels: {' and '.join(ways)}; it was moved back."
    return replace(depth, depth=made, notes=(*depth.notes, note))


def displacement(depth: NDArray[np.float32], frames: NDArray[np.uint8]) -> tuple[int, int]:
    """Displacement (x, y) in pixels of a shot's depth (T,H,W) from its pictures (T,H,W,3); (0, 0) if not clear."""
    height, width = depth.shape[1:]
    reach = max(2, round(_REACH * width / 512))
    if min(height, width) < 8 * reach:
        return 0, 0
    agree = np.zeros((2 * reach + 1, 2 * reach + 1))
    strength = 0.0
    for t in np.unique(np.linspace(0, len(depth) - 1, _LOOKED_AT).astype(int)):
        steps, contrast = _steps(depth[t])[reach:-reach, reach:-reach], _contrast(frames[t])
        agree += cv2.matchTemplate(contrast, np.ascontiguousarray(steps), cv2.TM_CCORR)
        strength += float(np.linalg.norm(steps)) * float(np.linalg.norm(contrast))
    highest = float(agree.max())
    if highest <= _LEAST_CORRELATION * strength or agree[reach, reach] >= _CLEARLY * highest:
        return 0, 0
    y, x = np.nonzero(agree >= _NEARLY * highest) - np.array(reach)
    nearest = int(np.argmin(x * x + y * y))
    if max(abs(x[nearest]), abs(y[nearest])) == reach:  # the highest may be farther away
        return 0, 0
    return -int(x[nearest]), -int(y[nearest])


def _steps(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = np.minimum(_gradient(-np.log(depth)), np.float32(_LARGEST_STEP))
    return np.asarray(np.where(steps < _LEAST_STEP, np.float32(0), steps), np.float32)


def _contrast(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    strongest = np.max([_gradient(lab[..., channel]) for channel in range(3)], axis=0)
    contrast = np.minimum(strongest, np.float32(_LARGEST_CONTRAST))
    side = 2 * round(_AROUND * picture.shape[1] / 1024) + 1
    return np.asarray(contrast - cv2.blur(contrast, (side, side)), np.float32)


def _gradient(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of the gradient per pixel, (H,W)."""
    x, y = (cv2.Sobel(values, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(x, y), np.float32)
