"""Invented pixels of what stands still keep their colour from one frame to the next, so that they do not flicker.

Each frame's own mesh is a little different, and so are the sides of things. A recursive filter in time averages them:
an invented pixel becomes a mix of its new colour and that of the same place in the frame before.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.transforms import inverse

NEW = 0.25
"""Weight of the new colour: a mix is three frames old on average. Figures are in docs/performance.md."""

PARALLAX = 0.25
"""If static places move against each other by more than this fraction of the picture's longer side, the path jumps, and
averaging starts afresh, because the sides of things then hide other places. An orbit of 30 degrees in 17 frames moves
them by 0.05 at most; at 0.1, one of 180 degrees in 25 frames flickered more than without this rule."""

LIGHT = 20.0
"""If the mean of what is real changes by more than this many levels in any channel, averaging starts afresh: there is a
cut, a flash or a fade."""


@dataclass(frozen=True)
class Frame:
    """A finished frame.

    Attributes:
        camera: its number in the path.
        colour: (h,w,3) float32.
        static_inverse_distance: (h,w) float32; 0 where something moves, or nothing is.
        light: (3,) mean colour of what is real; NaN if nothing is.
    """

    camera: int
    colour: NDArray[np.float32]
    static_inverse_distance: NDArray[np.float32]
    light: NDArray[np.float64]


def averaged(frame: Frame, hole: NDArray[np.bool_], last: Frame, path: CameraPath) -> Frame:
    """The frame with its holes (h,w) mixed with the same places in the last one; itself if nothing can be mixed.

    Args:
        frame: has its new colours.
        hole: what is invented in it.
        last: the frame before.
        path: of the cameras of both.
    """
    if last.camera != frame.camera - 1 or (np.abs(frame.light - last.light) > LIGHT).any():
        return frame
    u, v = _places(frame, last.camera, path)
    inside = (u > -0.5) & (v > -0.5) & (u < path.width - 0.5) & (v < path.height - 0.5)
    was_static = cv2.remap(last.static_inverse_distance, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) > 0
    mixed = hole & inside & was_static & (frame.static_inverse_distance > 0)
    if not mixed.any() or _parallax(u, v, mixed) > PARALLAX * max(mixed.shape):
        return frame
    before = cv2.remap(last.colour, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colour = frame.colour.copy()
    cv2.copyTo(cv2.addWeighted(frame.colour, NEW, before, 1 - NEW, 0), mixed.astype(np.uint8), colour)
    return replace(frame, colour=colour)


def _parallax(u: NDArray[np.float32], v: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """How far places (h,w) move against each other from one picture to the other, in pixels; without the outermost."""
    places = np.flatnonzero(where)
    places = places[:: max(1, len(places) // 4096)]
    row, column = np.divmod(places, where.shape[1])
    moved = np.stack([u[row, column] - column, v[row, column] - row])
    low, high = np.percentile(moved, (5, 95), axis=1)
    return float((high - low).max())


def _places(frame: Frame, camera: int, path: CameraPath) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Columns and rows (h,w) in another camera's picture, counted from the centre of the first pixel."""
    to_other = inverse(path.camera_to_world[camera]) @ path.camera_to_world[frame.camera]
    turn = path.intrinsics[camera] @ to_other[:3, :3] @ np.linalg.inv(path.intrinsics[frame.camera])
    shift = path.intrinsics[camera] @ to_other[:3, 3]
    column = np.arange(path.width) + 0.5
    row = np.arange(path.height)[:, None] + 0.5

    def along(axis: int) -> NDArray[np.float32]:
        there = frame.static_inverse_distance * np.float32(shift[axis])
        there += (turn[axis, 1] * row + turn[axis, 2]).astype(np.float32)
        there += (turn[axis, 0] * column).astype(np.float32)
        return there

    depth = along(2)
    depth[depth <= 0] = np.nan  # behind the other camera
    inverse_depth, half = np.divide(1, depth, out=depth), np.float32(0.5)
    u, v = along(0), along(1)
    for place in (u, v):
        place *= inverse_depth
        place -= half
    return u, v
