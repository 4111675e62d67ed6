"""Positions of tracked points in the world, given cameras, and how well the two agree. Needs numpy only."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.tracks import Tracks

STEPS = 5
"""Gauss-Newton steps after the linear solution."""

LOSS_PX = 1.0
"""Scale of the Cauchy loss of a sighting."""

FARTHEST = 1e4
"""Farthest distance of a point, in units of the cameras' extent."""


@dataclass(frozen=True)
class Structure:
    """Points triangulated from cameras and sightings.

    Attributes:
        points: (M,3) float64 in the world of the cameras.
        angle: (M,) radians between the two rays that are farthest apart; about 0 if nothing determines the distance.
        off: (N,2) pixels from the projection of the point to each sighting.
        z: (N,) distance along the optical axis of each sighting's camera.
    """

    points: NDArray[np.float64]
    angle: NDArray[np.float64]
    off: NDArray[np.float64]
    z: NDArray[np.float64]

    @cached_property
    def residual(self) -> NDArray[np.float64]:
        """(N,) length of `off`."""
        return np.asarray(np.hypot(*self.off.T), np.float64)


def triangulated(tracks: Tracks, camera_to_world: NDArray[np.float64], intrinsics: NDArray[np.float64]) -> Structure:
    """Points that best fit their sightings: the point nearest to all rays (least squares), refined in pixels.

    If cameras hardly move between the sightings, the point is placed far away along its ray; the residual then shows
    how well a camera that only turns explains it.

    Args:
        tracks: sightings in pixels.
        camera_to_world: (T,4,4).
        intrinsics: (T,3,3) in the same pixels.
    """
    t, frames, count = tracks.track, tracks.frame, tracks.count
    k, pose = intrinsics[frames], camera_to_world[frames]
    local = np.stack(
        [(tracks.xy[:, 0] - k[:, 0, 2]) / k[:, 0, 0], (tracks.xy[:, 1] - k[:, 1, 2]) / k[:, 1, 1], np.ones(len(t))], 1
    )
    ray = np.einsum("nij,nj->ni", pose[:, :3, :3], local / np.linalg.norm(local, axis=1, keepdims=True))
    eye = pose[:, :3, 3]
    extent = max(float(np.linalg.norm(np.ptp(camera_to_world[:, :3, 3], axis=0))), 1e-6)
    mean_ray = _sums(t, ray, count)
    mean_ray /= np.linalg.norm(mean_ray, axis=1, keepdims=True) + 1e-12
    mean_eye = _sums(t, eye, count) / np.maximum(np.bincount(t, minlength=count), 1)[:, None]
    across = np.eye(3) - ray[:, :, None] * ray[:, None, :]
    normal = _sums(t, across, count)
    # A weak pull towards a far point keeps the system solvable if all rays are parallel.
    far = mean_eye + mean_ray * extent * FARTHEST
    weak = 1e-12 * np.eye(3)
    right = _sums(t, np.einsum("nij,nj->ni", across, eye), count) + 1e-12 * far
    points = np.asarray(np.linalg.solve(normal + weak, right[..., None])[..., 0], np.float64)
    behind = ((points - mean_eye) * mean_ray).sum(1) < 1e-3 * extent
    points[behind] = far[behind]
    points = _refined(points, tracks, camera_to_world, k, extent)
    residual, z, _, _ = _seen(points, tracks, camera_to_world, k)
    angle = np.zeros(count)
    direction = points[t] - eye
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-12
    middle = _sums(t, direction, count)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True) + 1e-12
    apart = np.arccos(np.clip((direction * middle[t]).sum(1), -1, 1))
    np.maximum.at(angle, t, 2 * apart)
    return Structure(points, angle, -residual, z)


def _refined(
    points: NDArray[np.float64], tracks: Tracks, poses: NDArray[np.float64], k: NDArray[np.float64], extent: float
) -> NDArray[np.float64]:
    """Gauss-Newton. On inverse distance it would be more exact far away, but only near points need refinement."""
    count = len(points)
    for _ in range(STEPS):
        residual, z, local, rotation = _seen(points, tracks, poses, k)
        weight = 1 / (1 + (residual**2).sum(1) / LOSS_PX**2)
        weight[z <= 1e-6 * extent] = 0
        safe = np.where(np.abs(z) < 1e-9, 1e-9, z)
        du = np.zeros((len(z), 2, 3))
        du[:, 0, 0], du[:, 0, 2] = k[:, 0, 0] / safe, -k[:, 0, 0] * local[:, 0] / safe**2
        du[:, 1, 1], du[:, 1, 2] = k[:, 1, 1] / safe, -k[:, 1, 1] * local[:, 1] / safe**2
        jacobian = np.einsum("nij,njk->nik", du, rotation)
        normal = _sums(tracks.track, np.einsum("nki,nkj,n->nij", jacobian, jacobian, weight), count)
        gradient = _sums(tracks.track, np.einsum("nki,nk,n->ni", jacobian, residual, weight), count)
        damping = 1e-6 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-18
        step = np.linalg.solve(normal + damping * np.eye(3), gradient[..., None])[..., 0]
        reach = np.linalg.norm(points - poses[0, :3, 3], axis=1)
        length = np.linalg.norm(step, axis=1)
        step *= np.minimum(1, 0.5 * reach / (length + 1e-12))[:, None]
        points = points - step
    return points


def _seen(
    points: NDArray[np.float64], tracks: Tracks, poses: NDArray[np.float64], k: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Residuals (N,2) in pixels, distances (N,), points in camera axes (N,3), and rotations (N,3,3) from the world."""
    pose = poses[tracks.frame]
    rotation = pose[:, :3, :3].transpose(0, 2, 1)
    local = np.einsum("nij,nj->ni", rotation, points[tracks.track] - pose[:, :3, 3])
    z = local[:, 2]
    safe = np.where(np.abs(z) < 1e-9, 1e-9, z)
    seen = np.stack([k[:, 0, 0] * local[:, 0] / safe + k[:, 0, 2], k[:, 1, 1] * local[:, 1] / safe + k[:, 1, 2]], 1)
    residual = seen - tracks.xy
    residual[z <= 0] = 1e3
    return residual, z, local, rotation


def _sums(index: NDArray[np.intp], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Sum of rows by index (count, ...)."""
    flat = values.reshape(len(values), -1)
    sums = np.stack([np.bincount(index, column, count) for column in flat.T], axis=1)
    return np.asarray(sums.reshape(count, *values.shape[1:]), np.float64)
