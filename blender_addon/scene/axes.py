"""The only place that knows both axis conventions, the library's and Blender's, both ways.

Library (OpenCV): x right, y down, z forward, for the world and for cameras alike; lenses are (3,3) matrices
in pixels, pixel centres at +0.5, rows counted from the top. Blender: world Z up, cameras look along -Z with
Y up; lenses are millimetres on a sensor that is fitted to one side of the picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WORLD = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Library world to Blender world: (x, y, z) becomes (x, z, -y), so that pictures stand upright."""

CAMERA = np.diag([1.0, -1, -1, 1])
"""Library camera axes to Blender camera axes, and back: the same half turn about x."""

SENSOR_MM = 36.0
"""Width of the sensor that source cameras get, Blender's own default."""


@dataclass(frozen=True)
class Lens:
    """A perspective lens in Blender's words.

    Attributes:
        focal_mm: `Camera.lens`.
        sensor_fit: "AUTO", "HORIZONTAL" or "VERTICAL".
        sensor_width, sensor_height: millimetres.
        shift_x, shift_y: in lengths of the fitted side, x right, y up.
    """

    focal_mm: float
    sensor_fit: str = "HORIZONTAL"
    sensor_width: float = SENSOR_MM
    sensor_height: float = 24.0
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class Picture:
    """Size of a rendered picture in pixels, and how many times taller than wide one pixel is."""

    width: int
    height: int
    pixel_aspect: float = 1.0


def points_to_blender(points: NDArray) -> NDArray:
    """Points (...,3) in library axes, as (...,3) in Blender axes, same type."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def points_from_blender(points: NDArray) -> NDArray:
    """Inverse of `points_to_blender`."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def pose_to_blender(camera_to_world: NDArray) -> NDArray[np.float64]:
    """Camera-to-world (...,4,4) in library axes, as the matrix of a Blender camera in Blender axes."""
    return WORLD @ camera_to_world @ CAMERA


def pose_from_blender(matrix: NDArray) -> NDArray[np.float64]:
    """Matrix (...,4,4) of a Blender camera without scale, as camera-to-world in library axes."""
    return WORLD.T @ matrix @ CAMERA


def _fitted_side(lens: Lens, picture: Picture) -> tuple[float, float]:
    """Pixels (as wide as one pixel is) and millimetres of the side that the sensor is fitted to."""
    tall = picture.height * picture.pixel_aspect
    horizontal = picture.width >= tall if lens.sensor_fit == "AUTO" else lens.sensor_fit == "HORIZONTAL"
    # Blender takes the sensor's width in AUTO even where it then fits the picture's height.
    millimetres = lens.sensor_height if lens.sensor_fit == "VERTICAL" else lens.sensor_width
    return (picture.width if horizontal else tall), millimetres


def intrinsics_from_lens(lens: Lens, picture: Picture) -> NDArray[np.float64]:
    """Intrinsics (3,3) in pixels of what Blender renders through `lens`."""
    side, millimetres = _fitted_side(lens, picture)
    focal = lens.focal_mm / millimetres * side
    return np.array(
        [
            [focal, 0, picture.width / 2 - lens.shift_x * side],
            [0, focal / picture.pixel_aspect, picture.height / 2 + lens.shift_y * side / picture.pixel_aspect],
            [0, 0, 1],
        ]
    )


def lens_from_intrinsics(k: NDArray, width: int, height: int) -> tuple[Lens, float]:
    """The lens, fitted to the width of a full-frame sensor, that renders intrinsics `k` (3,3).

    Returns the lens and the pixel aspect (1 where both focal lengths are the same).
    """
    aspect = float(k[0, 0] / k[1, 1])
    lens = Lens(
        focal_mm=float(k[0, 0]) / width * SENSOR_MM,
        shift_x=(width / 2 - float(k[0, 2])) / width,
        shift_y=(float(k[1, 2]) - height / 2) * aspect / width,
    )
    return lens, aspect
