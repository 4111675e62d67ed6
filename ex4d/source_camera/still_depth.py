"""Depth before a camera that stands still: whatever stands still has one distance in all frames.

The camera reveals no distances, but the errors of a depth model differ from frame to frame, and that shows. Each frame
gets a factor for its scale, then a smooth field of factors, until it agrees with the median of all frames. What still
differs at a pixel is noise, and the pixel gets its median. What moves gets the factors of its surroundings.
"""

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.found import Steadying
from ex4d.source_camera.scale_field import places, settled, upsampled
from ex4d.source_camera.steadying import LEAST_NEARNESS, MOST, Sightings, fitted_frames, of_frame

PIXELS_ACROSS = 64
"""This many pixels along the longer side of the picture are points."""

CHANGES = 0.003
"""Depth is left unchanged unless it changes by more than this at `MOST` of the points: 1.48 times the median absolute
deviation of the logarithm. If it changes at fewer, something else does, such as a near thing that sways unnoticed."""

WEIGHT, LINK, HALF = 100.0, 1000.0, 0.1
"""Weights of a point and of the squared difference of neighbours on the grid. A point that is off by the third counts
half, because something may have moved unnoticed."""

ROUNDS = 3

MOST_FRAMES = 64
"""Medians are those of at most this many frames, evenly spread; each takes as much memory as a frame of depth."""


def steadying_still(depth: NDArray[np.float32], moving: NDArray[np.bool_]) -> Steadying:
    """What gives everything that stands still before a still camera one distance.

    Args:
        depth: (T,H,W) float32.
        moving: (T,H,W) what moves.
    """
    apart = max(1, round(max(depth.shape[1:]) / PIXELS_ACROSS))
    near, static = depth[:, ::apart, ::apart], ~moving[:, ::apart, ::apart]
    frame, row, column = np.nonzero(static)
    disparity = 1 / near[static].astype(np.float64)
    seen = Sightings(frame, row * near.shape[2] + column, disparity, np.ones_like(disparity))
    steady = Steadying(fitted_frames(seen, len(depth), shifts=False))
    points = np.stack([of_frame(one, steady, t) for t, one in enumerate(near)])
    field = _field(np.log(points), static, places(*depth.shape[1:]))
    if field is None:
        return steady
    steady = Steadying(steady.frames, field)
    return Steadying(steady.frames, field, _medians(depth, moving, steady))


def _field(logs: NDArray[np.float32], static: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """The field (T,Y,X) that makes logarithms of distances (T,h,w) agree with their medians; None if they do."""
    field, (height, width) = np.zeros((len(logs), *shape)), logs.shape[1:]
    for number in range(ROUNDS):
        here = logs + np.stack([upsampled(one, width, height) for one in field])
        median = _median(np.where(static, here, np.float32(np.inf)))
        known = static & np.isfinite(median)
        off = np.where(known, np.where(known, median, 0) - here, 0)
        if number == 0:
            spread = 1.4826 * _median(np.where(known, np.abs(off), np.float32(np.inf)))
            there = np.isfinite(median)
            if not there.any():
                return None
            nearness = np.exp(-median[there])
            asked = spread[there][nearness > LEAST_NEARNESS * np.median(nearness)]
            if (asked > CHANGES).mean() < MOST:
                return None
        weight = (WEIGHT * known / (1 + (off / HALF) ** 2)).astype(np.float32)
        field = np.stack([settled(f, w, w * o, LINK) for f, w, o in zip(field, weight, off, strict=True)])
        field -= field.mean(axis=0)
    return field


def _medians(depth: NDArray[np.float32], moving: NDArray[np.bool_], steady: Steadying) -> NDArray[np.float32]:
    """The distance (H,W) of what stands still, NaN where nothing does."""
    chosen = np.unique(np.linspace(0, len(depth) - 1, MOST_FRAMES).round().astype(int))
    median = _median(np.stack([np.where(moving[t], np.float32(np.inf), of_frame(depth[t], steady, t)) for t in chosen]))
    return np.where(np.isfinite(median), median, np.float32(np.nan))


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The lower median (h,w) of the finite values (T,h,w); infinite if there are none."""
    ordered = np.sort(values, axis=0)
    middle = np.maximum(np.isfinite(ordered).sum(axis=0) - 1, 0) // 2
    return np.asarray(np.take_along_axis(ordered, middle[None], axis=0)[0], np.float32)
