"""The ground of a shot: the plane that things stand on, fitted to given points or found among all points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError

TRIPLETS = 1500
"""Number of planes through three points that are tried."""

NEAR = 0.015
"""A point is on a plane if its height is at most this fraction of its distance, because depth errors grow with
distance."""

TILT_DEGREES = 40.0
"""How far the camera may be tilted against the ground, in pitch and roll together."""

LEAST_PART = 0.1
"""Minimum fraction of the points that must lie on the ground for it to be found."""

STRAIGHT = 1e-3
"""Points are in a line if their second extent is less than this fraction of the first."""


@dataclass(frozen=True)
class Plane:
    """A plane.

    Attributes:
        point: (3,) on it.
        normal: (3,) of length 1.
    """

    point: NDArray[np.float64]
    normal: NDArray[np.float64]

    def heights(self, points: NDArray) -> NDArray[np.float64]:
        """Signed distances (N,) of points (N,3), positive on the side of the normal."""
        return np.asarray((points - self.point) @ self.normal)


def through(points: NDArray[np.float64], up: NDArray[np.float64]) -> Plane:
    """Fit a plane to points (N,3), with its normal on the side of `up` (3,).

    Raises:
        InputError: there are fewer than three points, or they are in a line.
    """
    if len(points) < 3:
        raise InputError(f"A plane needs three points, not {len(points)}.")
    middle = points.mean(0)
    _, extent, axes = np.linalg.svd(points - middle, full_matrices=False)
    if extent[1] <= STRAIGHT * extent[0]:
        raise InputError("The points are in a line: choose three that form a triangle.")
    normal = axes[2] if axes[2] @ up > 0 else -axes[2]
    return Plane(middle, normal)


def found(points: NDArray[np.float64], eye: NDArray[np.float64], up: NDArray[np.float64]) -> Plane | None:
    """Find the ground among points (N,3) seen from `eye` (3,) by a camera with up along `up` (3,); None if none.

    RANSAC (Fischler and Bolles 1981) with a fixed seed: of the planes below the camera through three points, the one
    with the most points on it, minus those below it, because nothing is seen beneath the ground. Then least squares.
    """
    distances = np.linalg.norm(points - eye, axis=1)
    points, distances = points[distances > 0], distances[distances > 0]
    if len(points) < 3:
        return None
    a, b, c = points[np.random.default_rng(0).integers(0, len(points), (3, TRIPLETS))]
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals / np.where(lengths > 0, lengths, 1)[:, None] * np.sign(normals @ up)[:, None]
    upright = (normals @ up > np.cos(np.radians(TILT_DEGREES))) & (((eye - a) * normals).sum(1) > 0)
    best, plane = LEAST_PART * len(points), None
    for normal, point in zip(normals[upright], a[upright], strict=True):
        heights = (points - point) @ normal
        score = (np.abs(heights) < NEAR * distances).sum() - (heights < -NEAR * distances).sum()
        if score > best:
            best, plane = score, Plane(point, normal)
    for _again in range(3):
        if plane is None:
            return None
        on_it = points[np.abs(plane.heights(points)) < NEAR * distances]
        try:
            plane = through(on_it, up)
        except InputError:  # in a line, or too few
            return None
    return plane
