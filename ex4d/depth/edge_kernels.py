"""The pixel loops of `ex4d.depth.edges`, compiled with numba."""

from typing import NamedTuple

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

_jit = njit(cache=True, nogil=True, error_model="numpy")

_COLOUR = 15.0
"""Standard deviation of the colours of one surface, in 8-bit levels."""

_LIKENESS: NDArray[np.float32] = np.exp(-np.arange(5000) / (2 * _COLOUR**2)).astype(np.float32)
"""Similarity of two colours by their squared distance: a Gaussian, practically 0 at its end."""

_UNLIKE = len(_LIKENESS) - 1


class LookedAt(NamedTuple):
    """Pictures padded by `reach` pixels, so that every pixel has neighbours, and one without padding.

    Attributes:
        disparity: (h,w) float32.
        colour: (h,w,3) uint8.
        counts: (h,w) float32, weight of each pixel.
        middle: (H,W) float32, disparity halfway between the near and the far side; not padded.
        reach: width of the padding.
    """

    disparity: NDArray[np.float32]
    colour: NDArray[np.uint8]
    counts: NDArray[np.float32]
    middle: NDArray[np.float32]
    reach: int


@_jit
def shocked(disparity, smoothed, hardly, on_near_side, result):  # type: ignore[no-untyped-def]
    """One round of the shock filter: pixels take the value of their nearest or farthest neighbour.

    Args:
        disparity, smoothed: (H,W) float32; curvature is taken from the second.
        hardly, on_near_side: (H,W) float32, minimum curvature on the far and on the near side of an edge; infinite
            where nothing may change.
        result: (H,W) float32, filled.
    """
    height, width = disparity.shape
    for row in range(height):
        if row in (0, height - 1):
            for column in range(width):
                _shock_at_border(disparity, smoothed, hardly, on_near_side, result, row, column)
            continue
        _shock_at_border(disparity, smoothed, hardly, on_near_side, result, row, 0)
        _shock_at_border(disparity, smoothed, hardly, on_near_side, result, row, width - 1)
        # Written so that the compiler can vectorise it.
        above, now, below = disparity[row - 1, 1:-1], disparity[row], disparity[row + 1, 1:-1]
        left, here, right = now[:-2], now[1:-1], now[2:]
        s_above, s_now, s_below = smoothed[row - 1, 1:-1], smoothed[row], smoothed[row + 1, 1:-1]
        s_left, s_here, s_right = s_now[:-2], s_now[1:-1], s_now[2:]
        to_far, to_near, into = hardly[row, 1:-1], on_near_side[row, 1:-1], result[row, 1:-1]
        for j in range(width - 2):
            curvature = s_above[j] + s_below[j] + s_left[j] + s_right[j] - np.float32(4) * s_here[j]
            a, b, c, d, own = above[j], below[j], left[j], right[j], here[j]
            one, two = (a if a > b else b), (c if c > d else d)
            nearest = one if one > two else two
            one, two = (a if a < b else b), (c if c < d else d)
            farthest = one if one < two else two
            nearest, farthest = (nearest if nearest > own else own), (farthest if farthest < own else own)
            into[j] = nearest if curvature < -to_near[j] else farthest if curvature > to_far[j] else own


@_jit
def _shock_at_border(disparity, smoothed, hardly, on_near_side, result, row, column):  # type: ignore[no-untyped-def]
    """The same for one pixel at the border, with the curvature of the nearest pixel that has four neighbours."""
    height, width = disparity.shape
    r, c = min(max(row, 1), height - 2), min(max(column, 1), width - 2)
    around = smoothed[r - 1, c] + smoothed[r + 1, c] + smoothed[r, c - 1] + smoothed[r, c + 1]
    curvature = around - np.float32(4) * smoothed[r, c]
    nearest = farthest = disparity[row, column]
    for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
        if 0 <= r < height and 0 <= c < width:
            nearest, farthest = max(nearest, disparity[r, c]), min(farthest, disparity[r, c])
    if curvature < -on_near_side[row, column]:
        result[row, column] = nearest
    elif curvature > hardly[row, column]:
        result[row, column] = farthest
    else:
        result[row, column] = disparity[row, column]


