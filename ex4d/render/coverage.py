"""Coverage: how much of each frame along a path is real, and how far the camera has turned away."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.presets import pivot_distance
from ex4d.render.engines import engine as default_engine
from ex4d.render.legend import MOST_INVENTED, MUCH_INVENTED
from ex4d.render.scene import Engine, Scene


@dataclass(frozen=True)
class Coverage:
    """Facts about each frame of a path.

    Attributes:
        real: (T,) float64, part of the frame that is real, 0 to 1.
        angle: (T,) float64, degrees between source camera and camera, seen from the pivot of the presets.
        level: (T,) int64, 0 is fine, 1 much is invented, 2 most is.
    """

    real: NDArray[np.float64]
    angle: NDArray[np.float64]
    level: NDArray[np.int64]


def of_masks(mask: NDArray[np.uint8], mesh: DWMesh, path: CameraPath) -> Coverage:
    """Coverage of a path from its rendered masks (T,h,w)."""
    real = np.array([np.count_nonzero(m) / m.size for m in mask])
    level = (real < MUCH_INVENTED).astype(np.int64) + (real < MOST_INVENTED)
    return Coverage(real, angles(mesh, path), level)


def estimate(mesh: DWMesh, path: CameraPath, width: int, engine: Engine | None = None) -> Coverage:
    """Coverage from every n-th pixel of the mesh and a picture of about `width` pixels: quick enough to key by.

    Args:
        mesh: T frames.
        path: T cameras.
        width: of the small picture; n is chosen so that the mesh is about as wide.
        engine: what draws; None takes the fastest that can run here.
    """
    small_mesh, small_path = every_nth(mesh, max(1, round(mesh.width / width))), resized(path, width)
    pictures = np.zeros((*small_mesh.depth.shape, 3), np.uint8)
    views = (engine or default_engine()).views(
        Scene(small_mesh, pictures, small_path), [(t, t) for t in range(len(path))]
    )
    return of_masks(np.stack([view.mask for view in views]), mesh, path)


def every_nth(mesh: DWMesh, n: int) -> DWMesh:
    """The mesh of every n-th row and column; the border stays at the shell."""
    if n == 1:
        return mesh
    depth = mesh.depth[:, n // 2 :: n, n // 2 :: n].copy()
    depth[:, [0, -1], :] = mesh.shell
    depth[:, :, [0, -1]] = mesh.shell
    # Vertex c of the small mesh is vertex n c + n // 2 of the large one: (n c + n // 2 + 0.5) = n (c + 0.5) + shift.
    shift = n // 2 + 0.5 - n / 2
    to_small = np.array([[1 / n, 0, -shift / n], [0, 1 / n, -shift / n], [0, 0, 1]])
    return replace(mesh, depth=depth, intrinsics=to_small @ mesh.intrinsics)


def resized(path: CameraPath, width: int) -> CameraPath:
    """The same cameras with a picture `width` pixels wide."""
    height = max(1, round(path.height * width / path.width))
    scale = np.diag([width / path.width, height / path.height, 1])
    return CameraPath(path.camera_to_world, scale @ path.intrinsics, width, height)


def angles(mesh: DWMesh, path: CameraPath) -> NDArray[np.float64]:
    """Degrees (T,) between source camera and camera, seen from the pivot that presets turn about."""
    eyes = (transforms.inverse(mesh.source_to_world) @ path.camera_to_world)[:, :3, 3]
    seen = eyes - (0, 0, pivot_distance(mesh.depth[0]))
    cos = -seen[:, 2] / np.maximum(np.linalg.norm(seen, axis=1), 1e-12)
    return np.degrees(np.arccos(np.clip(cos, -1, 1)))
