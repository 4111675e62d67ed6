"""Independently moving things in a clip: where optical flow differs from anything that camera motion can cause.

Flow can tell this only in places: where there is texture, and where a thing does not happen to move as the camera
would make it seem. So each pixel may get votes for moving and for standing still, by comparison with several other
frames, and `spreading` decides about all the others.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ex4d.media.flow import Flow, followed
from ex4d.progress import FINDING_MOVES, Progress, silent
from ex4d.source_camera.spreading import spread
from ex4d.source_camera.views import Pixels, View, nearest_at, projected, value_at

SIDE = 384
"""Longer side in pixels of the pictures in which flow is computed."""

APART = 2
"""Number of frames over which flow is computed."""

CHAINS = (1, 2, 4)
"""Numbers of such steps, before and after, over which a frame is compared with others."""

LEAST_OFF, MOST_OFF, TIMES_SPREAD = 1.15, 5.0, 4.0
"""Factor by which depth may be wrong, at least and at most; in between, its logarithm is this many times the median
error at tracked points. Flow that fits any distance in that range is attributed to the camera. The most is for guessed
depth: 1.5 counted up to 33 % of what stands still as moving there, 5 counts 8 %."""

REACH_PX = 2
"""The depth may also be that of any pixel this near, because its edges are rarely in the right place."""

HIDDEN = 1.15
"""If something nearer by this factor is where the camera would make a pixel go, the pixel is hidden there, and what
flow finds is something else."""

LEAST_PX, TIMES = 1.0, 4.5
"""A pixel that is off by this many pixels, and by this multiple of the median, moves..."""

WORSE = 6.0
"""...if the camera's motion explains its colour worse than flow does, by this many levels."""

STANDS_AT = 0.5
"""A pixel that is off by less than this part of that limit stands still."""

STANDS = 0.2
"""Weight of a vote for standing still, where that for moving is 1. Agreement with the camera proves little..."""

TEXTURE, LOOSE_PX, LOOSEST = 4.0, 4.0, 0.03
"""...where the picture's gradient is less than this, in levels per pixel, or where the positions for the nearest and
the farthest depth are this far apart. Some weight remains, or movement would spread far when the camera is fast."""

SMALLEST = 0.001
"""Regions smaller than this fraction of the picture are noise."""

GROW_PX = 2
"""By this many pixels the regions grow, because flow is not exact at edges."""

FRAMES = 3
"""The mask is the median over this many frames."""


def moving_mask(
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera_to_world: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    progress: Progress = silent,
    scale: NDArray[np.float64] | None = None,
    depth_off: float = MOST_OFF,
) -> NDArray[np.bool_]:
    """Where things move independently (T,h,w), at most `SIDE` pixels on the longer side.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32; times `scale` it is in the unit of the camera, and off by at most `depth_off`.
        camera_to_world: (T,4,4).
        intrinsics: (T,3,3) in pixels of (H,W).
        progress: called after each frame.
        scale: (T,) factor for the depth of each frame; None leaves it unchanged.
        depth_off: factor by which the depth may be wrong, see `tolerance`.
    """
    import cv2

    count, height, width = depth.shape
    scale = np.ones(count) if scale is None else scale
    shrink = min(1.0, SIDE / max(width, height))
    size = round(width * shrink), round(height * shrink)
    ratio = np.diag([size[0] / width, size[1] / height, 1.0])
    colour = [_small(frame, size) for frame in frames]
    grey = [small_grey(frame, size) for frame in frames]
    soft = [cv2.GaussianBlur(one, (0, 0), 1.0).astype(np.float32) for one in grey]
    views = [
        View(cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) * np.float32(factor), pose, ratio @ k)
        for one, factor, pose, k in zip(depth, scale, camera_to_world, intrinsics, strict=True)
    ]
    steps = _Steps(grey)
    moving = np.zeros((count, size[1], size[0]), bool)
    for t in range(count):
        moves, stands = np.zeros((2, size[1], size[0]), np.float32)
        texture = np.minimum(_gradient(soft[t]) / TEXTURE, 1)
        for other, at, seen in steps.chains(t):
            alone, loose, hidden = _course(views[t], views[other], at, np.float32(depth_off))
            off = np.hypot(*(a - b for a, b in zip(at, alone, strict=True)))
            sure = off[::2, ::2][seen[::2, ::2]]
            if not len(sure):
                continue
            limit = max(LEAST_PX, TIMES * float(np.median(sure)))
            by_camera, by_flow = (
                cv2.blur(np.abs(soft[t] - value_at(soft[other], where)), (3, 3)) for where in (alone, at)
            )
            moves += seen & ~hidden & (off > limit) & (by_camera - by_flow > WORSE)
            stands += (seen & (off < STANDS_AT * limit)) * texture * np.maximum(np.exp(-loose / LOOSE_PX), LOOSEST)
        moving[t] = spread(moves, STANDS * stands, colour[t], views[t].depth)
        progress(FINDING_MOVES, t + 1, count)
    return _cleaned(moving)


