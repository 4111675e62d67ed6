"""Pictures of depth to look at: in colours, as normals of the mesh, and next to the clip."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth.report import check_belongs
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.progress import Progress, silent

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

PANEL = 480
"""Maximum width of each of the three pictures side by side."""


def shot_range(depth: NDArray[np.float32]) -> tuple[float, float]:
    """The nearest and farthest distances that colours distinguish, one pair for the whole shot (T,H,W)."""
    low, high = np.percentile(depth[:, ::4, ::4], [0.5, 99.5])
    return float(low), float(high)


def coloured(depth: NDArray[np.float32], near: float, far: float) -> NDArray[np.uint8]:
    """Depth (H,W) as RGB (H,W,3): red is near, blue is far, even in disparity (Google's Turbo)."""
    import cv2

    amount = (1 / depth - 1 / far) / max(1 / near - 1 / far, 1e-12)
    grey = (np.clip(amount, 0, 1) * 255).round().astype(np.uint8)
    return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)[..., ::-1], np.uint8)


def normals(mesh: DWMesh, t: int) -> NDArray[np.float32]:
    """Unit normals (H,W,3) of the surface at each vertex of frame `t`, towards the camera; camera axes.

    Computed from differences of neighbouring vertices. At the border, where the shell would distort them, they repeat
    those of their neighbours.
    """
    inner = mesh.camera_vertices(t)[1:-1, 1:-1]
    across, down = (np.gradient(inner, axis=axis) for axis in (1, 0))
    normal = np.cross(down, across)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal /= np.where(length > 0, length, 1)
    return np.pad(normal, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.float32)


def shown_normals(normal: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Normals (H,W,3) as RGB in the usual convention: red to the right, green up, blue towards the camera."""
    return ((normal * [1, -1, -1] + 1) * 127.5).round().astype(np.uint8)


def side_by_side(clip: "Clip", depth: DepthVideo, progress: Progress = silent) -> NDArray[np.uint8]:
    """Clip, depth in colours and normals of the mesh (T,h,3w,3), scaled down to `PANEL` wide each.

    Raises:
        InputError: clip and depth do not belong together.
    """
    import cv2

    check_belongs(clip, depth)
    mesh, (near, far) = DWMesh.from_depth(depth), shot_range(depth.depth)
    width = min(PANEL, mesh.width)
    height = max(2, round(mesh.height * width / mesh.width / 2) * 2)
    result = np.empty((len(mesh), height, 3 * width, 3), np.uint8)
    for t, frame in enumerate(clip.frames):
        pictures = frame, coloured(depth.depth[t], near, far), shown_normals(normals(mesh, t))
        for number, picture in enumerate(pictures):
            place = slice(number * width, (number + 1) * width)
            small = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_AREA)
            result[t, :, place] = small
        progress("Drawing the depth", t + 1, len(mesh))
    return result


def write_side_by_side(path: Path, clip: "Clip", depth: DepthVideo, progress: Progress = silent) -> None:
    """Write `side_by_side` as an .mp4 that carries the depth's notes.

    Raises:
        InputError: clip and depth do not belong together, or the file cannot be written.
    """
    from ex4d.media.movie import write_movie

    about = {"title": f"Depth: {depth.provider}", "comment": " ".join(depth.notes)}
    write_movie(path, side_by_side(clip, depth, progress), clip.fps, metadata=about)
