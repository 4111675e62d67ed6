"""Which points decide about a camera in the end: those that are certainly static, and on a single surface."""

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera import from_depth, gates
from ex4d.source_camera.candidate import FITS_PX, LEAST_ANGLE, Candidate, against_depth, depth_scale
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.refinement import half_window
from ex4d.source_camera.tracks import Tracks

DEPTH_OFF, DEPTH_TIMES = 0.05, 5.0
"""A point moves along with the camera if its distance is off by this fraction, and by this multiple of the spread."""

FEWEST = 200
"""Points are only left out if at least this many others remain in each frame."""

MOST_POINTS = 5000
"""Maximum number of static points returned with a camera."""


def outside(mask: NDArray[np.bool_], tracks: Tracks) -> Tracks:
    """The sightings outside a mask (T,h,w)."""
    row, column = (tracks.xy[:, c].astype(np.intp) for c in (1, 0))
    return tracks.kept(~mask[tracks.frame, row, column])


def agreeing(task: Task, candidate: Candidate) -> Tracks:
    """The sightings without points whose distance differs from the depth's."""
    scale, spread = depth_scale(candidate, task.tracks, task.depth)
    off = against_depth(candidate, task.tracks, task.depth, scale)
    return _if_enough(task.tracks, off[task.tracks.track] < max(DEPTH_OFF, DEPTH_TIMES * spread), task.count)


def on_surfaces(tracks: Tracks, depth: NDArray[np.float32], scale: float) -> Tracks:
    """Without the sightings at edges of things, past which the background slides; see `from_depth.on_surface`."""
    return _if_enough(tracks, from_depth.on_surface(tracks, depth, scale, half_window(scale)), len(depth))


def off_border(tracks: Tracks, size: tuple[int, int], scale: float, count: int) -> Tracks:
    """Without the sightings whose window would reach over the border of a picture of `size`, where there is nothing."""
    to_border = np.minimum(tracks.xy, np.array(size) - tracks.xy).min(axis=1)
    return _if_enough(tracks, to_border > half_window(scale), count)


def static_points(candidate: Candidate, tracks: Tracks) -> NDArray[np.float64]:
    """Static points (M,3) with a reliable distance, those seen longest first; none if the camera does not move."""
    if not candidate.moves:
        return np.zeros((0, 3))
    s, lengths = candidate.structure, tracks.lengths()
    off = np.bincount(tracks.track, s.residual > FITS_PX, tracks.count)
    good = (lengths >= gates.LONG) & (s.angle > LEAST_ANGLE) & (off * 4 < lengths)
    order = np.argsort(-lengths[good], kind="stable")
    return s.points[good][order][:MOST_POINTS]


def _if_enough(tracks: Tracks, keep: NDArray[np.bool_], count: int) -> Tracks:
    """Only the sightings to `keep` (N,) if enough are left in each of `count` frames; otherwise all."""
    least = np.bincount(tracks.frame[keep], minlength=count).min()
    return tracks.kept(keep) if least >= FEWEST else tracks