def tolerance(spread: float) -> float:
    """The factor by which a depth may be wrong that differs from tracked points by this much.

    Args:
        spread: median absolute difference of the logarithms; NaN if unknown.
    """
    return float(np.clip(np.exp(TIMES_SPREAD * spread), LEAST_OFF, MOST_OFF)) if np.isfinite(spread) else MOST_OFF


def small_grey(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame (H,W,3) in grey, resized to (width, height)."""
    import cv2

    return _small(np.asarray(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY), np.uint8), size)


def _small(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA), np.uint8)


class _Steps:
    """Flow between frames that are `APART`, chained over several steps; what is no longer needed is forgotten.

    Args:
        grey: the pictures (h,w).
    """

    def __init__(self, grey: list[NDArray[np.uint8]]) -> None:
        self._grey, self._apart = grey, max(1, min(APART, len(grey) - 1))
        self._flow, self._known = Flow(), dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.uint8]]]()

    def chains(self, t: int) -> Iterator[tuple[int, tuple[Pixels, Pixels], NDArray[np.bool_]]]:
        """Other frames, where (x, y) each pixel of frame `t` is in them by flow, and whether it was followed there.

        Ask for the frames in order.
        """
        reach, (height, width) = max(CHAINS) * self._apart, self._grey[t].shape
        self._known = {pair: step for pair, step in self._known.items() if min(pair) >= t - reach}
        x, y = (side.astype(np.float32) for side in np.meshgrid(np.arange(width), np.arange(height)))
        for step in (self._apart, -self._apart):
            at, seen = (x, y), np.ones(x.shape, bool)
            for number in range(1, max(CHAINS) + 1):
                here, there = t + (number - 1) * step, t + number * step
                if not 0 <= there < len(self._grey):
                    break
                flow, good = self._step(here, there)
                if number > 1:
                    flow, good = value_at(flow, at), nearest_at(good, at)
                at = at[0] + flow[..., 0], at[1] + flow[..., 1]
                inside = (at[0] >= 0) & (at[0] <= width - 1) & (at[1] >= 0) & (at[1] <= height - 1)
                seen = seen & (good > 0) & inside
                if number in CHAINS:
                    yield there, at, seen

    def _step(self, here: int, there: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Flow (h,w,2) from one frame to another, and where it was followed (h,w)."""
        if (here, there) not in self._known:
            one, other = self._grey[here], self._grey[there]
            forth, back = self._flow(one, other), self._flow(other, one)
            self._known[here, there] = forth, followed(forth, back).astype(np.uint8)
            self._known[there, here] = back, followed(back, forth).astype(np.uint8)
        return self._known[here, there]


def _course(
    here: View, there: View, at: tuple[Pixels, Pixels], off: np.float32
) -> tuple[tuple[Pixels, Pixels], Pixels, NDArray[np.bool_]]:
    """The positions nearest to `at` among those that the camera's motion alone can cause.

    These form a line segment between the positions for the nearest and the farthest distance that the pixel may have,
    if the depth may be wrong by the factor `off`; also returns its length in pixels, and where the pixel would be
    hidden.
    """
    near_x, near_y, _ = projected(here, there, _around(here.depth, nearest=True) / off)
    far_x, far_y, _ = projected(here, there, _around(here.depth, nearest=False) * off)
    way_x, way_y = far_x - near_x, far_y - near_y
    squared = way_x * way_x + way_y * way_y
    share = ((at[0] - near_x) * way_x + (at[1] - near_y) * way_y) / np.maximum(squared, np.float32(1e-9))
    share = np.clip(share, 0, 1)
    alone = near_x + share * way_x, near_y + share * way_y
    z = projected(here, there, here.depth)[2]
    hidden = nearest_at(_around(there.depth, nearest=True), alone) * HIDDEN <= z
    return alone, np.sqrt(squared), hidden


def _around(depth: Pixels, *, nearest: bool) -> Pixels:
    """The nearest or the farthest depth within `REACH_PX` of each pixel."""
    import cv2

    reach = np.ones((2 * REACH_PX + 1, 2 * REACH_PX + 1), np.uint8)
    return np.asarray(cv2.erode(depth, reach) if nearest else cv2.dilate(depth, reach), np.float32)


def _gradient(picture: Pixels) -> Pixels:
    """Length of the gradient in levels per pixel, averaged over 3x3 pixels."""
    import cv2

    dx, dy = (cv2.Sobel(picture, cv2.CV_32F, *way, scale=0.125) for way in ((1, 0), (0, 1)))
    return np.asarray(np.sqrt(cv2.blur(dx * dx + dy * dy, (3, 3))), np.float32)


def _cleaned(moving: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without noise, smoothed over time and slightly enlarged."""
    import cv2

    grow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GROW_PX + 1, 2 * GROW_PX + 1))
    kept, half = np.zeros_like(moving), FRAMES // 2
    for t in range(len(moving)):
        window = moving[max(0, t - half) : t + half + 1]
        one = (window.sum(axis=0) * 2 >= len(window)).astype(np.uint8)
        one = cv2.morphologyEx(one, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, label, stats, _ = cv2.connectedComponentsWithStats(one)
        large = stats[:, cv2.CC_STAT_AREA] >= SMALLEST * one.size
        large[0] = False
        kept[t] = cv2.dilate(large[label].astype(np.uint8), grow) > 0
    return kept
