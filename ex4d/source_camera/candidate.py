"""What an estimator finds, before it is judged. Needs numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.structure import Structure
from ex4d.source_camera.tracks import Tracks

FITS_PX = 2.0
"""A sighting fits a camera that would see its point within so many pixels."""

CAP_PX = 8.0
"""What is farther off counts as much as this: it moves by itself, or was followed wrongly."""

LEAST_ANGLE = np.radians(1.0)
"""A point tells its distance where its rays meet at this angle or more."""


@dataclass(frozen=True)
class Candidate:
    """How the camera may have moved.

    Attributes:
        name: of the estimator.
        camera_to_world: (T,4,4), the first is the identity.
        intrinsics: (T,3,3) in pixels of the pictures on which it was found.
        moves: whether it changes its place; else it stands, or turns only.
        structure: of all tracks, with this camera.
        registered: part of the frames, 0 to 1, that the estimator could place by itself.
        lens_found: whether the focal length was found, not given or assumed.
        distortion: of the lens, see `ex4d.source_camera.distortion`; points fit sightings without it.
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
        """Mean distance in pixels of the sightings `of` (N,) from where they would be seen, `CAP_PX` at most."""
        return float(np.minimum(self.structure.residual[of], CAP_PX).mean()) if of.any() else CAP_PX

    def fitting(self, of: NDArray[np.bool_]) -> float:
        """Part of the sightings `of` (N,) that fit."""
        return float((self.structure.residual[of] < FITS_PX).mean()) if of.any() else 0.0

    def tells_depth(self, tracks: Tracks) -> NDArray[np.bool_]:
        """The sightings (N,) whose points stand still and tell their distance."""
        s = self.structure
        return (s.angle[tracks.track] > LEAST_ANGLE) & (s.residual < FITS_PX) & (s.z > 0)


def against_depth(
    candidate: Candidate, tracks: Tracks, at: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far (M,) each point's distance is from that of the depth: median of the logarithms' distance.

    0 where the point does not tell its distance. What moves along with the camera looks as if it stood still at
    another distance: only this shows it.

    Args:
        candidate: the camera with its points.
        tracks: their sightings.
        at: (N,) depth at each.
        scale: (T,) by what the depth of each frame is multiplied, of `depth_scale`.
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
    """By what the depth of each frame (T,) is to be multiplied to fit a candidate's points, and how far it is off then.

    The second is the median distance of the logarithms of the two: 0.1 is about a tenth of the distance.

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
