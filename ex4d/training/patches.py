"""Tracking masks: holes shaped as patches that stick to surfaces by following tracked points."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.tracks import Tracks

COUNT = (4, 40)
"""Minimum and maximum number of patches that start in the first frame."""

SIZES = (8.0, 96.0)
"""Smallest and largest diameter of a patch in pixels, in a picture whose side is `SIZED_FOR`."""

SIZED_FOR = 512

CORNERS = (3, 8)
"""Minimum and maximum number of points whose hull is a patch."""

EVERY = 12
"""Interval in frames at which new patches start, a quarter as many as in the first frame."""

AROUND = 0.03
"""Points this close to a patch, as a fraction of the picture's longer side, move it too."""

BRIDGED = 3
"""Maximum number of frames for which a patch continues its motion if none of its points is found."""

_FOLLOWED_PX, _GROWTH = 1.5, 1.2
"""Points agree with a patch's motion if they fit it within this many pixels; a patch whose size changes by more than
this factor in one frame has lost its surface."""

_BITS = 4  # of subpixel precision in OpenCV's drawing


@dataclass
class _Patch:
    """Corners (n,2) in pixels with centres at +0.5, their last motion (2,3), and frames since points were found."""

    corners: NDArray[np.float64]
    motion: NDArray[np.float64]
    lost: int = 0


def holes(tracks: Tracks, frames: int, height: int, width: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Where (T,H,W) patches are that follow the tracks; none in the first frame, which is always complete.

    A patch starts as the hull of some neighbouring points. From frame to frame it moves, rotates and grows with the
    majority of the points that are on it or close to it at the time, so it outlives individual points. It ends if no
    point is found for more than `BRIDGED` frames, or outside the picture.

    Args:
        tracks: in pixels of the frames.
        frames, height, width: T, H, W.
        random: the source of all random numbers.
    """
    result = np.zeros((frames, height, width), np.bool_)
    scale = max(height, width) / SIZED_FOR
    starts = np.searchsorted(tracks.frame, np.arange(frames + 1))
    count = int(random.integers(COUNT[0], COUNT[1] + 1))
    live: list[_Patch] = []
    for t in range(frames - 1):
        now, then = slice(starts[t], starts[t + 1]), slice(starts[t + 1], starts[t + 2])
        xy, next_xy = tracks.xy[now], tracks.xy[then]
        if t % EVERY == 0 and len(xy):
            live += [_begun(xy, scale, random) for _ in range(count if t == 0 else -(-count // 4))]
        _, here, there = np.intersect1d(tracks.track[now], tracks.track[then], assume_unique=True, return_indices=True)
        live = [
            patch
            for patch in live
            if _moved(patch, xy[here], next_xy[there], AROUND * max(height, width)) and _inside(patch, height, width)
        ]
        picture = np.zeros((height, width), np.uint8)
        for patch in live:
            corners = np.round((patch.corners - 0.5) * (1 << _BITS)).astype(np.int32)
            cv2.fillConvexPoly(picture, corners, 1, shift=_BITS)
        result[t + 1] = picture > 0
    return result


def _begun(xy: NDArray[np.float64], scale: float, random: np.random.Generator) -> _Patch:
    """The hull of a point and some around it; if there are too few, a random polygon of that size."""
    middle = xy[random.integers(len(xy))]
    radius = scale * float(np.exp(random.uniform(*np.log(SIZES)))) / 2
    corners = int(random.integers(CORNERS[0], CORNERS[1] + 1))
    near = np.flatnonzero(np.hypot(*(xy - middle).T) <= radius)
    if len(near) >= CORNERS[0]:
        points = xy[random.permutation(near)[:corners]]
    else:
        turns = np.sort(random.uniform(0, 2 * np.pi, corners))
        points = middle + radius * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    hull = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2)
    return _Patch(hull.astype(np.float64), np.eye(2, 3))


def _moved(patch: _Patch, here: NDArray[np.float64], there: NDArray[np.float64], around: float) -> bool:
    """Move a patch to the next frame, in place, by points (N,2) in both frames; False if it is lost."""
    middle = patch.corners.mean(axis=0)
    reach = np.hypot(*(patch.corners - middle).T).max() + around
    near = np.hypot(*(here - middle).T) <= reach
    motion = _motion(here[near], there[near])
    patch.lost = patch.lost + 1 if motion is None else 0
    if patch.lost > BRIDGED:
        return False
    if motion is not None:
        patch.motion = motion
    growth = np.sqrt(abs(np.linalg.det(patch.motion[:, :2])))
    patch.corners = patch.corners @ patch.motion[:, :2].T + patch.motion[:, 2]
    return bool(1 / _GROWTH < growth < _GROWTH)


def _motion(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The similarity (2,3) of most points (N,2); their median translation if there are few; None if there are none."""
    if len(here) == 0:
        return None
    if len(here) >= 4:
        # OpenCV draws the same samples each time, so the same points give the same motion.
        found, _ = cv2.estimateAffinePartial2D(
            here.astype(np.float32), there.astype(np.float32), method=cv2.RANSAC, ransacReprojThreshold=_FOLLOWED_PX
        )
        if found is not None:
            return np.asarray(found, np.float64)
    way = np.median(there - here, axis=0)
    return np.column_stack([np.eye(2), way])


def _inside(patch: _Patch, height: int, width: int) -> bool:
    x, y = patch.corners.T
    return bool(x.max() >= 0 and y.max() >= 0 and x.min() <= width and y.min() <= height)
