"""The pictures in which cameras are found: grey, and of a size at which points can be tracked well."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 768
"""Longer side in pixels. Smaller clips are scaled up, which made the rotation four times better for 256 pixels."""

MOST_ENLARGED = 3.0


@dataclass(frozen=True)
class Pictures:
    """Grey pictures of a clip.

    Attributes:
        grey: (T,h,w) uint8.
        scale: pixels of these pictures per pixel of the clip's working picture.
    """

    grey: NDArray[np.uint8]
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.grey.shape[2], self.grey.shape[1]

    def intrinsics(self, working: NDArray[np.float64]) -> NDArray[np.float64]:
        """Intrinsics (T,3,3) of the working picture, converted to pixels of these pictures."""
        return np.diag([self.scale, self.scale, 1.0]) @ working

    def working_intrinsics(self, focal: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Intrinsics (T,3,3) of the working picture (width, height) from focal lengths (T,) in these pixels."""
        k = np.zeros((len(focal), 3, 3))
        k[:, 0, 0] = k[:, 1, 1] = focal / self.scale
        k[:, :2, 2], k[:, 2, 2] = np.array(size) / 2, 1.0
        return k


def pictures_of(frames: NDArray[np.uint8]) -> Pictures:
    """The pictures for a clip's frames (T,H,W,3) uint8 RGB."""
    import cv2

    height, width = frames.shape[1:3]
    scale = min(SIDE / max(height, width), MOST_ENLARGED)
    size = round(width * scale), round(height * scale)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    grey = np.empty((len(frames), size[1], size[0]), np.uint8)
    for t, frame in enumerate(frames):
        grey[t] = cv2.resize(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY), size, interpolation=how)
    return Pictures(grey, scale)
