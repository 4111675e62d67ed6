"""Where the pixels of one frame are in another, according to its depth and the camera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A frame's depth (h,w), its pose (4,4), and its lens (3,3)."""

    depth: Pixels
    pose: NDArray[np.float64]
    lens: NDArray[np.float64]


def projected(here: View, there: View, depth: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Where (x, y) static pixels at this depth are in another view, centres at integers, and their depth there."""
    height, width = depth.shape
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    relative = np.linalg.inv(there.pose) @ here.pose
    to_centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    turn = (there.lens @ relative[:3, :3] @ np.linalg.inv(here.lens) @ to_centre).astype(np.float32)
    shift = (there.lens @ relative[:3, 3]).astype(np.float32)
    a, b, z = ((row[0] * x + (row[1] * y + row[2])) * depth + s for row, s in zip(turn, shift, strict=True))
    z = np.maximum(z, np.float32(1e-6))
    half = np.float32(0.5)
    return np.clip(a / z - half, -1e4, 1e4), np.clip(b / z - half, -1e4, 1e4), z


def shift_by_depth(here: View, there: View, at: tuple[Pixels, Pixels], z: Pixels) -> tuple[Pixels, Pixels]:
    """How far (x, y) the positions `at` and depths `z` of `projected` move per change of the depth's logarithm."""
    relative = np.linalg.inv(there.pose) @ here.pose
    a, b, c = (there.lens @ relative[:3, 3]).astype(np.float32)
    half = np.float32(0.5)
    return ((at[0] + half) * c - a) / z, ((at[1] + half) * c - b) / z


def value_at(picture: NDArray, at: tuple[Pixels, Pixels]) -> Pixels:
    """A picture's values at positions, with pixel centres at integers."""
    import cv2

    return np.asarray(cv2.remap(picture, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def nearest_at(picture: NDArray, at: tuple[Pixels, Pixels]) -> NDArray:
    """The same, of the nearest pixel."""
    import cv2

    return np.asarray(cv2.remap(picture, *at, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE))
