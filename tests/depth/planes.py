"""Distances in worlds of planes and spheres, as seen by a pinhole camera."""

import numpy as np
from numpy.typing import NDArray


def room(
    pitch: float = 0.0,
    *,
    floor: float = 1.6,
    ceiling: float = np.inf,
    walls: float = 6.0,
    end: float = 80.0,
    width: int = 320,
    height: int = 176,
) -> NDArray[np.float32]:
    """Depth (1,H,W) along the optical axis between planes at these distances; a street if there is no ceiling.

    Args:
        pitch: how far the camera looks down, in radians.
    """
    focal = width
    y, x = (np.mgrid[:height, :width] + 0.5 - np.array([height, width])[:, None, None] / 2) / focal
    down, ahead = np.cos(pitch) * y + np.sin(pitch), np.cos(pitch) - np.sin(pitch) * y
    depth = np.full((height, width), np.inf)
    for speed, distance in ((down, floor), (-down, ceiling), (np.abs(x), walls), (ahead, end)):
        there = speed > 1e-9
        depth[there] = np.minimum(depth[there], distance / speed[there])
    return depth.astype(np.float32)[None]


def at_random(rng: np.random.Generator, width: int = 160, height: int = 96) -> NDArray[np.float32]:
    """Depth (1,H,W) of a random world: floor, ceiling, walls at any angle, spheres, any lens and pitch, some noise."""
    focal = rng.uniform(0.6, 2) * width
    y, x = np.mgrid[:height, :width] + 0.5 - np.array([height, width])[:, None, None] / 2
    rays = np.stack([x, y, np.full_like(x, focal)]) / focal
    depth = np.full((height, width), rng.uniform(10, 200))
    pitch = rng.uniform(-0.6, 0.8)
    down = np.array([0, np.cos(pitch), np.sin(pitch)])
    everywhere = np.ones_like(x, bool)
    planes = [
        (side, rng.uniform(0.3, 3), everywhere) for side, often in ((down, 0.8), (-down, 0.5)) if rng.random() < often
    ]
    for normal in rng.normal(size=(rng.integers(0, 4), 3)) * [1, 0.3, 1]:
        half = x * rng.normal() + y * rng.normal() + 40 * rng.normal() > 0
        planes.append((normal / np.linalg.norm(normal), rng.uniform(1, 15), half))
    for normal, distance, where in planes:
        speed = np.tensordot(normal, rays, 1)
        there = (speed > 1e-6) & where
        depth[there] = np.minimum(depth[there], distance / speed[there])
    for _ in range(rng.integers(0, 9)):
        far = rng.uniform(1, 20)
        centre = far * np.array([rng.uniform(-0.6, 0.6) * width / focal, rng.uniform(-0.5, 0.5) * height / focal, 1])
        radius = far * rng.uniform(0.1, 0.5)
        square, along = (rays**2).sum(axis=0), np.tensordot(centre, rays, 1)
        root = along**2 - square * (centre @ centre - radius**2)
        front = (along - np.sqrt(np.maximum(root, 0))) / square
        hit = (root > 0) & (front > 0.1)
        depth[hit] = np.minimum(depth[hit], front[hit])
    even, stereo = rng.choice([0, 0.01]), rng.choice([0, 0.003])  # a stereo camera's grows with the square
    noise = (even * depth + stereo * depth**2) * rng.standard_normal(depth.shape)
    return np.maximum(depth + noise, 0.1).astype(np.float32)[None]


def disparity(depth: NDArray, scale: float = 1.0, shift: float = 0.0) -> NDArray[np.float32]:
    """Relative disparity in [shift, shift + scale]."""
    inverse = 1 / depth.astype(np.float64)
    inverse = (inverse - inverse.min()) / (np.ptp(inverse) or 1)
    return (scale * inverse + shift).astype(np.float32)


def back(distances: NDArray, truth: NDArray) -> float:
    """Largest relative error of disparity after the single scale and shift of a shot that fit the truth best."""
    x, y = (1 / each.astype(np.float64).ravel() for each in (distances, truth))
    scale, shift = np.polyfit(x, y, 1)
    return float(np.abs((scale * x + shift) / y - 1).max())
