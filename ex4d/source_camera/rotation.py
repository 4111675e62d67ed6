"""A camera that only turns, as on a tripod: its rotations, and the lens if they determine it. Needs numpy only.

A point at pixel x of frame i is seen at K_j R_j^T R_i K_i^-1 x in frame j, however far away it is (R camera-to-world).
Rotations and focal lengths minimise a robust sum over pairs of sightings, by Gauss-Newton.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras.rotations import from_quaternions
from ex4d.source_camera.tracks import Tracks

APART = (1, 4, 12, 36)
"""Numbers of frames between the two sightings of a pair."""

MOST_PAIRS = 20_000
ROUNDS, LAST_ROUNDS = (16.0, 8.0, 4.0, 2.0, 1.0), 24
"""Scales of the Cauchy loss in pixels, one step each, before the final one, and steps with the final one, of which a
zoom needs many."""

ENOUGH = 1e-5
"""Iteration stops at a smaller step, in radians or of the logarithm of the focal length."""

FOCAL_PRIOR = 0.5
"""Standard deviation of a loose prior on the logarithm of the focal length, for turns that do not determine it."""

ZOOM_PRIOR = 0.02
"""The same for the first frame of a zoom, because a zoom without rotation does not determine the focal length."""

ZOOM_STEP = 0.003
"""Approximate change of zoom speed per frame, in units of the logarithm of the focal length."""

FOCAL_KNOWN = 0.03
"""The focal length counts as found if the standard deviation of its logarithm is below this."""


@dataclass(frozen=True)
class Turning:
    """How a camera turned.

    Attributes:
        camera_to_world: (T,4,4), all at the origin; the first is the identity.
        focal: (T,) pixels.
        focal_sd: standard deviation of the logarithm of the first focal length.
        residual: median in pixels over the pairs that are farthest apart.
        cost: the minimised cost, the mean Cauchy loss over pairs.
        degrees: greatest angle from the first frame.
    """

    camera_to_world: NDArray[np.float64]
    focal: NDArray[np.float64]
    focal_sd: float
    residual: float
    cost: float
    degrees: float


def turning(
    tracks: Tracks,
    count: int,
    focal: float,
    centre: NDArray,
    *,
    known: bool,
    zooms: bool,
    loss: float = 1.0,
    near: NDArray[np.float64] | None = None,
    most: int = MOST_PAIRS,
) -> Turning | None:
    """The rotations of `count` frames, or None if consecutive frames share too few points.

    Args:
        tracks: sightings in pixels.
        count: T.
        focal: in pixels; kept if it is `known`, otherwise the starting point.
        centre: (2,) principal point.
        known: whether the focal length is known.
        zooms: whether it changes.
        loss: final scale of the Cauchy loss in pixels.
        near: (T,3,3) rotations that are already nearly right.
        most: maximum number of pairs of sightings to use.
    """
    pairs = _pairs(tracks, count, most)
    if pairs is None:
        return None
    a, b, apart = pairs
    i, j, x, y = tracks.frame[a], tracks.frame[b], tracks.xy[a] - centre, tracks.xy[b] - centre
    rotation = _chain(i, j, x, y, apart, focal, count) if near is None else near
    if rotation is None:
        return None
    log_focal, start = np.full(count, np.log(focal)), np.log(focal)
    normal = np.eye(1)
    for scale in (*(ROUNDS if near is None else ()), *(loss,) * LAST_ROUNDS):
        blocks, gradient, _ = _linearised(rotation, log_focal, i, j, x, y, scale)
        normal, right = _constrained(blocks, gradient, log_focal, start, known=known, zooms=zooms)
        step = -np.linalg.solve(normal, right).reshape(count, 4)
        small = np.clip(step[:, :3], -0.2, 0.2)
        rotation = rotation @ from_quaternions(np.concatenate([np.ones((count, 1)), small / 2], axis=1))
        log_focal = log_focal + np.clip(step[:, 3], -0.2, 0.2)
        if not zooms:
            log_focal[:] = log_focal[0]
        if scale == loss and np.abs(step).max() < ENOUGH:
            break
    _, _, residual = _linearised(rotation, log_focal, i, j, x, y, loss)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = rotation[0].T @ rotation
    farthest = apart == apart.max()
    spread = float(np.median(residual)) / 0.6745  # the normal equations are in units of 1 px
    sd = float(np.sqrt(np.linalg.inv(normal)[3, 3])) * max(spread, 0.05)
    angles = np.degrees(np.arccos(np.clip((np.trace(poses[:, :3, :3], axis1=1, axis2=2) - 1) / 2, -1, 1)))
    cost = float(np.log1p((residual / loss) ** 2).mean())
    return Turning(poses, np.exp(log_focal), sd, float(np.median(residual[farthest])), cost, float(angles.max()))


def _pairs(tracks: Tracks, count: int, most: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]] | None:
    """Pairs of sightings of the same point: their numbers, and how many frames apart; None if frames share too few.

    Pairs of the same two frames are in a row.
    """
    place = np.full((count, tracks.count), -1, np.intp)
    place[tracks.frame, tracks.track] = np.arange(len(tracks.frame))
    found = []
    for apart in APART:
        if apart >= count:
            break
        here, there = place[:-apart], place[apart:]
        both = (here >= 0) & (there >= 0)
        if apart == 1 and (both.sum(axis=1) < 8).any():
            return None
        found.append(np.stack([here[both], there[both], np.full(both.sum(), apart)]))
    first, second, apart_ = np.concatenate(found, axis=1)
    every = max(1, len(first) // most)
    return (first[::every], second[::every], apart_[::every]) if every > 1 else (first, second, apart_)


def _chain(
    i: NDArray, j: NDArray, x: NDArray, y: NDArray, apart: NDArray, focal: float, count: int
) -> NDArray[np.float64] | None:
    """Rotations (T,3,3) chained from each frame to the next: Wahba's problem by singular values, robust."""
    rotation = np.tile(np.eye(3), (count, 1, 1))
    rays_i, rays_j = _rays(x, np.full(len(x), focal)), _rays(y, np.full(len(y), focal))
    for t in range(1, count):
        pair = (j == t) & (apart == 1)
        if pair.sum() < 4:
            return None
        u, v, weight, step = rays_i[pair], rays_j[pair], np.ones(pair.sum()), np.eye(3)
        for _ in range(8):
            left, _, right = np.linalg.svd((u * weight[:, None]).T @ v)
            step = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right  # v -> u
            error = np.linalg.norm(v @ step.T - u, axis=1) * focal
            weight = 1 / (1 + (error / max(1.0, float(np.median(error)))) ** 2)
        rotation[t] = rotation[t - 1] @ step
    return rotation


