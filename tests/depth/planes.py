"""Distances in worlds of planes, as a pinhole camera sees them."""

import numpy as np
from numpy.typing import NDArray


def room(
    pitch: float = 0.0,
    *,
    floor: float = 1.6,
    ceiling: float = np.inf,
    walls: float = 6.0,
    end: float = 80.0,
    width: int = 320,
    height: int = 176,
) -> NDArray[np.float32]:
    """Depth (1,H,W) along the optical axis between planes at these distances; a street where there is no ceiling.

    Args:
        pitch: how far the camera looks down, in radians.
    """
    focal = width
    y, x = (np.mgrid[:height, :width] + 0.5 - np.array([height, width])[:, None, None] / 2) / focal
    down, ahead = np.cos(pitch) * y + np.sin(pitch), np.cos(pitch) - np.sin(pitch) * y
    depth = np.full((height, width), np.inf)
    for speed, distance in ((down, floor), (-down, ceiling), (np.abs(x), walls), (ahead, end)):
        there = speed > 1e-9
        depth[there] = np.minimum(depth[there], distance / speed[there])
    return depth.astype(np.float32)[None]


def disparity(depth: NDArray, scale: float = 1.0, shift: float = 0.0) -> NDArray[np.float32]:
    """Relative disparity in [shift, shift + scale]."""
    inverse = 1 / depth.astype(np.float64)
    inverse = (inverse - inverse.min()) / np.ptp(inverse)
    return (scale * inverse + shift).astype(np.float32)


def back(distances: NDArray, truth: NDArray) -> float:
    """Greatest relative error of disparity after the one scale and shift of a shot that fit the truth best."""
    x, y = (1 / each.astype(np.float64).ravel() for each in (distances, truth))
    scale, shift = np.polyfit(x, y, 1)
    return float(np.abs((scale * x + shift) / y - 1).max())
