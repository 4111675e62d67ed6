"""The clip's own pixels along a camera path, at the clip's own size.

All work up to the generator is done at the working size. At full size its mesh only provides positions: each pixel of
the large picture is followed to the surface that it shows, and from there into the clip's picture at full resolution.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.full_size import FullSize
from ex4d.render.filling import SAME_DISTANCE
from ex4d.render.scene import Lent

_BESIDE = 0.05
"""Minimum weight at which pixels from other frames are used where the frame itself shows nothing."""

_A_ROW = 1024
"""Length of the rows in which pixels that are sampled individually are passed to OpenCV."""


def scaled_up(picture: NDArray, full: FullSize, interpolation: int = cv2.INTER_CUBIC) -> NDArray:
    """A picture (h,w,...) of the working size at the clip's own size; its edges are replicated outwards."""
    size = (full.width, full.height)
    if (
        np.allclose(full.to_full @ (picture.shape[1], picture.shape[0], 1), (*size, 1))
        and not full.to_full[:2, 2].any()
    ):
        return cv2.resize(picture, size, interpolation=interpolation)  # the same, ten times as fast
    # From our pixels, with centres at +0.5, to OpenCV's, with centres at whole numbers.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    to_working = np.linalg.inv(half) @ np.linalg.inv(full.to_full) @ half
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, to_working[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class Between:
    """The mapping from the picture of one camera to that of another.

    Attributes:
        to_source: (4,4) from the axes of the first camera to those of the second.
        k_target, k_source: (3,3) their intrinsics in pixels.
    """

    to_source: NDArray[np.float64]
    k_target: NDArray[np.float64]
    k_source: NDArray[np.float64]

    def sampled(
        self, picture: NDArray, rows: NDArray, columns: NDArray, inverse_distance: NDArray[np.float32]
    ) -> NDArray:
        """The colours, from the second camera's picture, of surfaces that the first camera sees; bicubic.

        Args:
            picture: (H,W,3) uint8 or uint16, of the second camera; its edges are replicated.
            rows, columns: pixels of the first camera, broadcast to the shape (h,w).
            inverse_distance: (h,w) 1 / distance along the axis of the first; the colours where it is 0 mean
                nothing.

        Returns:
            (h,w,3) with the dtype of `picture`.
        """
        # A point is ray / inverse_distance + shift; multiplied by inverse_distance, nothing is divided by 0.
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
        """`sampled` at the m pixels of the first camera's picture where `where` (h,w) is set: (m,3)."""
        rows, columns = np.nonzero(where)
        count = len(rows)
        size = (-(-count // _A_ROW), _A_ROW)  # OpenCV does not take rows of millions of pixels
        rows, columns = np.resize(rows, size), np.resize(columns, size)
        return self.sampled(picture, rows, columns, inverse_distance[rows, columns]).reshape(-1, 3)[:count]


@dataclass(frozen=True)
class LentHere:
    """What other frames lend to a picture at the clip's own size.

    Attributes:
        frames: (H,W) int32, the frame that lends each pixel; -1 where there is none.
        weight: (H,W) float32, how much of the pixel they lend, 0 to 1.
        inverse_distance: (H,W) float32, 1 / distance from the camera; meaningless where nothing is lent.
    """

    frames: NDArray[np.int32]
    weight: NDArray[np.float32]
    inverse_distance: NDArray[np.float32]

    @staticmethod
    def of(lent: Lent, working: tuple[int, int], full: FullSize) -> "LentHere":
        """The pixels lent to a picture of the working size (h,w), at the clip's own size.

        1 / distance is interpolated along a surface; across a step it is that of the nearest pixel.
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
        """Where (H,W) lent pixels fill a picture with this mask: nowhere that the frame itself is `sure` of.

        Where the frame itself shows nothing, they extend a little further, so that no seam is left between the two.
        """
        least = np.where(mask > 0, np.float32(0.5), np.float32(_BESIDE))
        return (self.frames >= 0) & (sure == 0) & (self.weight > least)