def _rays(x: NDArray[np.float64], focal: NDArray[np.float64]) -> NDArray[np.float64]:
    rays = np.concatenate([x / focal[:, None], np.ones((len(x), 1))], axis=1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _linearised(
    rotation: NDArray, log_focal: NDArray, i: NDArray, j: NDArray, x: NDArray, y: NDArray, loss: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Normal matrix (T,T,4,4) and gradient (T,4) of rotation vectors and log focal lengths; residuals (N,)."""
    count, f_j = len(rotation), np.exp(log_focal[j])
    # Pairs of the same two frames are in a row, see `_pairs`, so their sums are products of two matrices.
    starts = np.flatnonzero(np.diff(i, prepend=-1) | np.diff(j, prepend=-1))
    ends = np.append(starts[1:], len(i))
    first, second = i[starts], j[starts]
    ray = np.concatenate([x / np.exp(log_focal[i])[:, None], np.ones((len(x), 1))], axis=1)
    relative = np.repeat(rotation[second].transpose(0, 2, 1) @ rotation[first], ends - starts, axis=0)
    seen = (relative @ ray[..., None])[..., 0]
    z = np.where(np.abs(seen[:, 2]) < 1e-6, 1e-6, seen[:, 2])
    shown = f_j[:, None] * seen[:, :2] / z[:, None]
    residual = shown - y
    project = np.zeros((len(x), 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = f_j / z
    project[:, :, 2] = -shown / z[:, None]
    by_ray = project @ relative
    linear = np.empty((len(x), 2, 9))
    linear[..., :3] = np.cross(ray[:, None], by_ray)
    linear[..., 3] = -(by_ray[..., :2] * ray[:, None, :2]).sum(-1)
    linear[..., 4:7] = np.cross(project, seen[:, None])
    linear[..., 7] = shown
    linear[..., 8] = residual
    weight = 1 / (1 + (residual**2).sum(1) / loss**2)
    weight[seen[:, 2] <= 0] = 0
    weighted = (linear[..., :8] * weight[:, None, None]).reshape(-1, 8).T
    rows = linear.reshape(-1, 9)
    sums = np.stack([weighted[:, 2 * a : 2 * b] @ rows[2 * a : 2 * b] for a, b in zip(starts, ends, strict=True)])
    blocks, gradient = np.zeros((count, count, 4, 4)), np.zeros((count, 4))
    for one, mine in ((first, slice(0, 4)), (second, slice(4, 8))):
        np.add.at(gradient, one, sums[:, mine, 8])
        for other, theirs in ((first, slice(0, 4)), (second, slice(4, 8))):
            np.add.at(blocks, (one, other), sums[:, mine, theirs])
    return blocks, gradient, np.hypot(*residual.T)


def _constrained(
    blocks: NDArray, gradient: NDArray, log_focal: NDArray, start: float, *, known: bool, zooms: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal equations (4T,4T) and (4T,) with the first rotation fixed and the assumptions about the lens."""
    count = len(gradient)
    normal = blocks.transpose(0, 2, 1, 3).reshape(4 * count, 4 * count).copy()
    right = gradient.reshape(-1).copy()
    normal[np.diag_indices(4 * count)] += 1e-6
    normal[[0, 1, 2], [0, 1, 2]] += 1e9
    lens = np.arange(count) * 4 + 3
    strength = 1 / (ZOOM_PRIOR if zooms else FOCAL_PRIOR) ** 2 if not known else 1e9
    normal[lens[0], lens[0]] += strength
    right[lens[0]] += strength * (log_focal[0] - start)
    # A zoom changes evenly, so its second differences are small; without a zoom the first differences are 0.
    smooth = np.diff(np.eye(count), n=2 if zooms else 1, axis=0) / (ZOOM_STEP if zooms else 3e-5)
    normal[np.ix_(lens, lens)] += smooth.T @ smooth
    right[lens] += smooth.T @ (smooth @ log_focal)
    return normal, right
