"""The size of a result that is as large as the clip: the part of the clip's picture that the working picture shows.

Needs only numpy, because Blender uses it too.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.intrinsics import FrameFit, fit_frame

LONGEST_SIDE = 4096
"""Longest side of a result in pixels; larger clips are scaled down to it."""


@dataclass(frozen=True)
class FullSize:
    """The part of the clip's own picture that the working picture shows.

    Attributes:
        left, top: columns and rows of the clip's picture that come before this part.
        width, height: in pixels; even, as videos require.
        to_full: (3,3) from pixels of the working picture to pixels of this one.
    """

    left: int
    top: int
    width: int
    height: int
    to_full: NDArray[np.float64]

    @staticmethod
    def of(fit: FrameFit) -> "FullSize":
        """The full size of a clip brought to the working size by `fit`, in whole pixels, so nothing is resampled.

        The picture is what `ClipSource.frames` gives for `LONGEST_SIDE` and multiples of 1.
        """
        whole = fit_frame(fit.source_width, fit.source_height, LONGEST_SIDE, 1)
        across, down = whole.scaled_width / fit.scaled_width, whole.scaled_height / fit.scaled_height
        left, width = _whole_pixels(fit.left * across - whole.left, fit.width * across, whole.width)
        top, height = _whole_pixels(fit.top * down - whole.top, fit.height * down, whole.height)
        x, y = fit.left * across - whole.left - left, fit.top * down - whole.top - top
        return FullSize(left, top, width, height, np.array([[across, 0, x], [0, down, y], [0, 0, 1]]))

    @property
    def scale(self) -> float:
        """Number of its pixels per pixel of the working size."""
        return float(self.to_full[0, 0])

    def is_of(self, width: int, height: int) -> bool:
        """Whether it is identical to the working picture of this size."""
        return (self.width, self.height) == (width, height) and np.allclose(self.to_full, np.eye(3), atol=1e-6)

    def seen_from(self, path: CameraPath, width: int, height: int) -> "FullSize":
        """The same for pixels of a path's picture, whose size may differ from the working picture's."""
        across, down = width / path.width, height / path.height
        return replace(self, to_full=self.to_full @ np.diag([across, down, 1]))

    def path(self, path: CameraPath) -> CameraPath:
        """Convert cameras of the working size to a picture of this size."""
        return replace(path, intrinsics=self.to_full @ path.intrinsics, width=self.width, height=self.height)

    def cropped(self, picture: NDArray) -> NDArray:
        """This part of a picture (H,W,...) of the clip, as a view."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


def _whole_pixels(start: float, length: float, most: int) -> tuple[int, int]:
    """The first whole pixel between `start` and `start + length`, and their number, made even."""
    first = max(0, math.ceil(start - 1e-6))
    return first, (min(most, math.floor(start + length + 1e-6)) - first) // 2 * 2
