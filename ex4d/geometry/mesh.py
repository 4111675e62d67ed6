"""The depth watertight mesh (DW-Mesh) of EX-4D: one vertex per pixel, closed at the back by a shell.

This module needs only numpy, so that Blender can use it. `ex4d.render` draws the same mesh without ever building its
vertices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.occlusion import FILTERS, RELEASE, OcclusionFilter, reliable_vertices

RELEASE_SHELL = 100.0
"""Depth of the shell in the release, even though its depth goes up to 10000 (recon.py)."""

SHELL_FACTOR = 1.05
"""Ratio of our shell's depth to the farthest depth of the whole shot."""


@dataclass(frozen=True)
class DWMesh:
    """A mesh of constant topology whose vertices change every frame.

    Vertex `row * width + column` belongs to the pixel (row, column) and lies at that pixel's depth. The outermost rows
    and columns lie at the depth `shell`, and two faces close the box at the back.

    Attributes:
        depth: (T,H,W) float32, along the optical axis, the border already at the shell.
        intrinsics: (T,3,3) float64, pixels; vertices lie on the rays through (column + 0.5, row + 0.5).
        source_to_world: (T,4,4) float64, pose of the source camera; the identity if it stands still.
        shell: depth of the shell.
        border_is_real: whether the border can count as seen, as in the release; ours never does.
        occlusion: which faces are not part of a surface.
        left_out: (T,H,W) vertices that never count as seen, such as those of moving things; None leaves out none.
        see_through: whether faces that bridge an occlusion, those with no corner that counts as seen, are absent
            instead of hiding what is behind them.
    """

    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    source_to_world: NDArray[np.float64]
    shell: float
    border_is_real: bool
    occlusion: OcclusionFilter
    left_out: NDArray[np.bool_] | None = None
    see_through: bool = False

    @staticmethod
    def from_depth(
        source: DepthVideo,
        source_to_world: NDArray | None = None,
        release_compat: bool = False,
        occlusion: OcclusionFilter | None = None,
        shell: float | None = None,
    ) -> "DWMesh":
        """Build the mesh of a depth video.

        Args:
            source: depth and lens.
            source_to_world: (T,4,4) pose of the source camera in each frame; None if it stands still.
            release_compat: shell at 100, and vertices half a pixel up and left, as released.
            occlusion: the filter; None uses the release's in compat mode and the default otherwise.
            shell: depth of the shell if `source` is a part of a shot; None uses `shell_behind` of its farthest depth.
                Compat mode always uses 100.

        Raises:
            InputError: a picture of fewer than 3x3 pixels, or poses that do not fit.
        """
        frames, height, width = source.depth.shape
        if height < 3 or width < 3:
            raise InputError(f"A mesh needs a picture of at least 3x3 pixels, not {width}x{height}.")
        if source_to_world is None:
            poses = np.broadcast_to(np.eye(4), (frames, 4, 4))
        else:
            poses = transforms.check(source_to_world, frames, "source_to_world")
        if release_compat:
            shell = RELEASE_SHELL
        elif shell is None:
            shell = DWMesh.shell_behind(float(source.depth.max()))
        depth = source.depth.copy()
        depth[:, [0, -1], :] = shell
        depth[:, :, [0, -1]] = shell
        k = source.intrinsics.copy()
        if release_compat:
            k[:, :2, 2] += 0.5
        occlusion = occlusion or (RELEASE if release_compat else FILTERS["default"])
        return DWMesh(depth, k, poses, shell, border_is_real=release_compat, occlusion=occlusion)

    @staticmethod
    def shell_behind(farthest: float) -> float:
        """Depth of the shell for a shot with this farthest depth."""
        return farthest * SHELL_FACTOR

    def __len__(self) -> int:
        return len(self.depth)

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return self.depth.shape[1]

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return self.depth.shape[2]

    def camera_vertices(self, t: int) -> NDArray[np.float64]:
        """Vertices (H,W,3) of frame `t` in the axes of that frame's source camera."""
        k, depth = self.intrinsics[t], self.depth[t].astype(np.float64)
        x = (np.arange(self.width) + 0.5 - k[0, 2]) / k[0, 0]
        y = (np.arange(self.height) + 0.5 - k[1, 2]) / k[1, 1]
        return np.stack([depth * x, depth * y[:, None], depth], axis=-1)

    def vertices(self, t: int) -> NDArray[np.float32]:
        """Vertices (H*W,3) of frame `t` in the world, OpenCV axes."""
        pose = self.source_to_world[t]
        world = self.camera_vertices(t).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
        return world.astype(np.float32)

    @property
    def faces(self) -> NDArray[np.int32]:
        """Vertex numbers (F,3) of the faces, the same in every frame; F = 2(H-1)(W-1) + 2.

        Two faces per quad, in the order of `ex4d.render`'s triangle ids; the last two close the shell.
        Wound as released: normals point away from the source camera, out of the closed box.
        """
        return grid_faces(self.height, self.width)

    @property
    def uv(self) -> NDArray[np.float32]:
        """Texture coordinates (H*W,2) of the pixel centres: u to the right, v upwards, both in (0,1)."""
        u = (np.arange(self.width) + 0.5) / self.width
        v = 1 - (np.arange(self.height) + 0.5) / self.height
        return np.stack(np.broadcast_arrays(u, v[:, None]), axis=-1).reshape(-1, 2).astype(np.float32)

    def reliable_vertices(self, t: int) -> NDArray[np.bool_]:
        """Which vertices (H,W) of frame `t` belong to surfaces that the source actually saw (paper section 3.1)."""
        reliable = reliable_vertices(self.camera_vertices(t), self.occlusion)
        if not self.border_is_real:
            reliable[[0, -1], :] = False
            reliable[:, [0, -1]] = False
        if self.left_out is not None:
            reliable &= ~self.left_out[t]
        return reliable


def grid_faces(h: int, w: int) -> NDArray[np.int32]:
    """Faces (F,3) of a grid of h rows and w columns; see `DWMesh.faces`."""
    top_left = (np.arange(h - 1)[:, None] * w + np.arange(w - 1)).ravel()
    top_right, bottom_left, bottom_right = top_left + 1, top_left + w, top_left + w + 1
    quads = np.stack([bottom_left, top_left, top_right, bottom_left, top_right, bottom_right], axis=-1)
    closing = [[w - 1, 0, h * w - 1], [h * w - 1, 0, (h - 1) * w]]
    return np.concatenate([quads.reshape(-1, 3), closing]).astype(np.int32)
