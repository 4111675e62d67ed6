"""Depth whose scale varies across the picture, fitted to points whose distance is known.

Depth models bend the scene: they put one side of the picture too near and another too far, and this changes slowly. A
camera that moves reveals the true distances of the points that were tracked, so the error is known there. A smooth
field of factors, on a coarse grid of places and frames, is fitted to these errors. It is first fitted without some of
the points, and used only if it makes the depth better at those too. Where there are no points, and in what moves, the
depth gets the factor of its surroundings, whatever its distance. The idea is the flexible deformation of Kopf
et al., Robust Consistent Video Depth Estimation (CVPR 2021), fitted to points instead of to pairs of frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.candidate import Candidate
from ex4d.source_camera.spreading import swept, with_links
from ex4d.source_camera.tracks import Tracks

ROWS, COLUMNS, EVERY = 5, 8, 6
"""Grid points from edge to edge of the picture, and the interval in frames between two grids."""

STIFF = 0.3
"""Weight of each squared difference between grid points that are neighbours in space or time, where that of a sighting
is 1."""

WRONG = 0.05
"""Residuals of the logarithm larger than this hardly count: such a point moves, or lies beside an edge."""

SURE_ANGLE = np.radians(3)
"""A point whose rays meet at this angle or more counts fully, in radians."""

FEWEST = 200
"""With fewer points, nothing is fitted."""

HELD_OUT = 4
"""One in `HELD_OUT` points is left out for the check."""

OFF, BETTER = 0.01, 0.7
"""The field is used if the mean error of the points left out is more than `OFF`, and if that and the error that three
in four stay below both fall to this fraction. Measured: 1.0 with true depth, 0.3 with the errors of models."""

CAP = 0.3
"""Errors count up to this much in the mean."""

MOST_SIGHTINGS = 150_000
"""Of more sightings, every n-th is used; each takes about 1.7 KB."""

MOST_CHANGE = 1.0
"""Maximum absolute value of the field: a factor of e."""

ROUNDS = 6
"""Of reweighting."""

PLACES = 64
"""Grid points along the longer side of the picture. 128 are not better."""

SWEEPS = (60, 60, 60, 60)
"""Number of Jacobi sweeps, for the grid itself and each time for one half as large."""


@dataclass(frozen=True)
class _Errors:
    """How far the depth is off at sightings.

    Attributes:
        frame: (N,) intp.
        place: (N,G) float64, the weights of the G grid points of the frame; few differ from 0.
        off: (N,) float64, logarithm of the factor by which the depth is too small.
        weight: (N,) float64, 0 to 1, how much it counts.
    """

    frame: NDArray[np.intp]
    place: NDArray[np.float64]
    off: NDArray[np.float64]
    weight: NDArray[np.float64]

    def kept(self, keep: NDArray[np.bool_]) -> "_Errors":
        """Only the sightings to `keep` (N,)."""
        return _Errors(self.frame[keep], self.place[keep], self.off[keep], self.weight[keep])


def field_of(
    candidate: Candidate, tracks: Tracks, at: NDArray[np.float64], sure: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Logarithms of the factors that put the depth right, or None if they would not make it clearly better.

    They are 0 on average, so that the depth keeps its scale.

    Args:
        candidate: a camera that moves, with its points.
        tracks: their sightings.
        at: (N,) depth at each.
        sure: (N,) whether that is not at an edge.
        size: width and height of the pictures of the sightings.

    Returns:
        (T,Y,X) float64, for places evenly spread over the picture from edge to edge, see `upsampled`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.log(candidate.structure.z / at)
    good = np.flatnonzero(candidate.tells_depth(tracks) & sure & np.isfinite(off))
    good = good[:: -(-len(good) // MOST_SIGHTINGS) or 1]
    point = tracks.track[good]
    held = point % HELD_OUT == 1  # not 0, because the search holds out multiples of a number too
    if min(len(np.unique(point[held])), len(np.unique(point[~held]))) * HELD_OUT < FEWEST:
        return None
    angle = np.minimum(candidate.structure.angle[point] / SURE_ANGLE, 1)
    x, y = (tracks.xy[good] / size).T
    off = off[good] - np.median(off[good])
    errors, count = _Errors(tracks.frame[good], _weights(y, x), off, angle**2), len(candidate.camera_to_world)
    seen = errors.kept(held)
    rest = seen.off - (seen.place * _fitted(errors.kept(~held), count)[seen.frame]).sum(1)
    before, after = (
        np.array([np.minimum(np.abs(one), CAP).mean(), np.quantile(np.abs(one), 0.75)]) for one in (seen.off, rest)
    )
    if not (before[0] > OFF and (after <= BETTER * before).all()):
        return None
    field = _fitted(errors, count)
    return np.clip(field - field.mean(), -MOST_CHANGE, MOST_CHANGE).reshape(count, ROWS, COLUMNS)


def upsampled(field: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """The field of one frame (Y,X) for each pixel (H,W)."""
    rows, columns = field.shape
    down = _between((np.arange(height) + 0.5) / height, rows)
    across = _between((np.arange(width) + 0.5) / width, columns)
    return np.asarray(down @ field @ across.T, np.float32)


def places(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a field with `PLACES`."""
    part = PLACES / max(height, width)
    return max(2, round(height * part)), max(2, round(width * part))


