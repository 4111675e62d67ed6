"""Pinhole intrinsics: (3,3) matrices in pixels, pixel centres at (column + 0.5, row + 0.5)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError

RELEASE_FOCAL_PX = 500.0
"""Focal length that the EX-4D release uses for every video, whatever its size (recon.py), in pixels."""

FIELD_OF_VIEW = (1.0, 170.0)
"""Narrowest and widest field of view in degrees; anything beyond is a mistake, not a lens."""


def from_focal(focal_px: float, width: int, height: int) -> NDArray[np.float64]:
    """Intrinsics (3,3) of a centred lens with square pixels.

    Raises:
        InputError: the focal length is not a positive finite number.
    """
    if not (np.isfinite(focal_px) and focal_px > 0):
        raise InputError(f"The focal length must be a positive number of pixels, not {focal_px}.")
    return np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]], np.float64)


def focal_of(field_of_view: float, width: int) -> float:
    """Focal length in pixels of a lens with this horizontal field of view in degrees, in a picture `width` pixels wide.

    Raises:
        InputError: not between 1 and 170 degrees.
    """
    least, most = FIELD_OF_VIEW
    if not least <= field_of_view <= most:
        raise InputError(f"The field of view must be between {least:g} and {most:g} degrees, not {field_of_view:g}.")
    return width / 2 / math.tan(math.radians(field_of_view) / 2)


def field_of_view_of(focal_px: float, width: int) -> float:
    """Inverse of `focal_of`, for any positive focal length."""
    return math.degrees(2 * math.atan(width / 2 / focal_px))


def per_frame(intrinsics: NDArray, frames: int, name: str = "intrinsics") -> NDArray[np.float64]:
    """Check intrinsics (3,3) or (T,3,3), and return them as (T,3,3).

    Raises:
        InputError: wrong shape, not finite, focal length not positive, or skewed.
    """
    k = np.asarray(intrinsics)
    if k.shape not in {(3, 3), (frames, 3, 3)} or k.dtype.kind not in "fiu":
        raise InputError(f"{name} must have the shape (3, 3) or ({frames}, 3, 3), one for each frame, not {k.shape}.")
    k = np.array(np.broadcast_to(k, (frames, 3, 3)), np.float64)
    if not np.isfinite(k).all():
        raise InputError(f"{name} holds values that are not finite: every entry must be a number.")
    if (k[:, 0, 0] <= 0).any() or (k[:, 1, 1] <= 0).any():
        raise InputError(f"{name} must have positive focal lengths at [0, 0] and [1, 1].")
    fixed = k.copy()
    fixed[:, [0, 1, 0, 1], [0, 1, 2, 2]] = 0
    if not np.allclose(fixed, [[0, 0, 0], [0, 0, 0], [0, 0, 1]]):
        raise InputError(f"{name} must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], without skew.")
    return k


@dataclass(frozen=True)
class FrameFit:
    """How a picture of the source was brought to the working size: scaled, then cropped around the centre.

    Attributes:
        source_width, source_height: displayed size of the source (rotated, square pixels), in pixels.
        scaled_width, scaled_height: size after scaling.
        width, height: size after cropping; multiples of 16 for clips that a generator will fill in.
    """

    source_width: int
    source_height: int
    scaled_width: int
    scaled_height: int
    width: int
    height: int

    @property
    def left(self) -> int:
        """Columns cropped on the left."""
        return (self.scaled_width - self.width) // 2

    @property
    def top(self) -> int:
        """Rows cropped at the top."""
        return (self.scaled_height - self.height) // 2

    def apply_to_intrinsics(self, intrinsics: NDArray) -> NDArray[np.float64]:
        """Convert intrinsics (...,3,3) of the source picture to the working size."""
        to_working = np.array(
            [
                [self.scaled_width / self.source_width, 0, -self.left],
                [0, self.scaled_height / self.source_height, -self.top],
                [0, 0, 1],
            ]
        )
        return to_working @ np.asarray(intrinsics, np.float64)


def fit_frame(width: int, height: int, longest_side: int | None = None, multiple: int = 16) -> FrameFit:
    """The largest working size that keeps the aspect ratio: no side above `longest_side`, both multiples of `multiple`.

    The picture is scaled to cover the working size and cropped evenly, so nothing is squeezed.

    Raises:
        InputError: the picture is smaller than one multiple.
    """
    scale = 1.0 if longest_side is None else min(1.0, longest_side / max(width, height))
    new_w = int(width * scale + 1e-6) // multiple * multiple
    new_h = int(height * scale + 1e-6) // multiple * multiple
    if new_w < multiple or new_h < multiple:
        raise InputError(
            f"A picture of {width}x{height} is too small: each side must be at least {multiple} pixels"
            " at the working size."
        )
    cover = max(new_w / width, new_h / height)
    return FrameFit(width, height, max(new_w, round(width * cover)), max(new_h, round(height * cover)), new_w, new_h)
