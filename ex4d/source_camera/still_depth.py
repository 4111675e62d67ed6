"""Depth before a camera that stands still: whatever stands still has one distance in all frames.

The camera reveals no distances, but the errors of a depth model differ from frame to frame, and that shows. Each frame
gets a factor for its scale, then a smooth field of factors, until it agrees with the median of all frames. What still
differs at a pixel is noise, and the pixel gets its median. What moves gets the factors of its surroundings.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.found import Steadying
from ex4d.source_camera.scale_field import MOST_CHANGE, places, settled, upsampled
from ex4d.source_camera.steadying import LEAST_NEARNESS, MOST, Sightings, fitted_frames, frame_steadied

PIXELS_ACROSS = 64
"""This many pixels along the longer side of the picture are points."""

CHANGES = 0.003
"""Depth is left unchanged unless it changes by more than this at `MOST` of the points: in a quarter of the frames, the
logarithm is farther off. If it changes at fewer, something else does, such as a near thing that sways unnoticed."""

WEIGHT, LINK = 100.0, 1000.0
"""Weights of a point and of the squared difference of neighbours on the grid."""

TIMES = 3.0
"""A point that is off by this multiple of what is usual, and by `AT_LEAST`, does not count, because something may have
moved unnoticed."""

LEAST, MOST_WITHIN = 0.01, 0.05
"""A pixel in the mask of what moves shows what stands still, as a shadow does, if it is off by less than that multiple
of what is usual, but at least by the first and at most by the second."""

OFTEN = 0.25
"""A pixel in which nothing stands still in at least this part of the frames has no distance of its own."""

AT_LEAST = (0.4, 0.3, 0.2, 0.2)
"""In each round of fitting, because the errors to be removed are large at first."""

MOST_FRAMES = 64
"""Medians are those of at most this many frames, evenly spread; each takes twice the memory of a frame of depth."""


def steadying_still(depth: NDArray[np.float32], moving: NDArray[np.bool_]) -> Steadying:
    """What gives everything that stands still before a still camera one distance.

    Args:
        depth: (T,H,W) float32.
        moving: (T,H,W) what moves.
    """
    apart = max(1, round(max(depth.shape[1:]) / PIXELS_ACROSS))
    points = (slice(None), slice(apart // 2, None, apart), slice(apart // 2, None, apart))
    near, static = depth[points], ~moving[points]
    frame, row, column = np.nonzero(static)
    disparity = 1 / near[static].astype(np.float64)
    seen = Sightings(frame, row * near.shape[2] + column, disparity, np.ones_like(disparity))
    steady = Steadying(fitted_frames(seen, len(depth), shifts=False))
    logs = np.log(np.stack([frame_steadied(one, steady, t) for t, one in enumerate(near)]))
    field = _field(logs, static, places(*depth.shape[1:]))
    if field is None:
        return steady
    steady = Steadying(steady.frames, field)
    still = _medians(depth, moving, steady)
    there = [frame_steadied(one, steady, t)[static[t]] for t, one in enumerate(near)]
    usual = [still[points[1:]][static[t]] for t in range(len(near))]
    off = np.log(np.concatenate(there) / np.concatenate(usual))
    return replace(steady, still=still, still_within=float(np.clip(_within(off[np.isfinite(off)]), LEAST, MOST_WITHIN)))


def _field(logs: NDArray[np.float32], static: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """The field (T,Y,X) that makes logarithms of distances (T,h,w) agree with their medians; None if they do."""
    field, (height, width) = np.zeros((len(logs), *shape)), logs.shape[1:]
    for number, least in enumerate(AT_LEAST):
        here = logs + np.stack([upsampled(one, width, height) for one in field])
        median = _median(np.where(static, here, np.float32(np.inf)))
        known = static & np.isfinite(median)
        off = np.where(known, np.where(known, median, 0) - here, 0)
        if number == 0:
            spread = _quantile(np.where(known, np.abs(off), np.float32(np.inf)), 0.75)
            there = np.isfinite(median)
            if not there.any():
                return None
            nearness = np.exp(-median[there])
            asked = spread[there][nearness > LEAST_NEARNESS * np.median(nearness)]
            if (asked > CHANGES).mean() < MOST:
                return None
        far = max(_within(off[known]), least)
        weight = (WEIGHT * known * np.maximum(1 - (off / far) ** 2, 0) ** 2).astype(np.float32)
        field = np.stack([settled(f, w, w * o, LINK) for f, w, o in zip(field, weight, off, strict=True)])
        field = np.clip(field - field.mean(axis=0), -MOST_CHANGE, MOST_CHANGE)
    return field


def _within(off: NDArray[np.float32]) -> float:
    """How far off points (N,) may be that stand still."""
    return TIMES * 1.4826 * float(np.median(np.abs(off))) + 1e-6 if len(off) else 1e-6


def _medians(depth: NDArray[np.float32], moving: NDArray[np.bool_], steady: Steadying) -> NDArray[np.float32]:
    """The distance (H,W) of what stands still, NaN where nothing does often enough."""
    chosen = np.unique(np.linspace(0, len(depth) - 1, MOST_FRAMES).round().astype(int))
    steadied = (np.where(moving[t], np.float32(np.inf), frame_steadied(depth[t], steady, t)) for t in chosen)
    values = np.stack(list(steadied))
    often = np.isfinite(values).sum(axis=0) >= OFTEN * len(chosen)
    return np.where(often, _median(values), np.float32(np.nan))


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median (h,w) of the finite values (T,h,w), which are sorted in place; infinite if there are none."""
    last = _sorted(values)
    low, high = (np.take_along_axis(values, at[None], axis=0)[0] for at in (last // 2, (last + 1) // 2))
    return np.where(low == high, low, (low + high) / 2)


def _quantile(values: NDArray[np.float32], part: float) -> NDArray[np.float32]:
    """The same for another part of the values than a half, without interpolation."""
    last = _sorted(values)
    return np.asarray(np.take_along_axis(values, np.round(last * part).astype(int)[None], axis=0)[0], np.float32)


def _sorted(values: NDArray[np.float32]) -> NDArray[np.int_]:
    """The position (h,w) of the last finite value, 0 if there is none, after sorting the values (T,h,w) in place."""
    values.sort(axis=0)
    return np.maximum(np.isfinite(values).sum(axis=0) - 1, 0)
