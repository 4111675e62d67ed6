"""Optical flow between two pictures, and what it says about moving and staying. OpenCV is imported where used."""

import numpy as np
from numpy.typing import NDArray

CONSISTENT_PX = 1.0
"""A pixel is followed where going there and back ends within so many pixels of where it began."""


def small_grey(frame: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Grey picture (h,w) of an RGB one (H,W,3), at most `width` wide, of the same aspect."""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    if grey.shape[1] <= width:
        return np.asarray(grey, np.uint8)
    height = max(16, round(grey.shape[0] * width / grey.shape[1]))
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class Flow:
    """Dense inverse search (Kroeger 2016, in OpenCV): how each pixel of one grey picture moves to another."""

    def __init__(self) -> None:
        import cv2

        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, here: NDArray[np.uint8], there: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h,w,2) in pixels: where `there` shows what `here` shows, relative to where it is here."""
        flow = self._dis.calc(here, there, None)  # type: ignore[call-overload]  # from nothing, which its types lack
        return np.asarray(flow, np.float32)


def warped(there: NDArray, flow: NDArray[np.float32]) -> NDArray:
    """The picture `there` (h,w) or (h,w,c) moved to where `here` shows the same, by the flow from here to there."""
    import cv2

    x, y = _positions(flow)
    return cv2.remap(there, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def nearest(there: NDArray, flow: NDArray[np.float32]) -> NDArray:
    """As `warped`, but every pixel takes the one value nearest to its place: nothing is mixed across edges."""
    height, width = flow.shape[:2]
    x, y = _positions(flow)
    column = np.clip(np.rint(x + flow[..., 0]), 0, width - 1).astype(np.intp)
    row = np.clip(np.rint(y + flow[..., 1]), 0, height - 1).astype(np.intp)
    return there[row, column]


def followed(forward: NDArray[np.float32], backward: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (h,w) a pixel of here stays in the picture and comes back to itself: neither hidden nor lost there."""
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
