"""Moving things in one frame: their mask, and how much space they occupy, as far as the frame's depth tells."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.transforms import inverse

GRID = 128
"""Minimum number of points along the longer side of the grid of `coarse`, if the depth has as many."""

_AROUND = 7
"""Side in pixels of the square that widens moving things, because their mask is never exact."""


@dataclass(frozen=True)
class Extent:
    """The space that moving things occupy in a frame.

    Attributes:
        front, back: (H,W) float32, the range of distances along the frame's axis, assuming that a thing is as deep as
            the smaller of its width and height; infinite and 0 where nothing moves.
        intrinsics: (3,3), pixels of these maps.
    """

    front: NDArray[np.float32]
    back: NDArray[np.float32]
    intrinsics: NDArray[np.float64]


@dataclass(frozen=True)
class Occupied:
    """The space that moving things occupy in n frames.

    Attributes:
        front, back: (n,h,w) float32, as in `Extent`.
        to_pixels: (n,3,4) from some axes to (column d, row d, d), with the distance d along a frame's axis.
    """

    front: NDArray[np.float32]
    back: NDArray[np.float32]
    to_pixels: NDArray[np.float64]

    def from_axes(self, to_these: NDArray[np.float64]) -> "Occupied":
        """The same from other axes, given the matrix (4,4) that leads from them to these."""
        return replace(self, to_pixels=self.to_pixels @ to_these)


NOTHING = Occupied(np.zeros((0, 1, 1), np.float32), np.zeros((0, 1, 1), np.float32), np.zeros((0, 3, 4)))
"""No frame, or nothing moves in any."""


def widened(moving: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Moving things (H,W), widened so far that nothing of them remains in what another frame lends."""
    return cv2.dilate(moving.astype(np.uint8), _square()) > 0


def extent(moving: NDArray[np.bool_], depth: NDArray[np.float32], intrinsics: NDArray[np.float64]) -> Extent:
    """The space that moving things (H,W) occupy, given the depth of a mesh (H,W), whose border is at the shell."""
    depth = without_shell(depth)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8))
    front: NDArray[np.float32] = np.where(moving, depth, np.float32(np.inf))
    back = np.zeros_like(depth)
    for label in range(1, count):
        x, y, width, height, _ = boxes[label]
        box = slice(y, y + height), slice(x, x + width)
        thing = labels[box] == label
        distances = depth[box][thing]
        deep = min(width, height) * float(np.median(distances)) / float(intrinsics[0, 0])
        back[box][thing] = distances + np.float32(deep)
    # The faces that bridge to the background begin at the rim of a thing, which the mask may miss by some pixels.
    back = np.asarray(cv2.dilate(back, _square()), np.float32)
    front = np.where(back > 0, cv2.erode(front, _square()), np.float32(np.inf))
    return Extent(front, back, intrinsics)


def coarse(fine: Extent) -> Extent:
    """An extent on a grid of at least `GRID` points along the longer side, each of which covers all of its pixels."""
    step = min(max(1, max(fine.front.shape) // GRID), *fine.front.shape)
    height, width = (-(-size // step) for size in fine.front.shape)
    more = [(0, -size % step) for size in fine.front.shape]
    front = np.pad(fine.front, more, constant_values=np.inf).reshape(height, step, width, step).min(axis=(1, 3))
    back = np.pad(fine.back, more).reshape(height, step, width, step).max(axis=(1, 3))
    intrinsics = fine.intrinsics.copy()
    intrinsics[:2] /= step
    return Extent(front, back, intrinsics)


def occupied(extents: Sequence[Extent], source_to_world: NDArray[np.float64]) -> Occupied:
    """Extents of the same size, from frames with these poses (n,4,4), in the axes of the world."""
    if not extents:
        return NOTHING
    front, back = np.stack([one.front for one in extents]), np.stack([one.back for one in extents])
    to_pixels = [one.intrinsics @ inverse(pose)[:3] for one, pose in zip(extents, source_to_world, strict=True)]
    return Occupied(front, back, np.stack(to_pixels))


def without_shell(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The depth of a mesh (H,W) with its border at the distance of what is next to it."""
    return np.asarray(cv2.copyMakeBorder(depth[1:-1, 1:-1], 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.float32)


def _square() -> NDArray[np.uint8]:
    return np.ones((_AROUND, _AROUND), np.uint8)
