"""Rolling shutter, from the residual motion of points once the camera is solved. Needs numpy only."""

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.structure import Structure
from ex4d.source_camera.tracks import Tracks

FITS_PX = 1.5
FEWEST = 500

SHOWS = 0.03
"""Threshold from which a rolling shutter is reported. Most of its effect goes into the camera. Measured on generated
clips: 0.06 if the rows take 0.3 of a frame's time, 0.13 if they take 0.7, and at most 0.004 without. An even motion
does not show it."""


def rolling(tracks: Tracks, structure: Structure, count: int, height: int) -> float:
    """The delay, as a fraction of a frame's time, with which the last row seems to be exposed after the first.

    Points in rows that are exposed later have moved further by then. The residuals are fitted, by least squares, with
    the points' own motion times their height in the picture.

    Args:
        tracks: sightings in pixels.
        structure: of the same sightings.
        count: number of frames.
        height: of the picture in pixels.
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
