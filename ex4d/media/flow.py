"""Optical flow between two pictures, and what it reveals about motion. OpenCV is imported where used."""

import numpy as np
from numpy.typing import NDArray

CONSISTENT_PX = 1.0
"""A pixel counts as followed if going there and back ends within this many pixels of where it began."""


def small_grey(frame: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Convert an RGB picture (H,W,3) to grey (h,w), at most `width` wide, with the same aspect ratio."""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    if grey.shape[1] <= width:
        return np.asarray(grey, np.uint8)
    height = max(16, round(grey.shape[0] * width / grey.shape[1]))
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class Flow:
    """Dense inverse search (Kroeger 2016, in OpenCV): where each pixel of one grey picture moves in another."""

    def __init__(self) -> None:
        import cv2

        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, here: NDArray[np.uint8], there: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow (h,w,2) in pixels: where `there` shows what `here` shows, relative to its position here."""
        flow = self._dis.calc(here, there, None)  # type: ignore[call-overload]  # no initial flow: its types lack that
        return np.asarray(flow, np.float32)


def warped(there: NDArray, flow: NDArray[np.float32]) -> NDArray:
    """Warp the picture `there` (h,w) or (h,w,c) to where `here` shows the same, with the flow from here to there."""
    import cv2

    x, y = _positions(flow)
    return cv2.remap(there, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def nearest(there: NDArray, flow: NDArray[np.float32]) -> NDArray:
    """Like `warped`, but every pixel takes the single nearest value, so nothing is mixed across edges."""
    height, width = flow.shape[:2]
    x, y = _positions(flow)
    column = np.clip(np.rint(x + flow[..., 0]), 0, width - 1).astype(np.intp)
    row = np.clip(np.rint(y + flow[..., 1]), 0, height - 1).astype(np.intp)
    return there[row, column]


def followed(forward: NDArray[np.float32], backward: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (h,w) a pixel of `here` stays in the picture and returns to itself: neither occluded nor lost."""
    height, width = forward.shape[:2]
    x, y = _positions(forward)
    u, v = x + forward[..., 0], y + forward[..., 1]
    inside = (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    back = forward + warped(backward, forward)
    return inside & (np.hypot(back[..., 0], back[..., 1]) <= CONSISTENT_PX)


def _positions(flow: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y
