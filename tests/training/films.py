"""Videos for the tests of datasets, generated here."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from ex4d.media.movie import write_movie

WIDTH, HEIGHT = 160, 112


def texture(seed: int, size: int = 512) -> np.ndarray:
    """A texture with detail at every scale, (size,size,3) uint8."""
    random = np.random.default_rng(seed)
    picture = np.zeros((size, size, 3))
    for cell in (8, 16, 64):
        coarse = random.uniform(0, 1, (size // cell, size // cell, 3))
        picture += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)


def panned(seed: int, frames: int, step: tuple[float, float] = (1.5, -0.75), size=(WIDTH, HEIGHT)) -> np.ndarray:
    """A texture that moves by `step` pixels to the right and down with each frame, (T,H,W,3)."""
    picture, (width, height) = texture(seed), size
    moves = [np.array([[1, 0, step[0] * t - 100], [0, 1, step[1] * t - 100]], np.float64) for t in range(frames)]
    return np.stack([cv2.warpAffine(picture, move, (width, height), flags=cv2.INTER_CUBIC) for move in moves])


def written(path: Path, frames: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_movie(path, frames, Fraction(24))
    return path


def folder_of(path: Path, count: int, frames: int = 20) -> Path:
    """A folder with `count` videos."""
    for number in range(count):
        written(path / f"film_{number}.mp4", panned(number, frames))
    return path
