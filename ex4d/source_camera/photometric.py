"""Depth refined by the pictures: what stands still must look alike in other frames, and be equally far away.

Tracked points tell how far the depth is off where they are; the pictures tell it wherever there is texture. A frame's
depth and the camera say where each pixel is in other frames. If it looks different there, the gradient of the picture
tells how much farther or nearer it must be (direct alignment, as in Engel et al., Direct Sparse Odometry, 2016). A
smooth field of factors is fitted to all of these, by Gauss-Newton steps. Then the depths themselves are compared, and
frames that still disagree meet in the middle. That is all there is to do if the camera only turns. The field is used
only if pairs of frames that were not compared for it look more alike with it, and their depths agree better.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ex4d.progress import REFINING_DEPTH, Progress
from ex4d.source_camera.found import Steadying
from ex4d.source_camera.moving import small_grey
from ex4d.source_camera.scale_field import places, resampled, settled, upsampled
from ex4d.source_camera.steadying import frame_steadied
from ex4d.source_camera.views import Pixels, View, nearest_at, projected, shift_by_depth, value_at

AWAY = (3, 8, 16, 25)
"""Each frame is compared with those this many frames before and after. They have no common divisor, or some frames
would never be compared with others, not even by way of others..."""

HELD_OUT = (5, 12)
"""...and for the check with those."""

CHECKED = 5
"""Every n-th frame is checked."""

OFF, BETTER, ALIKE = 0.006, 0.95, 0.8
"""The field is used if the depths of frames checked differed by more than the first, the differences of their looks
fall to the second fraction, and those of their depths to the third. Measured with true depth: depths differ by 0.0014
at most, and by 5 times as much and more with the field; with the errors of models: by 0.014 and more, falling to 0.58
and less, and looks to 0.91 and less."""

SIDE, COARSE_SIDE = 512, 256
"""Longer side in pixels of the pictures compared, and of the depths. Pictures of 256 halve what is gained."""

BLURS = (2.0, 1.0, 1.0)
"""Standard deviation in pixels of the blur of the pictures, for each step: blurred ones lead from farther away."""

LIGHT = 12.0
"""Brightness that varies over more than this many pixels is removed, because it changes with the exposure."""

NOISE = 10.0
"""Differences of this many levels count a quarter of what small ones do: such a pixel is hidden, moves, or shines."""

LINK, LINK_OF_DEPTH = 1000.0, 100.0
"""Weights of the squared differences between neighbours on the grid, in steps by look and by depth. A difference of
`NOISE` levels has weight 1, and so does one of depth by a tenth."""

SAME, HALF, OF_DEPTH = 0.15, 0.03, 100.0
"""Depths are compared where their logarithms differ by less than the first; a difference as large as the second counts
half; and their weight."""

ROUNDS = 6
"""Number of steps; those after `BLURS` are by depth."""

HIDDEN = 1.15
"""A pixel is hidden where something nearer by this factor is in front of it."""

NEAREST = 0.1
"""A pixel is not compared if it is behind the other camera, or nearer to it than this fraction of its own depth."""

MOST = 0.15
"""Maximum absolute value of the field."""

_AT_ONCE = 4
"""Frames compared at the same time; each takes about 10 MB. Besides, up to `2 * max(AWAY) + _AT_ONCE` frames of about
2.5 MB are kept."""


@dataclass(frozen=True)
class _Frame:
    """A frame at the size at which it is compared.

    Attributes:
        look: (h,w) brightness without what varies slowly; empty if only depths are compared.
        view: its depth as refined so far.
        log: (h,w) logarithm of that depth.
        near: (h,w) the nearest depth around each pixel.
        moving: (h,w) uint8, 1 where things move.
    """

    look: Pixels
    view: View
    log: Pixels
    near: Pixels
    moving: NDArray[np.uint8]


_Compared = TypeVar("_Compared")


def refined(
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    moving: NDArray[np.bool_],
    camera_to_world: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    scale: float,
    steady: Steadying,
    progress: Progress,
    *,
    moves: bool = True,
) -> Steadying:
    """What steadies the depth, with a field that is refined by the pictures; the same if that is not clearly better.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32, before it is steadied.
        moving: (T,h,w) what moves by itself, at any size.
        camera_to_world: (T,4,4).
        intrinsics: (T,3,3) in pixels of (H,W).
        scale: factor that converts the steadied depth to the unit of the camera.
        steady: what steadies it so far.
        progress: called in as many steps as there are frames; raises `Cancelled` to stop.
        moves: whether the camera changes position. If it only turns, pictures do not tell distances.
    """
    shot = _Shot(frames, depth, moving, camera_to_world, intrinsics, scale, steady, progress)
    field, blur = np.zeros((len(frames), *shot.places)), BLURS[-1] if moves else None
    before = shot.differences(field, blur)
    if not OFF < before[1] < np.inf:
        return shot.done(steady)
    if moves:
        for some in BLURS:
            field = shot.stepped(field, some, LINK)
        after = shot.differences(field, blur)
        if not (after[0] < BETTER * before[0] and after[1] < ALIKE * before[1]):
            return shot.done(steady)
        before = after
    agreeing = field
    for _ in range(ROUNDS - len(BLURS) * moves):
        agreeing = shot.stepped(agreeing, None, LINK_OF_DEPTH)
    if shot.differences(agreeing, None)[1] < ALIKE * before[1]:
        field = agreeing
    elif not moves:
        return shot.done(steady)
    if steady.field is not None:
        field = field + np.stack([resampled(one, *shot.places) for one in steady.field])
    return shot.done(replace(steady, field=field - field.mean()))


class _Shot:
    """The frames to compare, and fields of them; see `refined`."""

    def __init__(
        self,
        frames: NDArray[np.uint8],
        depth: NDArray[np.float32],
        moving: NDArray[np.bool_],
        camera_to_world: NDArray[np.float64],
        intrinsics: NDArray[np.float64],
        scale: float,
        steady: Steadying,
        progress: Progress,
    ) -> None:
        self._frames, self._depth, self._moving = frames, depth, moving
        self._poses, self._lenses, self._scale, self._steady = camera_to_world, intrinsics, np.float32(scale), steady
        self._progress, self._told, self._steps = progress, 0, (ROUNDS + 3) * len(frames)
        self.places = places(*depth.shape[1:])

    def done(self, steady: Steadying) -> Steadying:
        """Report that the work is done, and return what was given."""
        self._progress(REFINING_DEPTH, len(self._frames), len(self._frames))
        return steady

    def differences(self, field: NDArray[np.float64], blur: float | None) -> tuple[float, float]:
        """How differently pairs of frames look that are compared for the check, in levels, 0 without a `blur`; and the
        median difference of the logarithms of their depths. Infinite if nothing can be compared."""
        found = []
        for pairs in self._each(range(0, len(self._frames), CHECKED), HELD_OUT, field, blur, _differences):
            found += pairs
        if not found:
            return np.inf, np.inf
        looks, depths, pixels = np.array(found).T
        return float(np.average(looks, weights=pixels)), float(np.average(depths, weights=pixels))

    def stepped(self, field: NDArray[np.float64], blur: float | None, link: float) -> NDArray[np.float64]:
        """The field (T,Y,X) after a step for all frames: by how they look with this blur, or by their depths."""
        compare = _by_depth if blur is None else _by_look
        evidence = self._each(range(len(field)), AWAY, field, blur, compare)
        return np.stack([np.clip(settled(f, *e, link), -MOST, MOST) for f, e in zip(field, evidence, strict=True)])

    def _each(
        self,
        chosen: range,
        away: tuple[int, ...],
        field: NDArray[np.float64],
        blur: float | None,
        compare: Callable[[_Frame, list[_Frame]], _Compared],
    ) -> Iterator[_Compared]:
        """What a comparison with the frames that far before and after gives for each frame chosen, in order."""
        count, kept = len(self._frames), dict[int, _Frame]()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, len(chosen), _AT_ONCE):
                some = chosen[first : first + _AT_ONCE]
                wanted = sorted({t for each in some for t in (each, *_others(each, away, count))})
                kept = {t: kept[t] for t in range(wanted[0], count) if t in kept}
                missing = [t for t in wanted if t not in kept]
                kept.update(zip(missing, pool.map(lambda t: self._frame(t, field, blur), missing), strict=True))
                given = [[kept[other] for other in _others(t, away, count)] for t in some]
                for result in pool.map(compare, [kept[t] for t in some], given):
                    self._told += chosen.step
                    yield result
                    self._progress(REFINING_DEPTH, min(self._told * count // self._steps, count), count)

    def _frame(self, t: int, field: NDArray[np.float64], blur: float | None) -> _Frame:
        import cv2

        height, width = self._depth.shape[1:]
        shrink = min(1.0, (COARSE_SIDE if blur is None else SIDE) / max(height, width))
        size = round(width * shrink), round(height * shrink)
        look = np.zeros((0, 0), np.float32)
        if blur is not None:
            grey = cv2.GaussianBlur(small_grey(self._frames[t], size).astype(np.float32), (0, 0), blur)
            look = np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), LIGHT), np.float32)
        small = np.asarray(cv2.resize(self._depth[t], size, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
        small = frame_steadied(small, self._steady, t) * self._scale * np.exp(upsampled(field[t], *size))
        lens = np.diag([size[0] / width, size[1] / height, 1.0]) @ self._lenses[t]
        moves = cv2.resize(self._moving[t].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        near = np.asarray(cv2.erode(small, np.ones((5, 5), np.uint8)), np.float32)
        return _Frame(look, View(small, self._poses[t], lens), np.log(small), near, np.asarray(moves, np.uint8))


def _others(t: int, away: tuple[int, ...], count: int) -> list[int]:
    """The frames that far before and after frame `t` of `count`."""
    return [t + step for some in away for step in (-some, some) if 0 <= t + step < count]


def _reprojected(here: _Frame, there: _Frame) -> tuple[tuple[Pixels, Pixels], Pixels]:
    """Where the pixels (h,w) of a frame are in another, and how far away from its camera."""
    x, y, z = projected(here.view, there.view, here.view.depth)
    return (x, y), z


def _visible(here: _Frame, there: _Frame, at: tuple[Pixels, Pixels], z: Pixels) -> NDArray[np.bool_]:
    """Which pixels (h,w) that stand still can be compared with another frame."""
    height, width = z.shape
    inside = (at[0] > 0) & (at[0] < width - 1) & (at[1] > 0) & (at[1] < height - 1)
    inside &= z > NEAREST * here.view.depth
    inside &= (here.moving | nearest_at(there.moving, at)) == 0
    return np.asarray(inside & (nearest_at(there.near, at) * HIDDEN > z))


def _by_look(here: _Frame, others: list[_Frame]) -> tuple[Pixels, Pixels]:
    """What the looks of other frames say: sums (h,w) of `weight * slope**2`, and of `weight * slope * rest`."""
    slopes, rests = np.zeros((2, *here.look.shape), np.float32)
    own = _slope(here.look)
    for there in others:
        at, z = _reprojected(here, there)
        rest = value_at(there.look, at) - here.look
        x, y = shift_by_depth(here.view, there.view, at, z)
        across, down = ((value_at(one, at) + mine) / 2 for one, mine in zip(_slope(there.look), own, strict=True))
        slope = across * x + down * y
        weight = _visible(here, there, at, z) / (NOISE * (1 + (rest / NOISE) ** 2)) ** 2
        slopes += weight * slope * slope
        rests -= weight * slope * rest
    return slopes, rests


def _differences(here: _Frame, others: list[_Frame]) -> list[tuple[float, float, int]]:
    """For each of the others, how differently it looks, in levels; the median difference of the depths' logarithms; and
    the number of pixels compared."""
    found = []
    for there in others:
        at, z = _reprojected(here, there)
        visible = _visible(here, there, at, z)
        if not visible.any():
            continue
        look = 0.0
        if here.look.size:
            off = np.abs(value_at(there.look, at) - here.look)[visible]
            look = float(np.minimum(off, NOISE).mean())
        found.append((look, float(np.median(np.abs(value_at(there.log, at) - np.log(z))[visible])), visible.sum()))
    return found


def _by_depth(here: _Frame, others: list[_Frame]) -> tuple[Pixels, Pixels]:
    """What the depths of other frames say, as `_by_look`. The frame itself has as much weight as one of the others, or
    two frames would only swap their depths."""
    slopes, rests = np.zeros((2, *here.log.shape), np.float32)
    for there in others:
        at, z = _reprojected(here, there)
        rest = nearest_at(there.log, at) - np.log(z)
        weight = (_visible(here, there, at, z) & (np.abs(rest) < SAME)) * OF_DEPTH / (1 + (rest / HALF) ** 2)
        slopes += weight
        rests += weight * rest
    return slopes * np.float32(1 + 1 / max(len(others), 1)), rests


def _slope(look: Pixels) -> tuple[Pixels, Pixels]:
    """Gradient (x, y) of a picture in levels per pixel."""
    import cv2

    across, down = (cv2.Sobel(look, cv2.CV_32F, *way, scale=0.125) for way in ((1, 0), (0, 1)))
    return np.asarray(across, np.float32), np.asarray(down, np.float32)