def looked_at(
    disparity: NDArray[np.float32],
    picture: NDArray[np.uint8],
    counts: NDArray[np.float32],
    middle: NDArray[np.float32],
    reach: int,
) -> LookedAt:
    """Prepare pictures (H,W) for the kernels below."""

    def padded(values: NDArray) -> NDArray:
        return cv2.copyMakeBorder(values, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)

    return LookedAt(padded(disparity), padded(picture), padded(counts), middle, reach)


@_jit
def _alike(colour, row, column, r, c):  # type: ignore[no-untyped-def]
    """Similarity of the colours of two pixels."""
    red = np.int32(colour[row, column, 0]) - np.int32(colour[r, c, 0])
    green = np.int32(colour[row, column, 1]) - np.int32(colour[r, c, 1])
    blue = np.int32(colour[row, column, 2]) - np.int32(colour[r, c, 2])
    return _LIKENESS[min(red * red + green * green + blue * blue, _UNLIKE)]


@_jit
def nearer(looked_at, asked, offsets):  # type: ignore[no-untyped-def]
    """Log ratio (H,W) float32 of how similar pixels are to the near side and to the far side.

    Args:
        looked_at: padded pictures.
        asked: (H,W) bool, pixels to compute; the others get 0.
        offsets: (m,2) int64, rows and columns from a pixel to those it is compared with.
    """
    disparity, colour, counts, middle, reach = looked_at
    nothing, least = np.float32(0), np.float32(1e-6)
    result = np.zeros(asked.shape, np.float32)
    for i in range(asked.shape[0]):
        for j in range(asked.shape[1]):
            if not asked[i, j]:
                continue
            row, column = i + reach, j + reach
            near, near_weight, far, far_weight = nothing, nothing, nothing, nothing
            for m in range(len(offsets)):
                r, c = row + offsets[m, 0], column + offsets[m, 1]
                count, is_near = counts[r, c], disparity[r, c] > middle[i, j]
                alike = count * _alike(colour, row, column, r, c)
                near += alike if is_near else nothing
                near_weight += count if is_near else nothing
                far += nothing if is_near else alike
                far_weight += nothing if is_near else count
            near, far = near / max(near_weight, least), far / max(far_weight, least)
            result[i, j] = np.log((near + np.float32(0.01)) / (far + np.float32(0.01)))
    return result


@_jit
def on_clearer_side(looked_at, band, asked, nearer, about, share, clearly, offsets, closeness):  # type: ignore[no-untyped-def]
    """Disparity (H,W) float32 in which pixels that clearly resemble the other side get the disparity of a pixel there.

    That pixel is chosen by similarity of colour and closeness.

    Args:
        looked_at, asked, offsets: as for `nearer`.
        band: (H,W) bool, pixels that may change sides.
        nearer: result of `nearer`.
        about, share: (H,W) float32, `nearer` and `asked` smoothed, so that pixels agree with those around them.
        clearly: minimum log ratio.
        closeness: (m,) float32, weight of each offset.
    """
    disparity, colour, counts, middle, reach = looked_at
    height, width = band.shape
    result = disparity[reach : reach + height, reach : reach + width].copy()
    for i in range(height):
        for j in range(width):
            if not band[i, j]:
                continue
            near = about[i, j] / max(share[i, j], np.float32(1e-6))
            if asked[i, j]:
                near = (near + nearer[i, j]) / 2
            row, column = i + reach, j + reach
            to_near = not disparity[row, column] > middle[i, j]
            if (near if to_near else -near) <= clearly:
                continue
            best = np.float32(0)
            for m in range(len(offsets)):
                r, c = row + offsets[m, 0], column + offsets[m, 1]
                if (disparity[r, c] > middle[i, j]) == to_near:
                    rank = (_alike(colour, row, column, r, c) + np.float32(0.1)) * counts[r, c] * closeness[m]
                    if rank > best:
                        best, result[i, j] = rank, disparity[r, c]
    return result
