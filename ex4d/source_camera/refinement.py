"""More exact tracks: each sighting is matched again, to a single picture of its point.

Tracking from frame to frame adds an error with every step: after 30 frames a point has drifted by 1 to 2 pixels, which
bends the camera and its lens. Here a point's appearance in the middle of its track is aligned with each of its other
sightings, with scale, rotation and shear (inverse compositional Lucas-Kanade with an affine warp, Baker and Matthews
2004). This leaves an error of 0.3 pixels that does not grow.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.progress import Progress, silent
from ex4d.source_camera.tracks import Tracks

HALF = 10
"""Half the side in pixels of the window that is compared. Smaller ones are less exact, larger ones have more edges."""

HALF_OF_CLIP = 5
"""The same in pixels of the clip, if the clip was scaled up."""

STEPS = 8
ENOUGH_PX = 0.005
"""Iteration stops at a smaller step, in pixels."""

REACH_PX = 2.0
"""Maximum shift of a sighting in pixels from where it was tracked; anything farther away is another point."""

LEAST_LIKE = 0.75
"""Correlation of the two windows below which the point counts as lost."""

AREA = 0.4, 2.5
"""Smallest and largest area of a window, relative to that of its reference."""

AT_ONCE = 1000
"""Number of points processed at a time, which limits memory."""


@dataclass(frozen=True)
class _Looks:
    """The appearance of n points where they are seen best, each in a window of p pixels.

    Attributes:
        x, y: (p,) offsets from the middle of the window.
        weight: (p,) of each pixel, with sum 1.
        values: (n,p) grey levels with mean 0.
        steps: (n,6,p) the step of the warp per difference in each pixel.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    weight: NDArray[np.float32]
    values: NDArray[np.float32]
    steps: NDArray[np.float32]


def half_window(scale: float) -> int:
    """Pixels compared to each side of a point, in pictures `scale` times as large as the clip's."""
    return max(HALF, round(HALF_OF_CLIP * scale))


