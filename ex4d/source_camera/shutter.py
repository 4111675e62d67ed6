"""A rolling shutter, by what is left of the points' motion once the camera is solved. Needs numpy only."""

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.structure import Structure
from ex4d.source_camera.tracks import Tracks

FITS_PX = 1.5
FEWEST = 500

SHOWS = 0.03
"""From this on a rolling shutter is told. Most of one goes into the camera: measured on generated clips, 0.06 where the
rows take 0.3 of a frame's time and 0.13 where they take 0.7; 0.004 at most without. An even motion does not show it."""


def rolling(tracks: Tracks, structure: Structure, count: int, height: int) -> float:
    """By what part of a frame's time the last row seems to be exposed after the first one.

    Points in rows that are exposed later have moved on by then: what is left between sightings and camera is fitted,
    by least squares, by the points' own motion times their height in the picture.

    Args:
        tracks: sightings in pixels.
        structure: of the same sightings.
        count: frames.
        height: of the picture.
    """
    place = np.full((tracks.count, count + 2), -1)
    place[tracks.track, tracks.frame + 1] = np.arange(len(tracks.track))
    before, after = place[tracks.track, tracks.frame], place[tracks.track, tracks.frame + 2]
    good = (before >= 0) & (after >= 0) & (structure.residual < FITS_PX)
    if good.sum() < FEWEST:
        return 0.0
    motion: NDArray[np.float64] = (tracks.xy[after] - tracks.xy[before])[good] / 2
    pattern = motion * (tracks.xy[good, 1:] / height - 0.5)
    left = structure.off[good]
    return float((pattern * left).sum() / max(float((pattern**2).sum()), 1e-9))
