"""What live coverage keeps of other frames and of a clean plate: surfaces on a coarse grid, and what moves in the shot.

The picture of a look is small, so vertices as far apart as its pixels are enough. Which of them count as seen is
decided at full resolution, because a coarse face that bridges two surfaces is not as narrow as the fine ones.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthFile, DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import OcclusionFilter
from ex4d.media.clip import open_source
from ex4d.render import looked_through, movers
from ex4d.render.engines.cpu import reliable_vertices

GRID = 256
"""Minimum number of vertices along the longer side of the coarse grid, if the depth has as many."""

PLATE_GRID = 512
"""Minimum number of points along the longer side at which what is gone from a clean plate is looked for, if its depth
has as many; at full resolution, a plate of 4096 pixels would take about a minute."""

WHITE = 128
"""Pixels from this level up are moving, as in `ex4d.source_camera.masks`."""

MOST_BYTES = 64 << 20
"""Maximum memory for the moving mask of one shot; a frame of 1024x576 takes one to three KB."""

ALL_SEEN = OcclusionFilter(min_angle=0.0)
"""Lets every face count as a surface, because vertices that do not count are left out instead."""


class Moving:
    """What moves in every frame of a shot, packed.

    Args:
        path: the movie, white where things move.
        frames, width, height: of the shot's depth.

    Raises:
        InputError: it cannot be read, its number of frames is neither 1 nor `frames`, or it takes too much memory.
    """

    def __init__(self, path: Path, frames: int, width: int, height: int) -> None:
        self._shape, self._frames, self._packed, kept = (height, width), frames, [], 0
        source = open_source(path)
        if source.info.frames not in (1, frames):
            raise InputError(f"What moves is known in {source.info.frames} frames, but the shot has {frames}.")
        for frame in source.frames(longest_side=None, multiple=2):
            white = frame.max(axis=-1) >= WHITE
            if white.shape != self._shape:
                white = cv2.resize(white.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
            self._packed.append(zlib.compress(np.packbits(white).tobytes(), 1))
            kept += len(self._packed[-1])
            if kept > MOST_BYTES:
                raise InputError("What moves in this shot takes too much memory for Live Coverage.")

    def __len__(self) -> int:
        """Number of frames of the shot."""
        return self._frames

    def of(self, t: int) -> NDArray[np.bool_]:
        """The mask (H,W) bool of a frame."""
        height, width = self._shape
        packed = np.frombuffer(zlib.decompress(self._packed[min(t, len(self._packed) - 1)]), np.uint8)
        return np.unpackbits(packed, count=height * width).reshape(height, width) > 0


def coarse_meshes(
    file: DepthFile,
    frames: Sequence[int],
    without: Callable[[int], NDArray[np.bool_]],
    shell: float,
    occlusion: OcclusionFilter,
) -> tuple[DWMesh, list[looked_through.Reach]]:
    """Coarse meshes of some frames without what moves or is gone, with their source cameras at the origin.

    Args:
        file: the depth of a shot or plate.
        frames: their numbers.
        without: what moves in a frame or is gone, (H,W), by the frame's number.
        shell: depth of the shell.
        occlusion: which faces are not surfaces.

    Returns:
        A mesh with as many frames, and how far each saw. A ring of vertices at the shell surrounds the others.
    """
    _count, height, width = file.shape
    step = max(1, max(height, width) // GRID)
    rows, columns = _taken(height, step), _taken(width, step)
    depth = np.full((len(frames), len(rows) + 2, len(columns) + 2), shell, np.float32)
    left_out, reaches = np.ones(depth.shape, np.bool_), []
    for number, t in enumerate(frames):
        fine = DepthVideo(file.frames(t, t + 1), file.intrinsics[t : t + 1], file.provider)
        mesh = DWMesh.from_depth(fine, None, False, occlusion, shell)
        reaches.append(looked_through.coarse(mesh.depth[0], mesh.intrinsics[0]))
        (reliable,) = reliable_vertices(mesh)
        unsure = ((reliable == 0) | movers.widened(without(t))).astype(np.uint8)
        # Half of a coarse face, so that none bridges two surfaces between vertices that count.
        unsure = cv2.dilate(unsure, np.ones((step // 2 * 2 + 1,) * 2, np.uint8))
        depth[number, 1:-1, 1:-1] = mesh.depth[0][np.ix_(rows, columns)]
        left_out[number, 1:-1, 1:-1] = unsure[np.ix_(rows, columns)] > 0
    intrinsics = file.intrinsics[list(frames)].copy()
    intrinsics[:, :2] /= step
    # Vertex 1 of the coarse grid is at the centre of the first pixel that was taken.
    intrinsics[:, 0, 2] += 1.5 - (columns[0] + 0.5) / step
    intrinsics[:, 1, 2] += 1.5 - (rows[0] + 0.5) / step
    poses = np.broadcast_to(np.eye(4), (len(frames), 4, 4))
    mesh = DWMesh(depth, intrinsics, poses, shell, border_is_real=True, occlusion=ALL_SEEN, left_out=left_out)
    return mesh, reaches


def coarse_plate(
    file: DepthFile, camera_to_world: NDArray[np.float64], looks: looked_through.Looks, occlusion: OcclusionFilter
) -> tuple[DWMesh, looked_through.Looks]:
    """Coarse meshes of the frames of a clean plate, without what is gone, as `ex4d.render.world` draws them.

    Args:
        file: the plate's depth.
        camera_to_world: (n,4,4) poses of its frames, in the shot's world.
        looks: how far the shot's other frames saw.
        occlusion: which faces are not surfaces.

    Returns:
        A mesh with as many frames, and how far both the shot's frames and these saw.
    """
    count, shell = file.shape[0], DWMesh.shell_behind(farthest(file))

    def fine(t: int) -> DWMesh:
        depth = DepthVideo(file.frames(t, t + 1), file.intrinsics[t : t + 1], file.provider)
        return DWMesh.from_depth(depth, camera_to_world[t : t + 1], False, occlusion, shell)

    reaches = [looked_through.coarse(mesh.depth[0], mesh.intrinsics[0]) for mesh in map(fine, range(count))]
    own = looked_through.looks([looked_through.ANY_TIME] * count, reaches, camera_to_world)

    def gone(t: int) -> NDArray[np.bool_]:
        mesh = _every(fine(t), max(1, max(file.shape[1:]) // PLATE_GRID))
        found = looked_through.is_gone(mesh, 0, looks) | looked_through.is_gone(mesh, 0, own)
        size = file.shape[2], file.shape[1]
        return cv2.resize(found.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0

    mesh, _reaches = coarse_meshes(file, range(count), gone, shell, occlusion)
    return replace(mesh, source_to_world=camera_to_world), looks.and_those_of(own)


def _every(mesh: DWMesh, step: int) -> DWMesh:
    """A mesh with every `step`-th row and column of another one."""
    k = mesh.intrinsics.copy()
    k[:, :2] /= step
    k[:, :2, 2] += 0.5 - 0.5 / step  # because vertex 0 stays at the centre of pixel 0
    return replace(mesh, depth=np.ascontiguousarray(mesh.depth[:, ::step, ::step]), intrinsics=k)


def farthest(file: DepthFile) -> float:
    """The greatest distance in all frames, which are read one at a time."""
    return max(float(frame.max()) for frame in file.each(0, file.shape[0]))


def _taken(size: int, step: int) -> NDArray[np.int_]:
    """Every `step`-th of `size` rows or columns, centred."""
    return np.arange((size - 1) % step // 2, size, step)
