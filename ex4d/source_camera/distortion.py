"""Lens distortion with one term: seen = true * (1 + k * r^2), with r from the axis in focal lengths (SIMPLE_RADIAL).

It is estimated so that camera and lens come out right, and reported. Pictures are not undistorted, because the mesh
has no distortion.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.rotation import turning
from ex4d.source_camera.tracks import Tracks

STEPS = 8

TURN_STEPS, TURN_PAIRS = (0.02, 0.01, 0.005, 0.0025), 5000
"""Step sizes, as shifts of the corners, in which the distortion of a turning camera is searched for, and the number of
pairs of sightings used."""


def at_corner(distortion: float, intrinsics: NDArray[np.float64]) -> float:
    """How far the corner of a picture is shifted, as a fraction of its distance from the centre; negative for a barrel.

    Args:
        distortion: k, see the module.
        intrinsics: (3,3).
    """
    x, y = intrinsics[:2, 2] / intrinsics[[0, 1], [0, 1]]
    return distortion * float(x**2 + y**2)


def undistorted(tracks: Tracks, intrinsics: NDArray[np.float64], distortion: float) -> Tracks:
    """The sightings as a lens without distortion would show them; `intrinsics` (T,3,3)."""
    if distortion == 0:
        return tracks
    k = intrinsics[tracks.frame]
    centre, focal = k[:, :2, 2], np.stack([k[:, 0, 0], k[:, 1, 1]], axis=1)
    seen = (tracks.xy - centre) / focal
    true = seen
    for _ in range(STEPS):
        true = seen / (1 + distortion * (true**2).sum(axis=1, keepdims=True))
    return replace(tracks, xy=true * focal + centre)


def of_turn(
    tracks: Tracks,
    camera_to_world: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    *,
    lens_known: bool,
    loss: float,
) -> float:
    """The distortion k with which sightings best fit a camera that only turns.

    Args:
        tracks: sightings in pixels.
        camera_to_world: (T,4,4) as found without distortion.
        intrinsics: (T,3,3), likewise; the distortion applies to these.
        lens_known: whether to keep the focal length.
        loss: scale of the Cauchy loss in pixels.
    """
    k, near, unit = intrinsics[0], camera_to_world[:, :3, :3], at_corner(1.0, intrinsics[0])

    def cost(corner: float) -> float:
        made = turning(
            undistorted(tracks, intrinsics, corner / unit),
            len(near),
            float(k[0, 0]),
            k[:2, 2],
            known=lens_known,
            zooms=False,
            loss=loss,
            near=near,
            most=TURN_PAIRS,
        )
        return np.inf if made is None else made.cost

    best = 0.0
    for step in TURN_STEPS:  # the minimum of a parabola through three points
        before, here, after = (cost(best + shift) for shift in (-step, 0.0, step))
        bend = before - 2 * here + after
        best += float(np.clip(0.5 * step * (before - after) / bend, -2 * step, 2 * step)) if bend > 0 else 0.0
    return best / unit
