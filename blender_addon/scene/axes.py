"""Conversion between the library's and Blender's axis conventions. No other module knows both.

Library (OpenCV): x right, y down, z forward, for both the world and cameras; lenses are (3,3) matrices
in pixels, pixel centres at +0.5, rows counted from the top. Blender: world Z up, cameras look along -Z with
Y up; lenses are in millimetres on a sensor fitted to one side of the picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WORLD = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Library world to Blender world: (x, y, z) becomes (x, z, -y), so that the clip is upright."""

CAMERA = np.diag([1.0, -1, -1, 1])
"""Library camera axes to Blender camera axes and back: a half turn about x in both directions."""

SENSOR_MM = 36.0
"""Sensor width of source cameras, Blender's own default."""


@dataclass(frozen=True)
class Lens:
    """A perspective lens in Blender's terms.

    Attributes:
        focal_mm: `Camera.lens`.
        sensor_fit: "AUTO", "HORIZONTAL" or "VERTICAL".
        sensor_width, sensor_height: millimetres.
        shift_x, shift_y: as fractions of the fitted side, x right, y up.
    """

    focal_mm: float
    sensor_fit: str = "HORIZONTAL"
    sensor_width: float = SENSOR_MM
    sensor_height: float = 24.0
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class Picture:
    """Size of a rendered picture in pixels, and the height of a pixel divided by its width."""

    width: int
    height: int
    pixel_aspect: float = 1.0


def points_to_blender(points: NDArray) -> NDArray:
    """Convert points (...,3) from library axes to Blender axes, keeping the dtype."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def points_from_blender(points: NDArray) -> NDArray:
    """Inverse of `points_to_blender`."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def pose_to_blender(camera_to_world: NDArray) -> NDArray[np.float64]:
    """Convert camera-to-world matrices (...,4,4) in library axes to matrices of Blender cameras in Blender axes."""
    return WORLD @ camera_to_world @ CAMERA


def pose_from_blender(matrix: NDArray) -> NDArray[np.float64]:
    """Convert matrices (...,4,4) of Blender cameras without scale to camera-to-world in library axes."""
    return WORLD.T @ matrix @ CAMERA


def _fitted_side(lens: Lens, picture: Picture) -> tuple[float, float]:
    """Length of the side that the sensor is fitted to, in pixel widths and in millimetres."""
    tall = picture.height * picture.pixel_aspect
    horizontal = picture.width >= tall if lens.sensor_fit == "AUTO" else lens.sensor_fit == "HORIZONTAL"
    # In AUTO, Blender uses the sensor's width even when it fits it to the picture's height.
    millimetres = lens.sensor_height if lens.sensor_fit == "VERTICAL" else lens.sensor_width
    return (picture.width if horizontal else tall), millimetres


def intrinsics_from_lens(lens: Lens, picture: Picture) -> NDArray[np.float64]:
    """Intrinsics (3,3), in pixels, of a picture that Blender renders through `lens`."""
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
    """The lens, fitted to the width of a full-frame sensor, that renders with intrinsics `k` (3,3), in pixels.

    Returns the lens and the pixel aspect (1 if both focal lengths are equal).
    """
    aspect = float(k[0, 0] / k[1, 1])
    lens = Lens(
        focal_mm=float(k[0, 0]) / width * SENSOR_MM,
        shift_x=(width / 2 - float(k[0, 2])) / width,
        shift_y=(float(k[1, 2]) - height / 2) * aspect / width,
    )
    return lens, aspect
