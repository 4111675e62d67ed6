"""Check whether the numbers of a depth file really are distances or relative disparity. Needs only numpy.

Two signs tell them apart. Both must agree before a warning is given, because false warnings teach people to ignore the
real ones:

- A plane in the world has a disparity that is affine in picture coordinates, 1/z = n.K^-1(x, y, 1) / d, whatever the
  scale and shift; its distances are convex along their slope. (Hartley and Zisserman, Multiple View Geometry, 13.1: a
  plane induces an affine inverse depth.) Floors, walls and streets are planes, so patches of the picture vote. A
  ceiling or a view from above votes as well as a floor does.
- Things low in the picture are near. The rank correlation of value and row shows this more clearly than the correlation
  with the guess of the estimator `plane` (docs/depth.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_FRAMES = 8
"""Maximum number of frames examined, spread evenly over the shot."""

WIDTH = 160
"""Frames are reduced to about this width by dropping pixels, because averaging would mix near and far."""

PATCH = 8
"""Side of a patch in pixels at that width."""

LEAST_VOTES = 16
"""Fewer patches than this decide nothing."""

MAJORITY = 4
"""The winning side needs this many times as many votes as the other. For true depth of the samples, the wrong side gets
0.1 times as many as the right one."""

LEAST_ORDER = 0.2
"""Rank correlation of value and row above which large values are low in the picture. The disparity of a street has 0.7,
of a room 0.6, of a room whose ceiling is as near as its floor 0, and of something seen from below as little as -1."""

FULL_RANGE_ENDS = (0.005, 0.97)
"""Integers that use both the lowest 0.5 % and the highest 3 % of their type's range were stretched to that range. As
16-bit millimetres they would have to show something nearer than 33 cm, something between 63.6 and 65.5 m, and nothing
farther away."""


@dataclass(frozen=True)
class Evidence:
    """The votes of the patches and rows of some frames.

    Attributes:
        affine: patches whose values are affine, and clearly more so than their inverses.
        inverse_affine: patches whose inverses are affine, and clearly more so than their values.
        convex, concave: patches whose values curve upwards, or downwards, along their slope.
        straight: patches whose values do not curve.
        order: rank correlation of value and row, -1 to 1; above 0 if values are large low in the picture.
    """

    affine: int
    inverse_affine: int
    convex: int
    concave: int
    straight: int
    order: float

    @property
    def is_disparity(self) -> bool:
        """Whether numbers that are read as distances certainly grow towards the camera."""
        if self.affine < max(LEAST_VOTES, MAJORITY * self.inverse_affine):
            return False
        # Between a ceiling and a floor the rows say nothing, but a complete lack of curvature is clear enough.
        bends_nowhere = self.straight >= max(LEAST_VOTES, MAJORITY * (self.convex + self.concave))
        return self.order >= LEAST_ORDER or (bends_nowhere and self.order > -LEAST_ORDER)

    @property
    def is_distance(self) -> bool:
        """Whether numbers that are read as disparity certainly grow away from the camera."""
        clear = self.convex >= max(LEAST_VOTES, MAJORITY * self.concave, self.straight / MAJORITY)
        return clear and self.order <= -LEAST_ORDER


def evidence(values: NDArray[np.floating], *, distances: bool) -> Evidence:
    """Gather evidence from the numbers of a shot.

    Args:
        values: (T,H,W); values that are not finite are ignored.
        distances: whether they are read as distances, so that values not above 0 are ignored too.
    """
    chosen = np.unique(np.linspace(0, len(values) - 1, MOST_FRAMES).round().astype(np.intp))
    step = max(1, round(values.shape[2] / WIDTH))
    frames = [values[number, ::step, ::step].astype(np.float64) for number in chosen]
    if distances:
        frames = [np.where(frame > 0, frame, np.nan) for frame in frames]
    patches = np.concatenate([_patches(frame) for frame in frames])
    orders = [_order(frame) for frame in frames]
    convex, concave, straight = _bends(patches, frames)
    return Evidence(*_affine(patches), convex, concave, straight, float(np.median(orders)))


def is_full_range(levels: NDArray[np.bool_]) -> bool:
    """Whether integers use the whole range of their type, as normalised depth does and distances do not.

    0 and the largest number alone do not count, because cameras and renderers use them to mark unknown pixels.

    Args:
        levels: (N,) which of the N numbers of the type occur.
    """
    low, high = (int(len(levels) * part) for part in FULL_RANGE_ENDS)
    return bool(levels[1:low].any() and levels[high:-1].any())


def _patches(frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """Patches (N, PATCH * PATCH) of a frame (H,W) whose values are all finite."""
    rows, columns = frame.shape[0] // PATCH, frame.shape[1] // PATCH
    cut = frame[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
    patches = cut.transpose(0, 2, 1, 3).reshape(-1, PATCH * PATCH)
    return patches[np.isfinite(patches).all(axis=1)]


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (2, PATCH * PATCH) relative to a patch's centre, and affine functions of them (PATCH * PATCH, 3)."""
    y, x = np.mgrid[:PATCH, :PATCH].reshape(2, -1) - (PATCH - 1) / 2
    return np.stack([x, y]), np.stack([np.ones_like(x), x, y], axis=1)