def refined(grey: NDArray[np.uint8], tracks: Tracks, scale: float, progress: Progress = silent) -> Tracks:
    """The sightings that were found again, at their refined positions.

    Args:
        grey: (T,h,w) uint8 pictures.
        tracks: sightings in them.
        scale: pixels of these pictures per pixel of the clip's working picture.
        progress: called after each part of the points; raises `Cancelled` to stop.
    """
    order = np.argsort(tracks.track, kind="stable")  # by point, then by frame
    ends = np.searchsorted(tracks.track[order], np.arange(tracks.count + 1))
    xy, found = tracks.xy - 0.5, np.zeros(len(tracks.xy), bool)  # OpenCV's pixels
    half = half_window(scale)
    seen = np.flatnonzero(np.diff(ends))
    for begin in range(0, len(seen), AT_ONCE):
        points = seen[begin : begin + AT_ONCE]
        _refine(grey, tracks, points, order[ends[points] + np.diff(ends)[points] // 2], half, xy, found)
        progress("Refining points", min(begin + AT_ONCE, len(seen)), len(seen))
    return Tracks(tracks.track, tracks.frame, xy + 0.5, tracks.survived).kept(found)


def _refine(
    grey: NDArray[np.uint8],
    tracks: Tracks,
    points: NDArray[np.intp],
    best: NDArray[np.intp],
    half: int,
    xy: NDArray[np.float64],
    found: NDArray[np.bool_],
) -> None:
    """Move the sightings of some points (n,) in `xy`, and set `found` for those that match `best` (n,), one each."""
    number = np.full(tracks.count, -1)
    number[points] = np.arange(len(points))
    rows = np.flatnonzero(number[tracks.track] >= 0)
    mine, frame, middle = number[tracks.track[rows]], tracks.frame[rows], tracks.frame[best]
    looks = _looks(grey, middle, xy[best], half)
    found[best] = True
    for times in (range(len(grey)), reversed(range(len(grey)))):
        warp, shift = np.tile(np.eye(2), (len(points), 1, 1)), np.zeros((len(points), 2))
        passed = np.zeros(len(points), bool)
        for t in times:
            here = np.flatnonzero((frame == t) & passed[mine])
            if len(here):
                at, who = rows[here], mine[here]
                place, bent, like = _laid(looks, who, grey[t], xy[at] + shift[who], warp[who])
                moved, area = place - xy[at], np.linalg.det(bent)
                good = (like > LEAST_LIKE) & (np.hypot(*moved.T) < REACH_PX) & (area > AREA[0]) & (area < AREA[1])
                found[at], xy[at[good]] = good, place[good]
                warp[who[good]], shift[who[good]] = bent[good], moved[good]
            passed |= middle == t


def _looks(grey: NDArray[np.uint8], frame: NDArray[np.intp], xy: NDArray[np.float64], half: int) -> _Looks:
    """The appearance of points at positions (n,2) in some frames (n,)."""
    import cv2

    side = np.arange(-half, half + 1, dtype=np.float32)
    x, y = (one.ravel() for one in np.meshgrid(side, side))
    weight = np.exp(-(x**2 + y**2) / (2 * (0.6 * half) ** 2))
    weight /= weight.sum()
    values = np.empty((len(xy), len(x)), np.float32)
    steps = np.empty((len(xy), 6, len(x)), np.float32)
    for t in np.unique(frame):
        own = frame == t
        picture = grey[t].astype(np.float32)
        at = xy[own, :1] + x, xy[own, 1:] + y
        values[own] = _sampled(picture, *at)
        along_x, along_y = (
            _sampled(cv2.Scharr(picture, cv2.CV_32F, *way, scale=1 / 32), *at) for way in ((1, 0), (0, 1))
        )
        moves = (along_x * x, along_x * y, along_y * x, along_y * y, along_x, along_y)
        steps[own] = np.stack(moves, axis=1)
    values -= (values @ weight)[:, None]
    normal = np.einsum("nip,njp,p->nij", steps, steps, weight, optimize=True).astype(np.float64)
    normal += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(6) + 1e-9 * np.eye(6)
    return _Looks(x, y, weight, values, (np.linalg.inv(normal).astype(np.float32) @ steps) * weight)


def _laid(
    looks: _Looks, who: NDArray[np.intp], grey: NDArray[np.uint8], xy: NDArray[np.float64], warp: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where the points `who` (n,) are in a picture: positions (n,2), warps (n,2,2), and correlations (n,), at most 1.

    `xy` and `warp` are the starting point. Brightness and contrast are matched to those of the picture.
    """
    picture, start, like = grey.astype(np.float32), xy, np.zeros(len(who))
    xy, warp, active = xy.copy(), warp.copy(), np.arange(len(who))
    for _ in range(STEPS):
        p, m, look = xy[active], warp[active], looks.values[who[active]]
        x = p[:, :1] + m[:, 0, :1] * looks.x + m[:, 0, 1:] * looks.y
        y = p[:, 1:] + m[:, 1, :1] * looks.x + m[:, 1, 1:] * looks.y
        there = _sampled(picture, x, y)
        there -= (there @ looks.weight)[:, None]
        both, own, theirs = ((a * b) @ looks.weight for a, b in ((look, there), (look, look), (there, there)))
        like[active] = both / np.maximum(np.sqrt(own * theirs), 1e-6)
        gain = np.clip(both / np.maximum(theirs, 1e-6), 0.5, 2)
        step = (looks.steps[who[active]] @ (gain[:, None] * there - look)[..., None])[..., 0].astype(np.float64)
        change = np.eye(2) + step[:, :4].reshape(-1, 2, 2)
        change[np.abs(np.linalg.det(change) - 1) > 0.5] = np.eye(2)
        warp[active] = m = m @ np.linalg.inv(change)
        moved = p - np.einsum("nij,nj->ni", m, step[:, 4:])
        xy[active] = start[active] + np.clip(moved - start[active], -2 * REACH_PX, 2 * REACH_PX)
        active = active[np.abs(step[:, 4:]).max(axis=1) > ENOUGH_PX]
        if not len(active):
            break
    return xy, warp, like


def _sampled(picture: NDArray[np.float32], x: NDArray, y: NDArray) -> NDArray[np.float32]:
    import cv2

    at = x.astype(np.float32), y.astype(np.float32)
    return np.asarray(cv2.remap(picture, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
