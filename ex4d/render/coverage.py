"""Coverage: how much of each frame along a path is real, and how far the camera has turned away."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.presets import pivot_distance
from ex4d.render import legend


@dataclass(frozen=True)
class Coverage:
    """Facts about each frame of a path.

    Attributes:
        real: (T,) float64, real part of the frame, 0 to 1.
        angle: (T,) float64, degrees between source camera and camera, as seen from the pivot of the presets.
        level: (T,) int64, 0 is fine, 1 means that much is invented, 2 that most is.
    """

    real: NDArray[np.float64]
    angle: NDArray[np.float64]
    level: NDArray[np.int64]


def of_masks(mask: NDArray[np.uint8], mesh: DWMesh, path: CameraPath) -> Coverage:
    """Coverage of a path from its rendered masks (T,h,w)."""
    real = np.array([np.count_nonzero(m) / m.size for m in mask])
    level = np.array([legend.level_of(part) for part in real])
    return Coverage(real, angles(mesh, path), level)


def angles(mesh: DWMesh, path: CameraPath) -> NDArray[np.float64]:
    """Degrees (T,) between source camera and camera, as seen from the pivot that presets turn around."""
    eyes = (transforms.inverse(mesh.source_to_world) @ path.camera_to_world)[:, :3, 3]
    seen = eyes - (0, 0, pivot_distance(mesh.depth[0]))
    cos = -seen[:, 2] / np.maximum(np.linalg.norm(seen, axis=1), 1e-12)
    return np.degrees(np.arccos(np.clip(cos, -1, 1)))
