"""The DW-Mesh on a coarser grid, for viewports; takes are always rendered from the full mesh.

Needs only numpy, so that Blender can use it.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.depth_video import DepthFile
from ex4d.geometry.mesh import SHELL_FACTOR, grid_faces
from ex4d.geometry.presets import pivot_distance


@dataclass(frozen=True)
class LightMesh:
    """A subset of the rows and columns of a `DWMesh`; every vertex is one of its vertices, to the bit.

    Vertex `i * len(columns) + j` belongs to the pixel (rows[i], columns[j]). The border and the row and column next to
    it are always included, so that the picture's edge is where it is in the full mesh.

    Attributes:
        depth: (T,h,w) float32, along the optical axis, the border already at the shell.
        rows, columns: (h,) and (w,) int64, pixels of the full picture.
        size: height and width of the full picture.
        step: spacing of the rows and columns.
        intrinsics: (T,3,3) float64, pixels of the full picture.
        source_to_world: (T,4,4) float64, pose of the source camera.
        shell: depth of the shell, the same as in the full mesh.
        pivot: of the full mesh, see `ex4d.geometry.presets.pivot_distance`.
    """

    depth: NDArray[np.float32]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    size: tuple[int, int]
    step: int
    intrinsics: NDArray[np.float64]
    source_to_world: NDArray[np.float64]
    shell: float
    pivot: float

    def __len__(self) -> int:
        return len(self.depth)

    @property
    def count(self) -> int:
        """Number of vertices in a frame."""
        return len(self.rows) * len(self.columns)

    def vertices(self, t: int) -> NDArray[np.float32]:
        """Vertices (h*w,3) of frame `t` in the world, OpenCV axes."""
        k, depth, pose = self.intrinsics[t], self.depth[t].astype(np.float64), self.source_to_world[t]
        x = (self.columns + 0.5 - k[0, 2]) / k[0, 0]
        y = (self.rows + 0.5 - k[1, 2]) / k[1, 1]
        points = np.stack([depth * x, depth * y[:, None], depth], axis=-1).reshape(-1, 3)
        return (points @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)

    @property
    def faces(self) -> NDArray[np.int32]:
        """Vertex numbers (F,3) of the faces, like those of `DWMesh`."""
        return grid_faces(len(self.rows), len(self.columns))

    @property
    def uv(self) -> NDArray[np.float32]:
        """Texture coordinates (h*w,2) of the pixel centres: u to the right, v upwards, both in (0,1)."""
        u = (self.columns + 0.5) / self.size[1]
        v = 1 - (self.rows + 0.5) / self.size[0]
        return np.stack(np.broadcast_arrays(u, v[:, None]), axis=-1).reshape(-1, 2).astype(np.float32)


def thinned(depth: DepthFile, step: int, source_to_world: NDArray | None = None) -> Generator[int, None, LightMesh]:
    """Read a depth file, keeping every `step`-th row and column; yields the number of frames read, returns the mesh.

    Args:
        depth: an open file; unless `step` is 1, it is never in memory as a whole.
        step: 1 keeps everything.
        source_to_world: (T,4,4) pose of the source camera in each frame; None if it stands still.

    Raises:
        InputError: damaged depth, a picture of fewer than 3x3 pixels, or poses that do not fit.
    """
    frames, height, width = depth.shape
    if height < 3 or width < 3:
        raise InputError(f"A mesh needs a picture of at least 3x3 pixels, not {width}x{height}.")
    if source_to_world is None:
        poses = np.broadcast_to(np.eye(4), (frames, 4, 4))
    else:
        poses = transforms.check(source_to_world, frames, "source_to_world")
    rows, columns = kept(height, step), kept(width, step)
    thin = np.empty((frames, len(rows), len(columns)), np.float32)
    farthest = nearest = 0.0
    for t, frame in enumerate(depth.each(0, frames)):
        thin[t] = frame[rows[:, None], columns]
        farthest = max(farthest, float(frame.max()))
        if t == 0:
            nearest = float(frame[1:-1, 1:-1].min())
        yield t + 1
    shell = farthest * SHELL_FACTOR
    thin[:, [0, -1], :] = shell
    thin[:, :, [0, -1]] = shell
    pivot = pivot_distance(np.array(nearest))
    k = depth.intrinsics
    return LightMesh(thin, rows, columns, (height, width), step, k, poses, shell, pivot)


def kept(count: int, step: int) -> NDArray[np.int64]:
    """Every `step`-th of `count` rows or columns (n,), with the two at either end."""
    return np.unique([0, *range(1, count - 1, step), count - 2, count - 1])
