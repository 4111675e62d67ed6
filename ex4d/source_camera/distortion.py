"""Distortion of a lens by one term: seen = true * (1 + k * r^2), r from the axis in focal lengths (SIMPLE_RADIAL).

It is found so that camera and lens come out right, and told. Pictures are not changed: the mesh has no distortion.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.tracks import Tracks

STEPS = 8


def at_corner(distortion: float, intrinsics: NDArray[np.float64]) -> float:
    """How far the corner of a picture is shifted, as a part of its distance from the centre: below 0 for a barrel.

    Args:
        distortion: k, see above.
        intrinsics: (3,3).
    """
    x, y = intrinsics[:2, 2] / intrinsics[[0, 1], [0, 1]]
    return distortion * float(x**2 + y**2)


def undistorted(tracks: Tracks, intrinsics: NDArray[np.float64], distortion: float) -> Tracks:
    """Sightings where a lens without distortion would have them; `intrinsics` (T,3,3)."""
    if distortion == 0:
        return tracks
    k = intrinsics[tracks.frame]
    centre, focal = k[:, :2, 2], np.stack([k[:, 0, 0], k[:, 1, 1]], axis=1)
    seen = (tracks.xy - centre) / focal
    true = seen
    for _ in range(STEPS):
        true = seen / (1 + distortion * (true**2).sum(axis=1, keepdims=True))
    return replace(tracks, xy=true * focal + centre)
