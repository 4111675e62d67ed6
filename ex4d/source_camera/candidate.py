"""The result of an estimator, before it is judged. Needs numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.structure import Structure
from ex4d.source_camera.tracks import Tracks

FITS_PX = 2.0
"""A sighting fits a camera if its point projects within this many pixels of it."""

CAP_PX = 8.0
"""Residuals are capped at this many pixels: points farther off move independently, or were tracked wrongly."""

LEAST_ANGLE = np.radians(1.0)
"""A point determines its distance if its rays meet at this angle or more, in radians."""


@dataclass(frozen=True)
class Candidate:
    """A possible motion of the camera.

    Attributes:
        name: of the estimator.
        camera_to_world: (T,4,4), the first is the identity.
        intrinsics: (T,3,3) in pixels of the pictures in which it was found.
        moves: whether it changes position; otherwise it is still or only turns.
        structure: of all tracks, with this camera.
        registered: part of the frames, 0 to 1, that the estimator could place.
        lens_found: whether the focal length was found, rather than given or assumed.
        distortion: of the lens, see `ex4d.source_camera.distortion`; points fit the sightings with it removed.
    """

    name: str
    camera_to_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    moves: bool
    structure: Structure
    registered: float = 1.0
    lens_found: bool = False
    distortion: float = 0.0

    def capped(self, of: NDArray[np.bool_]) -> float:
        """Mean residual in pixels of the sightings `of` (N,), each capped at `CAP_PX`."""
        return float(np.minimum(self.structure.residual[of], CAP_PX).mean()) if of.any() else CAP_PX

    def fitting(self, of: NDArray[np.bool_]) -> float:
        """Part of the sightings `of` (N,) that fit."""
        return float((self.structure.residual[of] < FITS_PX).mean()) if of.any() else 0.0

    def tells_depth(self, tracks: Tracks) -> NDArray[np.bool_]:
        """The sightings (N,) whose points are static and determine their distance."""
        s = self.structure
        return (s.angle[tracks.track] > LEAST_ANGLE) & (s.residual < FITS_PX) & (s.z > 0)


def against_depth(
    candidate: Candidate, tracks: Tracks, at: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far (M,) each point's distance is from that of the depth: the median absolute difference of their logarithms.

    0 if the point does not determine its distance. Something that moves along with the camera looks static, but at
    another distance, and only this reveals it.

    Args:
        candidate: the camera with its points.
        tracks: their sightings.
        at: (N,) depth at each.
        scale: (T,) factor for the depth of each frame, from `depth_scale`.
    """
    good = np.flatnonzero(candidate.tells_depth(tracks))
    off = np.abs(np.log(candidate.structure.z[good] / (at[good] * scale[tracks.frame[good]])))
    order = np.lexsort((off, tracks.track[good]))
    ends = np.searchsorted(tracks.track[good][order], np.arange(tracks.count + 1))
    there = np.flatnonzero(np.diff(ends))
    median = np.zeros(tracks.count)
    median[there] = off[order][(ends[there] + ends[there + 1] - 1) // 2]
    return median


def depth_scale(candidate: Candidate, tracks: Tracks, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The factor (T,) that fits the depth of each frame to a candidate's points, and how far it is off then.

    The second is the median absolute difference of the logarithms of the two: 0.1 is about a tenth of the distance. It
    is NaN if too few points determine their distance.

    Args:
        candidate: the camera with its points.
        tracks: their sightings.
        at: (N,) depth at each.
    """
    good = candidate.tells_depth(tracks)
    count = len(candidate.camera_to_world)
    if not candidate.moves or good.sum() < 20:
        return np.ones(count), np.nan
    ratio = np.log(candidate.structure.z[good] / at[good])
    whole = float(np.median(ratio))
    scale = np.full(count, whole)
    frame = tracks.frame[good]
    for t in range(count):
        own = ratio[frame == t]
        if len(own) >= 20:
            scale[t] = np.median(own)
    return np.exp(scale), float(np.median(np.abs(ratio - scale[frame])))
