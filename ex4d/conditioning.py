"""Conditioning: the colour and mask that the generator is given, rendered along a camera path."""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.camera_path import CameraPath
from ex4d.errors import InputError
from ex4d.extrinsics import inverse
from ex4d.mesh import DWMesh
from ex4d.progress import Progress, silent

LIMIT_BYTES = 8 << 30
"""Most memory that colour and mask of one path may take."""

RELEASE_FAR = 1e3
"""Far plane of the release, nearer than the depths of up to 10000 that it makes; ours has none."""


@dataclass(frozen=True)
class Conditioning:
    """What the source really saw, from the new camera.

    Attributes:
        colour: (T,h,w,3) uint8, black where nothing real is seen.
        mask: (T,h,w) uint8, 255 where the colour is real, 0 where it has to be invented.
        coverage: (T,) float64, part of each frame that is real, 0 to 1.
        notes: sentences for the user about the path.
    """

    colour: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    coverage: NDArray[np.float64]
    notes: tuple[str, ...] = ()


def render(
    mesh: DWMesh,
    frames: NDArray[np.uint8],
    path: CameraPath,
    release_compat: bool = False,
    progress: Progress = silent,
) -> Conditioning:
    """Render mesh and frames along a path.

    A frame whose camera coincides with the source camera is the source frame itself with a full mask: seen
    from there nothing is hidden, and the adapter was trained so for frame 0 (upstream "Colour and mask").
    As released, that holds for frame 0 alone, wherever its camera stands, and there is a far plane.

    Args:
        mesh: T frames.
        frames: (T,H,W,3) uint8, the mesh's pictures.
        path: T cameras.
        release_compat: the release's rules instead of ours.
        progress: told after each frame; raises `Cancelled` to stop.

    Raises:
        InputError: mesh, frames and path do not have the same number of frames or size.
    """
    if frames.shape != (len(mesh), mesh.height, mesh.width, 3):
        raise InputError(
            f"The mesh has {len(mesh)} frames of {mesh.width}x{mesh.height} pixels but the clip's frames have the"
            f" shape {frames.shape}: they must belong together."
        )
    if len(path) != len(mesh):
        raise InputError(f"The camera path has {len(path)} frames but the clip has {len(mesh)}: they must match.")
    shape = (len(path), path.height, path.width)
    if 4 * math.prod(shape) > LIMIT_BYTES:
        raise InputError(
            f"{shape[0]} frames of {path.width}x{path.height} take {4 * math.prod(shape) / 2**30:.0f} GB of memory,"
            f" more than {LIMIT_BYTES >> 30} GB: render fewer frames or a smaller picture."
        )
    colour, mask = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)

    def draw(t: int) -> None:
        if t == 0 if release_compat else coincides(mesh, path, t):
            colour[t], mask[t] = _fit_frame_0(frames[t], path), 255
        else:
            draw_view(mesh, t, frames[t], path, t, colour[t], mask[t], release_compat)

    for done in over_frames(draw, len(path)):
        progress("Rendering colour and mask", done, len(path))
    coverage = np.array([np.count_nonzero(m) / m.size for m in mask])
    return Conditioning(colour, mask, coverage, path_notes(mesh, path))


def draw_view(
    mesh: DWMesh,
    t: int,
    picture: NDArray[np.uint8],
    path: CameraPath,
    view: int,
    colour: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    release_compat: bool = False,
) -> NDArray[np.float32]:
    """Draw frame `t` of the mesh from camera `view` of the path into colour (h,w,3) and mask (h,w).

    Returns the inverse distance (h,w) float32 of what is seen there.
    """
    from ex4d.render import cpu

    source_to_target = inverse(path.camera_to_world[view]) @ mesh.source_to_world[t]
    matrix = cpu.projection(path.intrinsics[view], source_to_target, mesh.intrinsics[t])
    far = RELEASE_FAR if release_compat else np.inf
    inv_w, ids = cpu.rasterise(mesh.depth[t], matrix, path.height, path.width, cpu.NEAR, far)
    cpu.shade(mesh.depth[t], matrix, ids, reliable_vertices(mesh, t), picture, release_compat, colour, mask)
    return inv_w


def reliable_vertices(mesh: DWMesh, t: int) -> NDArray[np.uint8]:
    """`DWMesh.reliable_vertices`, compiled: (H,W) uint8 in {0,1}."""
    from ex4d.render import cpu

    limits = mesh.occlusion.cos_limit, mesh.occlusion.max_extent, mesh.occlusion.max_slope
    return cpu.reliable_vertices(mesh.depth[t], mesh.intrinsics[t], *limits, mesh.border_is_real)


def over_frames(work: Callable[[int], None], frames: int) -> Iterator[int]:
    """Run `work` for each frame over a thread a core (the kernels let go of the interpreter); yields the count done."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done, _ in enumerate(pool.map(work, range(frames)), 1):
                yield done
        finally:
            pool.shutdown(cancel_futures=True)


def coincides(mesh: DWMesh, path: CameraPath, t: int) -> bool:
    """Whether camera `t` of the path is the source camera of that frame: place, direction, lens and picture."""
    return (
        (path.height, path.width) == (mesh.height, mesh.width)
        and _same_pose(mesh, path, t)
        and np.allclose(path.intrinsics[t], mesh.intrinsics[t], rtol=0, atol=1e-2)
    )


def _same_pose(mesh: DWMesh, path: CameraPath, t: int) -> bool:
    """Equal poses, as far as single precision and a millionth of a turn can tell."""
    ours, theirs = path.camera_to_world[t], mesh.source_to_world[t]
    shift = np.abs(ours[:3, 3] - theirs[:3, 3]).max()
    return bool(np.abs(ours[:3, :3] - theirs[:3, :3]).max() < 1e-5 and shift < 1e-4 * mesh.depth[t].min())


def _fit_frame_0(frame: NDArray[np.uint8], path: CameraPath) -> NDArray[np.uint8]:
    """The source frame, which must have the path's size."""
    if frame.shape[:2] != (path.height, path.width):
        raise InputError(
            f"The release's frame rule needs a path of the clip's size {frame.shape[1]}x{frame.shape[0]},"
            f" not {path.width}x{path.height}."
        )
    return frame


def path_notes(mesh: DWMesh, path: CameraPath) -> tuple[str, ...]:
    """What the user should know about a path before generating along it."""
    notes = []
    if not _same_pose(mesh, path, 0):
        notes.append(
            "The camera does not start at the source view: EX-4D was trained on paths that do, so start the path"
            " there for the best result."
        )
    inside = [t for t in range(len(path)) if _is_behind_surface(mesh, path, t)]
    if inside:
        notes.append(
            f"The camera stands inside or behind the scene's surface in {len(inside)} of {len(path)} frames (first:"
            f" frame {inside[0]}), where little of the picture is real: keep it in front."
        )
    return tuple(notes)


def _is_behind_surface(mesh: DWMesh, path: CameraPath, t: int) -> bool:
    """Whether the source camera sees a surface in front of camera `t` of the path."""
    eye = inverse(mesh.source_to_world[t]) @ path.camera_to_world[t][:, 3]
    if not eye[2] > 1e-9:
        return False
    x, y, _ = mesh.intrinsics[t] @ eye[:3] / eye[2]
    if not (0 <= x < mesh.width and 0 <= y < mesh.height):
        return False
    return bool(eye[2] > mesh.depth[t, int(y), int(x)])
