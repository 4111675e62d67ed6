"""Invented pixels of what stands still keep their colour from one frame to the next, so that they do not flicker.

Each frame's own mesh is a little different, and so are the sides of things. A recursive filter in time averages them:
an invented pixel becomes a mix of its new colour and that of its surface in the frame before.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.transforms import inverse

NEW = 0.25
"""Weight of the new colour: on average, about four frames are mixed. Figures are in docs/performance.md."""


@dataclass(frozen=True)
class Frame:
    """A finished frame.

    Attributes:
        camera: its number in the path.
        colour: (h,w,3) float32.
        inverse_distance: (h,w) float32 of what stands still; 0 where something moves, or nothing is.
    """

    camera: int
    colour: NDArray[np.float32]
    inverse_distance: NDArray[np.float32]


def steadied(frame: Frame, hole: NDArray[np.bool_], last: Frame, path: CameraPath) -> Frame:
    """Mix the holes (h,w) of a frame with the same surfaces in the last one; other pixels stay as they are.

    Args:
        frame: whose colour is changed in place.
        hole: what is invented in it.
        last: the frame before.
        path: of the cameras of both.
    """
    u, v = _places(frame, last.camera, path)
    inside = (u > -0.5) & (v > -0.5) & (u < path.width - 0.5) & (v < path.height - 0.5)
    still = cv2.remap(last.inverse_distance, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) > 0
    mixed = hole & inside & still & (frame.inverse_distance > 0)
    before = cv2.remap(last.colour, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cv2.copyTo(cv2.addWeighted(frame.colour, NEW, before, 1 - NEW, 0), mixed.astype(np.uint8), frame.colour)
    return frame


def _places(frame: Frame, camera: int, path: CameraPath) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Columns and rows (h,w) in another camera's picture, counted from the centre of the first pixel."""
    to_other = inverse(path.camera_to_world[camera]) @ path.camera_to_world[frame.camera]
    turn = path.intrinsics[camera] @ to_other[:3, :3] @ np.linalg.inv(path.intrinsics[frame.camera])
    shift = path.intrinsics[camera] @ to_other[:3, 3]
    column = np.arange(path.width) + 0.5
    row = np.arange(path.height)[:, None] + 0.5

    def along(axis: int) -> NDArray[np.float32]:
        flat = (turn[axis, 0] * column + (turn[axis, 1] * row + turn[axis, 2])).astype(np.float32)
        return flat + np.float32(shift[axis]) * frame.inverse_distance

    depth = along(2)
    depth[depth <= 0] = np.nan  # behind the other camera
    return along(0) / depth - np.float32(0.5), along(1) / depth - np.float32(0.5)
