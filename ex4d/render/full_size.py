"""The clip's own pixels along a camera path, in the clip's own size.

All work up to the generator is done at the working size. Here its mesh only says where things are: each pixel of the
large picture is followed to the surface that it shows, and from there into the clip's picture, whose pixels are whole.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.full_size import FullSize
from ex4d.render.filling import SAME_DISTANCE
from ex4d.render.scene import Lent

_BESIDE = 0.05
"""Least weight of what other frames lend, where the frame itself shows nothing."""

_A_ROW = 1024
"""Pixels that are sampled singly are handed to OpenCV in rows of so many."""


def scaled_up(picture: NDArray, full: FullSize, interpolation: int = cv2.INTER_CUBIC) -> NDArray:
    """A picture (h,w,...) of the working size in the clip's own; beyond its edges it is repeated."""
    size = (full.width, full.height)
    if (
        np.allclose(full.to_full @ (picture.shape[1], picture.shape[0], 1), (*size, 1))
        and not full.to_full[:2, 2].any()
    ):
        return cv2.resize(picture, size, interpolation=interpolation)  # the same, ten times as fast
    # From our pixels, whose centres are at +0.5, to OpenCV's, whose centres are whole.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    to_working = np.linalg.inv(half) @ np.linalg.inv(full.to_full) @ half
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, to_working[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Between:
    """From the picture of one camera to that of another.

    Attributes:
        to_source: (4,4) from the axes of the first to those of the second.
        k_target, k_source: (3,3) their intrinsics in pixels.
    """

    to_source: NDArray[np.float64]
    k_target: NDArray[np.float64]
    k_source: NDArray[np.float64]

    def sampled(
        self, picture: NDArray, rows: NDArray, columns: NDArray, inverse_distance: NDArray[np.float32]
    ) -> NDArray:
        """The colours of surfaces that the first camera sees, in the picture of the second; bicubic.

        Args:
            picture: (H,W,3) uint8 or uint16, of the second camera; it is repeated beyond its edges.
            rows, columns: pixels of the first; together they make the shape (h,w).
            inverse_distance: (h,w) 1 / distance along the axis of the first; where it is 0, the colours mean nothing.

        Returns:
            (h,w,3) of the picture's type.
        """
        # A point is ray / inverse_distance + shift; times that, nothing is divided by a distance of 0.
        rotation = (self.k_source @ self.to_source[:3, :3]).astype(np.float32)
        shift = (self.k_source @ self.to_source[:3, 3]).astype(np.float32)
        k, half = self.k_target, np.float32(0.5)
        right = ((columns + 0.5 - k[0, 2]) / k[0, 0]).astype(np.float32)
        down = ((rows + 0.5 - k[1, 2]) / k[1, 1]).astype(np.float32)
        x, y, z = (shift[i] * inverse_distance + (r[0] * right + (r[1] * down + r[2])) for i, r in enumerate(rotation))
        z = np.maximum(z, np.float32(1e-6))
        return cv2.remap(picture, x / z - half, y / z - half, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def whole(self, picture: NDArray, inverse_distance: NDArray[np.float32]) -> NDArray:
        """`sampled` at every pixel (h,w) of the first camera's picture."""
        height, width = inverse_distance.shape
        return self.sampled(picture, np.arange(height)[:, None], np.arange(width), inverse_distance)

    def some(self, picture: NDArray, where: NDArray[np.bool_], inverse_distance: NDArray[np.float32]) -> NDArray:
        """`sampled` at m pixels of the first camera's picture, those of `where` (h,w): (m,3)."""
        rows, columns = np.nonzero(where)
        count = len(rows)
        size = (-(-count // _A_ROW), _A_ROW)  # OpenCV takes no rows of millions
        rows, columns = np.resize(rows, size), np.resize(columns, size)
        return self.sampled(picture, rows, columns, inverse_distance[rows, columns]).reshape(-1, 3)[:count]


@dataclass(frozen=True)
class LentHere:
    """What other frames lend to a picture of the clip's own size.

    Attributes:
        frames: (H,W) int32, the frame that lends each pixel; -1 where none does.
        weight: (H,W) float32, how much of the pixel they lend, 0 to 1.
        inverse_distance: (H,W) float32, 1 / distance from the camera; meaningless where they lend nothing.
    """

    frames: NDArray[np.int32]
    weight: NDArray[np.float32]
    inverse_distance: NDArray[np.float32]

    @staticmethod
    def of(lent: Lent, working: tuple[int, int], full: FullSize) -> "LentHere":
        """What was lent to a picture of the working size (h,w), in the clip's own.

        On a surface 1 / distance goes on evenly; across a step it stays that of the nearest pixel.
        """
        shape = (full.height, full.width)
        frames, best = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        total, inverse_distance = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for frame in np.unique(lent.frames):
            by = lent.frames == frame
            at = lent.rows[by], lent.columns[by]
            known, distances = np.zeros(working, np.float32), np.zeros(working, np.float32)
            known[at], distances[at] = 1, lent.inverse_distance[by]
            weight, smooth = (scaled_up(values, full, cv2.INTER_LINEAR) for values in (known, distances))
            smooth /= np.maximum(weight, np.float32(1e-6))
            nearest = scaled_up(distances, full, cv2.INTER_NEAREST)
            is_step = (nearest > 0) & (np.abs(smooth - nearest) > np.float32(SAME_DISTANCE / 2) * nearest)
            total += weight
            more = weight > best
            frames[more], best[more] = frame, weight[more]
            inverse_distance[more] = np.where(is_step, nearest, smooth)[more]
        return LentHere(frames, total, inverse_distance)

    def where(self, mask: NDArray[np.uint8], sure: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where (H,W) it fills a picture with this mask: nowhere that the frame itself is `sure` of.

        Where the frame itself shows nothing, it goes on a little: no seam is left between the two.
        """
        least = np.where(mask > 0, np.float32(0.5), np.float32(_BESIDE))
        return (self.frames >= 0) & (sure == 0) & (self.weight > least)
