"""Depth that is fitted to what stands still: without its pumping, and without being bent. Needs numpy only.

Models that look at one frame, or a few, give the disparity of every frame its own scale and shift, so the scene
pulsates. According to the found camera, each point has one true distance in every frame; what changes from frame to
frame in the depth at its sightings is the error of the depth. A camera that stands still or only turns does not reveal
those distances, but they must not change either. Only changes faster than `TREND_FRAMES` are removed with a single
scale and shift. What varies across the picture, and slowly, is left to `scale_field`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.depth_video import DepthVideo
from ex4d.source_camera.candidate import FITS_PX, Candidate
from ex4d.source_camera.found import Steadying
from ex4d.source_camera.scale_field import field_of, upsampled
from ex4d.source_camera.tracks import Tracks

TREND_FRAMES = 15
"""Number of frames over which scale and shift of the depth are assumed to be right on average."""

FEWEST_POINTS = 50
"""A frame with fewer points is left unchanged."""

LEAST_SPREAD = 1.5
"""A shift is fitted if the far points (9 of 10 are nearer) are at least this many times as far away as the near ones,
otherwise only a scale."""

PUMPS = 0.005
"""Depth that pumps by less is left unchanged. Measured: 0.0005 at most with true depth."""

MOST_NEARNESS = 4.0
"""With a camera that does not change position, points count by their disparity, up to this many times the median."""

MOST = 0.65
"""Then, at least this part of the points must change less once the depth is steadied. Measured: 0.94 and more if it
pumps, and 0.58 and less with true depth in which a large thing sways unnoticed."""

LEAST_NEARNESS = 0.1
"""Points with less than this many times the median disparity are not asked, because they may be sky."""

AT_REST = 1.15
"""Before a still camera, a pixel outside the mask of what moves shows what stands still if its distance differs by less
than this factor."""

ROUNDS = 30

PUMPED, BENT = "The depth's scale pumped by", "The depth was bent or drifted by"
"""The beginnings of the notes about what was wrong."""

FARTHEST_OFF = 2.0
"""Maximum factor by which the shift changes a distance, because it says little about anything beyond all points."""


def steadying(
    candidate: Candidate,
    tracks: Tracks,
    at: NDArray[np.float64],
    sure: NDArray[np.bool_],
    size: tuple[int, int],
) -> Steadying:
    """What keeps points in place, and at their distances if the camera moves.

    Points and frames are fitted in turn, by iteratively reweighted least squares: for each point the usual error of the
    depth there, and for each frame the error on top of that.

    Args:
        candidate: the camera with its points.
        tracks: their sightings.
        at: (N,) depth at each.
        sure: (N,) whether that is not at an edge.
        size: width and height of the pictures of the sightings.
    """
    s = candidate.structure
    # Without parallax, points are somewhere far away, and only the ratios of one point's distances are right.
    good = candidate.tells_depth(tracks) if candidate.moves else (s.residual < FITS_PX) & (s.z > 0)
    good &= sure
    seen = Sightings(tracks.frame[good], tracks.track[good], 1 / at[good], 1 / s.z[good])
    frames = fitted_frames(seen, len(candidate.camera_to_world), shifts=candidate.moves)
    if not candidate.moves:
        return Steadying(frames)
    if frames is not None:
        at = _distance(at, *frames[tracks.frame].T)
    return Steadying(frames, field_of(candidate, tracks, at, sure, size))


@dataclass(frozen=True)
class Sightings:
    """Static points in frames.

    Attributes:
        frame, point: (N,) intp, their numbers.
        theirs: (N,) disparity according to the depth.
        own: (N,) true disparity, up to a factor.
    """

    frame: NDArray[np.intp]
    point: NDArray[np.intp]
    theirs: NDArray[np.float64]
    own: NDArray[np.float64]

    def kept(self, keep: NDArray[np.bool_]) -> "Sightings":
        """Only the sightings to `keep` (N,)."""
        return Sightings(self.frame[keep], self.point[keep], self.theirs[keep], self.own[keep])


def fitted_frames(seen: Sightings, count: int, *, shifts: bool) -> NDArray[np.float64] | None:
    """`Steadying.frames` for `count` frames; `shifts` tells whether the disparities may need a shift."""
    enough = np.bincount(seen.frame, minlength=count) >= FEWEST_POINTS
    if enough.sum() < 2:
        return None
    seen = seen.kept(enough[seen.frame])
    frame, point = seen.frame, np.unique(seen.point, return_inverse=True)[1]
    # Nearly everything in sight may be sky, whose disparity is hardly known and does not matter.
    nearness = np.ones(len(frame)) if shifts else np.minimum(seen.theirs / np.median(seen.theirs), MOST_NEARNESS)
    own = seen.own * np.median(seen.theirs / seen.own)
    off = np.log(own / seen.theirs)
    middle = float(np.median(own))
    design = np.stack([np.ones(len(own)), middle / own - 1], axis=1)
    near, far = np.percentile(own, (90, 10))
    if not shifts or near < LEAST_SPREAD * far:
        design = design[:, :1]
    of_frame = np.zeros((count, design.shape[1]))
    sightings = [np.flatnonzero(frame == t) for t in range(count)]
    for _ in range(ROUNDS):
        rest = off - (design * of_frame[frame]).sum(1)
        of_point = np.bincount(point, rest) / np.bincount(point)
        for t in np.flatnonzero(enough):
            those = sightings[t]
            of_frame[t] = _robust(design[those], off[those] - of_point[point[those]], nearness[those])
    fast = np.zeros((count, 2))
    fast[enough, : design.shape[1]] = (of_frame - _trend(of_frame, enough))[enough]
    if np.sqrt((fast[:, 0] ** 2).mean()) < PUMPS:
        return None
    if not shifts and not _steadies_most(frame, point, off, off - fast[frame, 0], nearness):
        return None
    return np.stack([np.exp(fast[:, 0]) * (1 - fast[:, 1]), fast[:, 1] * middle], axis=1)


def _steadies_most(
    frame: NDArray[np.intp],
    point: NDArray[np.intp],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    nearness: NDArray[np.float64],
) -> bool:
    """Whether the errors (N,) of most points change less from sighting to sighting, by number and by nearness (N,).

    Otherwise something else pumps, such as a near thing that sways without being noticed.
    """
    order = np.lexsort((frame, point))
    same = np.diff(point[order]) == 0
    to = point[order][1:][same]
    changes = [np.bincount(to, np.abs(np.diff(error[order]))[same]) for error in (before, after)]
    better, near = changes[1] < changes[0], np.bincount(to, nearness[order][1:][same]) / np.maximum(np.bincount(to), 1)
    asked = near > LEAST_NEARNESS
    return bool(asked.any()) and min(better[asked].mean(), np.average(better[asked], weights=near[asked])) >= MOST


def steadied(
    depth: DepthVideo,
    steady: Steadying,
    already: range = range(0),
    moving: NDArray[np.bool_] | None = None,
) -> DepthVideo:
    """The depth fitted to what stands still, and notes that say how much it pumped and was bent.

    The figures are the root mean square of the relative change of each frame's median distance, and the standard
    deviation of the field.
    Frames that are `already` steady stay unchanged bit for bit, and set the scale of the others; the notes are about
    the others, and replace earlier ones.
    """
    new = [t for t in range(len(depth.depth)) if t not in already]
    if not new or not steady:
        return depth
    made, said, notes = depth.depth.copy(), [], list(depth.notes)
    if already:
        steady = _in_unit_of(steady, already)
    for t in new:
        made[t] = frame_steadied(depth.depth[t], steady, t, None if moving is None else moving[t])
    if steady.frames is not None:
        scaled = (_distance(np.median(depth.depth[t]), *steady.frames[t]) for t in new)
        changes = [np.log(np.median(depth.depth[t]) / median) for t, median in zip(new, scaled, strict=True)]
        pumped = np.sqrt(np.square(changes).mean())
        notes = [note for note in notes if not note.startswith(PUMPED)]
        said.append(f"{PUMPED} {pumped:.1%} from frame to frame; it was fitted to what stands still.")
    if steady.field is not None:
        notes = [note for note in notes if not note.startswith(BENT)]
        how = "it was fitted to what stands still"
        if steady.still is not None:
            how = "what stands still now has one distance in all frames, but it may still be bent"
        said.append(f"{BENT} {steady.field[new].std():.1%}; {how}.")
    return replace(depth, depth=made, notes=(*notes, *said))


def _in_unit_of(steady: Steadying, already: range) -> Steadying:
    """The same, but what these frames need is nothing, as far as one factor tells, or one for each place."""
    if steady.field is None:
        return steady
    theirs = steady.field[already.start : already.stop]
    if steady.still is None:
        return replace(steady, field=steady.field - theirs.mean())
    height, width = steady.still.shape
    mean = theirs.mean(axis=0)
    return replace(steady, field=steady.field - mean, still=steady.still * np.exp(-upsampled(mean, width, height)))


def frame_steadied(
    depth: NDArray[np.float32], steady: Steadying, t: int, moving: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """The depth (H,W) of frame `t` fitted to what stands still; at any size, unless `steady.still` has one.

    `moving` (h,w), at any size, is what moves in that frame.
    """
    if steady.frames is not None:
        depth = _distance(depth, *steady.frames[t].astype(np.float32))
    if steady.field is not None:
        height, width = depth.shape
        depth = depth * np.exp(upsampled(steady.field[t], width, height))
    return depth if steady.still is None else _stilled(depth, steady.still, steady.still_within, moving)


def _stilled(
    depth: NDArray[np.float32], still: NDArray[np.float32], within: float, moving: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """The depth (H,W) with the distances of what stands `still` (H,W), NaN if unknown, wherever it shows that."""
    factor = np.full(depth.shape, AT_REST, np.float32)
    if moving is not None:
        rows, columns = (np.arange(n) * m // n for n, m in zip(depth.shape, moving.shape, strict=True))
        factor[moving[np.ix_(rows, columns)]] = np.exp(within)
    with np.errstate(invalid="ignore"):
        shows = (depth < still * factor) & (depth * factor > still)
    return np.where(shows, still, depth)


def _distance(depth: NDArray, scale: NDArray | float, shift: NDArray | float) -> NDArray:
    """Distances whose disparity is `scale / depth + shift`."""
    disparity = scale / depth
    return 1 / np.clip(disparity + shift, disparity / FARTHEST_OFF, disparity * FARTHEST_OFF)


def _robust(design: NDArray[np.float64], off: NDArray[np.float64], given: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares with `given` weights times Cauchy weights, hardly affected by outliers."""
    weight = given
    for _ in range(3):
        weighted = (design * weight[:, None]).T
        found = np.linalg.solve(weighted @ design + 1e-9 * np.eye(design.shape[1]), weighted @ off)
        error = design @ found - off
        weight = given / (1 + (error / (1.4826 * np.median(np.abs(error)) + 1e-5)) ** 2)
    return np.asarray(found, np.float64)


def _trend(of_frame: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(T,n) averaged over the `known` frames around each, by a Gaussian as wide as a box of `TREND_FRAMES`."""
    t = np.arange(len(of_frame))
    weight = np.exp(-0.5 * ((t[:, None] - t) / (TREND_FRAMES / np.sqrt(12))) ** 2) * known
    return np.asarray(weight @ of_frame / weight.sum(1, keepdims=True), np.float64)
