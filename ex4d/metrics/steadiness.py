"""How steady a video is, without a true view: what changes along the motion visible in it.

The motion is dense optical flow (`ex4d.media.flow`), used where it is consistent forwards and backwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.flow import Flow, followed, small_grey, warped

LONGEST_SIDE = 1024
"""Wider pictures are scaled down for the flow and everything measured with it."""


SMALLEST = 12
"""OpenCV's flow (DIS) refuses pictures whose sides are both below this."""


@dataclass(frozen=True)
class Changes:
    """Changes between frames t-1, t and t+1, where known.

    Attributes:
        warp: (h,w) squared difference between a frame and the next one warped onto it by the flow, mean over channels,
            for values 0 to 1.
        followed: (h,w) bool, where `warp` is known.
        flicker: (h,w) difference between a frame and the mean of both neighbours warped onto it, in levels of 255, mean
            over channels; None for the first frame, which has only one neighbour.
        steady: (h,w) bool, where `flicker` is known.
    """

    warp: NDArray[np.float64]
    followed: NDArray[np.bool_]
    flicker: NDArray[np.float64] | None = None
    steady: NDArray[np.bool_] | None = None

    def warp_error(self, where: NDArray[np.bool_] | None = None) -> float | None:
        """Mean of `warp` in thousandths, the warping error of Lai et al. 2018; None if there is no consistent flow."""
        at = self.followed if where is None else self.followed & _fitted(where, self.followed)
        return float(1000 * self.warp[at].mean()) if at.any() else None

    def flickering(self, where: NDArray[np.bool_] | None = None) -> float | None:
        """Mean of `flicker`; None if unknown."""
        if self.flicker is None or self.steady is None:
            return None
        at = self.steady if where is None else self.steady & _fitted(where, self.steady)
        return float(self.flicker[at].mean()) if at.any() else None


class Steadiness:
    """Takes frames one after another and holds at most three of them."""

    def __init__(self) -> None:
        self._flow = Flow()
        self._before: NDArray[np.float32] | None = None
        self._grey: NDArray[np.uint8] | None = None
        self._back: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None

    def next(self, frame: NDArray[np.uint8]) -> Changes | None:
        """The changes of the previous frame (H,W,3), once this one is known; None for the first."""
        grey = small_grey(frame, LONGEST_SIDE)
        colour = _of_size(frame, grey.shape).astype(np.float32)
        if max(grey.shape) < SMALLEST:
            raise InputError(
                f"Warp error and flicker need pictures of {SMALLEST} pixels along the longer side at least, not of"
                f" {frame.shape[1]}x{frame.shape[0]}: measure the others alone."
            )
        before, grey_before, moved = self._before, self._grey, self._back
        self._before, self._grey = colour, grey
        if before is None or grey_before is None:
            return None
        there, back = self._flow(grey_before, grey), self._flow(grey, grey_before)
        sure = followed(there, back)
        after = warped(colour, there)
        warp = ((before - after).astype(np.float64) / 255) ** 2
        self._back = warped(before, back), followed(back, there)
        if moved is None:
            return Changes(warp.mean(axis=2), sure)
        flicker = np.abs(before - (moved[0] + after) / 2).astype(np.float64)
        return Changes(warp.mean(axis=2), sure, flicker.mean(axis=2), sure & moved[1])


def _of_size(frame: NDArray, shape: tuple[int, ...]) -> NDArray:
    import cv2

    if frame.shape[:2] == shape[:2]:
        return frame
    return np.asarray(cv2.resize(frame, (shape[1], shape[0]), interpolation=cv2.INTER_AREA))


def _fitted(where: NDArray[np.bool_], to: NDArray) -> NDArray[np.bool_]:
    """A mask (H,W) at the size of another array; only pixels that are completely inside it stay set."""
    if where.shape == to.shape:
        return where
    return _of_size(where.astype(np.float32), to.shape) > 0.999