def _affine(patches: NDArray[np.float64]) -> tuple[int, int]:
    """Count the patches whose values are affine, and those whose inverses are."""
    patches = patches[(patches > 0).all(axis=1)]
    low, high = patches.min(axis=1, initial=np.inf), patches.max(axis=1, initial=0)
    # If values hardly differ, both are affine; if they differ too much, there is an edge.
    patches = patches[(high > 1.1 * low) & (high < 3 * low)]
    _, affine = _grid()
    flatten = np.eye(PATCH * PATCH) - affine @ np.linalg.pinv(affine)

    def left_over(values: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = values - values.mean(axis=1, keepdims=True)
        return ((centred @ flatten) ** 2).sum(axis=1) / (centred**2).sum(axis=1)

    straight, inverse = left_over(patches), left_over(1 / patches)
    smooth = np.minimum(straight, inverse) < 0.05
    return int((smooth & (2 * straight < inverse)).sum()), int((smooth & (2 * inverse < straight)).sum())


def _bends(patches: NDArray[np.float64], frames: list[NDArray[np.float64]]) -> tuple[int, int, int]:
    """Count the patches whose values are convex, concave and straight along their slope."""
    everything = np.concatenate([frame[np.isfinite(frame)] for frame in frames])
    span = float(np.subtract(*np.percentile(everything, [99, 1]))) if everything.size else 0.0
    place, affine = _grid()
    solve = np.linalg.pinv(affine)
    fitted = patches @ solve.T
    slope = np.linalg.norm(fitted[:, 1:], axis=1)
    rest = ((patches - fitted @ affine.T) ** 2).sum(axis=1)
    whole = ((patches - patches.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    sloped = (slope * PATCH > 0.01 * span) & (rest < 0.2 * whole)
    patches, fitted, slope, rest, whole = (each[sloped] for each in (patches, fitted, slope, rest, whole))
    along = (fitted[:, 1:] / slope[:, None]) @ place
    square = along**2
    square -= (square @ solve.T) @ affine.T  # leaves the part that no affine function has
    size = (square**2).sum(axis=1)
    curvature = (patches * square).sum(axis=1) / size
    smooth = rest - curvature**2 * size < 0.02 * whole
    bend = curvature * PATCH / slope  # relative change of the slope across a patch
    bend = bend[smooth]
    return int((bend > 0.15).sum()), int((bend < -0.15).sum()), int((abs(bend) < 0.05).sum())


def _order(frame: NDArray[np.float64]) -> float:
    """Rank correlation of value and row in a frame (H,W); 0 if all values are equal."""
    seen = np.isfinite(frame)
    values, rows = frame[seen], np.nonzero(seen)[0]
    if len(values) < 2 or np.ptp(values) == 0 or np.ptp(rows) == 0:
        return 0.0
    _, number, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[number]  # equal values share a rank
    return float(np.corrcoef(ranks, rows)[0, 1])
