"""Placing a camera in a world that is slightly off so that it sees what it should."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

STEPS, STEP = 25, 1e-6
LOSS_PX = 1.0


@dataclass(frozen=True)
class Seen:
    """Points (N,3) of a world, and pixels (N,2) at which another world's cameras (N,4,4), world-to-camera, see them.

    `lenses` (N,3,3) are those of the cameras in the world of the points.
    """

    points: NDArray[np.float64]
    pixels: NDArray[np.float64]
    cameras: NDArray[np.float64]
    lenses: NDArray[np.float64]


def placing(seen: Seen) -> NDArray[np.float64]:
    """The similarity (4,4) from the world of the points to that of the cameras that shows the points correctly.

    One scale, rotation and translation for all cameras (Levenberg-Marquardt on absolute distances), as by an artist who
    places the camera by what it shows.
    """
    numbers, damping = np.zeros(7), 1e-3
    off = _off(seen, numbers)
    for _ in range(STEPS):
        slopes = np.stack([(_off(seen, numbers + STEP * one) - off) / STEP for one in np.eye(7)], axis=-1)
        weights = 1 / np.maximum(np.hypot(*off.T) / LOSS_PX, 1)
        normal = np.einsum("n,nki,nkj->ij", weights, slopes, slopes)
        down = np.einsum("n,nki,nk->i", weights, slopes, off)
        there = numbers - np.linalg.solve(normal + damping * np.diag(np.diag(normal)), down)
        off_there = _off(seen, there)
        if np.hypot(*off_there.T).sum() < np.hypot(*off.T).sum():
            numbers, off, damping = there, off_there, damping / 10
        else:
            damping *= 10
    return _similarity(numbers)


def placed(camera_to_world: NDArray[np.float64], similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cameras (T,4,4) in the world from which a similarity maps."""
    made = np.linalg.inv(similarity) @ camera_to_world
    made[:, :3, :3] *= np.cbrt(np.linalg.det(similarity[:3, :3]))
    return made


def _similarity(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    made = np.eye(4)
    made[:3, :3] = np.exp(numbers[0]) * cv2.Rodrigues(numbers[1:4])[0]
    made[:3, 3] = numbers[4:]
    return made


def _off(seen: Seen, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    pose = seen.cameras @ _similarity(numbers)
    there = np.einsum("nij,nj->ni", pose[:, :3, :3], seen.points) + pose[:, :3, 3]
    at = np.einsum("nij,nj->ni", seen.lenses, there)
    return np.asarray(at[:, :2] / np.maximum(at[:, 2:], 1e-6) - seen.pixels)