def settled(
    field: NDArray[np.float64], slopes: NDArray[np.float32], rests: NDArray[np.float32], link: float
) -> NDArray[np.float64]:
    """A smooth field (Y,X) after a Gauss-Newton step from another, approximately, from coarse to fine.

    Args:
        field: (Y,X), logarithms.
        slopes: (h,w) sums of `weight * slope**2` over the evidence of each pixel.
        rests: (h,w) sums of `weight * slope * rest`, with what the pixel's logarithm should change by at slope 1.
        link: weight of the squared difference of neighbours on the grid; that of a place's own value is 1, so that it
            is 0 where there is no evidence.
    """
    import cv2

    rows, columns = field.shape
    strength = pooled(slopes, rows, columns)
    own = pooled(rests, rows, columns) + strength * field.astype(np.float32)
    score = np.zeros((1, 1), np.float32)
    for level in reversed(range(len(SWEEPS))):
        size, area = (max(1, columns >> level), max(1, rows >> level)), np.float32(4**level)
        here, weight = (
            np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA) * area) for one in (own, strength)
        )
        across, down = (np.full((size[1] - y, size[0] - x), link, np.float32) for x, y in ((1, 0), (0, 1)))
        start = np.asarray(cv2.resize(score, size, interpolation=cv2.INTER_LINEAR), np.float32)
        score = swept(start, here, with_links(weight + area, across, down), across, down, SWEEPS[level])
    return score.astype(np.float64)


def pooled(values: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Values of pixels (H,W) summed at the grid points (rows,columns) from which `upsampled` takes what they get."""
    down, across = (_between((np.arange(n) + 0.5) / n, k) for n, k in zip(values.shape, (rows, columns), strict=True))
    return np.asarray(down.T.astype(np.float32) @ values @ across.astype(np.float32), np.float32)


def resampled(field: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """The field of one frame (Y,X) on another grid (rows,columns)."""
    down = _between(np.linspace(0, 1, rows), field.shape[0])
    across = _between(np.linspace(0, 1, columns), field.shape[1])
    return np.asarray(down @ field @ across.T, np.float64)


def _between(place: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Weights (N,count) of points evenly spread from 0 to 1, for places (N,) between them."""
    at = np.clip(place * (count - 1), 0, count - 1)
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(count)), 0), np.float64)


def _weights(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (N,G) of grid points for places (N,) from 0 to 1."""
    return (_between(y, ROWS)[:, :, None] * _between(x, COLUMNS)[:, None]).reshape(len(x), -1)


def _fitted(errors: _Errors, count: int) -> NDArray[np.float64]:
    """The field (T,G) of `count` frames: least squares, reweighted by a Cauchy loss."""
    knots = (count - 1) // EVERY + 2
    slab, way = np.divmod(errors.frame, EVERY)
    way = way / EVERY
    slabs = [np.flatnonzero(slab == number) for number in range(knots - 1)]
    found, smooth = np.zeros((knots, ROWS * COLUMNS)), STIFF * _differences()
    for _ in range(ROUNDS):
        here = (1 - way)[:, None] * found[slab] + way[:, None] * found[slab + 1]
        rest = errors.off - (errors.place * here).sum(1)
        weight = errors.weight / (1 + (rest / WRONG) ** 2)
        own, next_to, right = np.tile(smooth, (knots, 1, 1)), [], np.zeros_like(found)
        own[:-1] += STIFF * np.eye(ROWS * COLUMNS)
        own[1:] += STIFF * np.eye(ROWS * COLUMNS)
        for number, those in enumerate(slabs):
            place, late, strong = errors.place[those], way[those], weight[those]
            early = place * (strong * (1 - late))[:, None]
            later = place * (strong * late)[:, None]
            own[number] += early.T @ (place * (1 - late)[:, None])
            own[number + 1] += later.T @ (place * late[:, None])
            next_to.append(early.T @ (place * late[:, None]) - STIFF * np.eye(ROWS * COLUMNS))
            right[number] += early.T @ errors.off[those]
            right[number + 1] += later.T @ errors.off[those]
        found = _solved(own, next_to, right)
    at = np.arange(count)
    first, way = at // EVERY, (at % EVERY / EVERY)[:, None]
    return np.asarray((1 - way) * found[first] + way * found[first + 1], np.float64)


def _differences() -> NDArray[np.float64]:
    """The matrix (G,G) of the sum of squared differences between neighbours on the grid."""
    numbers = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    made = 1e-9 * np.eye(ROWS * COLUMNS)  # keeps the system solvable where no point pins the level
    for one, other in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        for a, b in zip(one.ravel(), other.ravel(), strict=True):
            made[[a, b], [a, b]] += 1
            made[[a, b], [b, a]] -= 1
    return np.asarray(made, np.float64)


def _solved(
    own: NDArray[np.float64], next_to: list[NDArray[np.float64]], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The solution (K,G) of a symmetric block tridiagonal system: `own` (K,G,G) on the diagonal, `next_to` above it."""
    own, right = own.copy(), right.copy()
    for number, beside in enumerate(next_to):
        both = np.linalg.solve(own[number], np.column_stack([beside, right[number]]))
        own[number + 1] -= beside.T @ both[:, :-1]
        right[number + 1] -= beside.T @ both[:, -1]
    found = np.zeros_like(right)
    found[-1] = np.linalg.solve(own[-1], right[-1])
    for number in range(len(next_to) - 1, -1, -1):
        found[number] = np.linalg.solve(own[number], right[number] - next_to[number] @ found[number + 1])
    return found
