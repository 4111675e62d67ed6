"""Ranges of angles, as in the EX-4D paper, and the angle between a camera and the source's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms

TOLERANCE = 3.0
"""Degrees by which a path may exceed a range: a rising orbit sees the pivot at slightly more than its angle."""


@dataclass(frozen=True)
class Range:
    """Paths from `low` to `high` degrees around the point that the source camera looks at."""

    name: str
    low: float
    high: float

    @property
    def title(self) -> str:
        """Name for tables."""
        return f"{self.name} ({self.low:g} to {self.high:g}°)"


RANGES = (
    Range("small", 0, 30),
    Range("large", 0, 60),
    Range("extreme", 0, 90),
    Range("full", -90, 90),
)
"""The ranges, narrowest first."""

NAMES = tuple(each.name for each in RANGES)
OTHER = "other"
"""Name of the range of a path whose angles are unknown, or beyond all ranges."""


def signed_angles(path: NDArray, source: NDArray | None) -> NDArray[np.float64]:
    """Degrees (T,) between the optical axes of cameras (T,4,4) and the source's (T,4,4), or None if it is still.

    Both are camera-to-world. Positive if the camera looks to the right of the source's direction.
    """
    seen = path if source is None else transforms.inverse(source) @ path
    axis = seen[:, :3, 2]
    size = np.degrees(np.arctan2(np.linalg.norm(axis[:, :2], axis=1), axis[:, 2]))
    return np.where(axis[:, 0] < 0, -size, size)


def range_of(degrees: NDArray[np.float64]) -> str:
    """Name of the narrowest range that contains a path, on either side."""
    low, high = float(degrees.min()), float(degrees.max())
    if max(-low, high) > RANGES[-1].high + TOLERANCE:
        return OTHER
    if low < -2 * TOLERANCE and high > 2 * TOLERANCE:
        return RANGES[-1].name
    far = max(-low, high)
    return next(each.name for each in RANGES if far <= each.high + TOLERANCE)
