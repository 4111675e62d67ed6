"""The CUDA engine: kernels.cu through CuPy, many pictures at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from ex4d.errors import InputError
from ex4d.render.scene import NEAR, Scene, Surface, View

MEMORY_SHARE = 0.5
"""Part of the GPU's free memory that one batch may take; the rest is left for others, such as a loaded model."""

MOST_AT_ONCE = 16
"""Pictures in one batch: enough to fill the GPU, few enough for prompt progress and cancellation."""

SMALL_BOX = 12
"""Quads that cover more pixels than this go to the queue (kernels.cu)."""

_THREADS = 128


@cache
def missing() -> str:
    """Why CUDA cannot be used here, or an empty text if it can."""
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no usable NVIDIA GPU ({error})"
    return "" if count else "there is no NVIDIA GPU"


KERNELS = ("occlusions", "rasterise_small", "rasterise_large", "shade")


def source() -> str:
    """The text of kernels.cu."""
    return resources.files("ex4d.render.engines").joinpath("kernels.cu").read_text(encoding="utf-8")


@cache
def _kernels() -> dict[str, Any]:
    import cupy

    module = cupy.RawModule(code=source(), options=("--fmad=false", "--std=c++14"))
    return {name: module.get_function(name) for name in KERNELS}


class CudaEngine:
    """Draws on the current CUDA device."""

    name = "cuda"
    note = ""

    def views(self, scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool = False) -> Iterator[View]:
        """Pictures of the pairs (t, view); see `ex4d.render.scene.Engine`.

        Raises:
            InputError: the GPU has too little memory for even a single picture of this size.
        """
        import cupy

        at_once = min(MOST_AT_ONCE, max(1, int(MEMORY_SHARE * cupy.cuda.Device().mem_info[0] / _bytes_a_view(scene))))
        done = 0
        while done < len(pairs):
            views = _draw(scene, pairs[done : done + at_once], surfaces)
            if views is None:
                # Another program took the memory meanwhile: draw fewer at once, down to one.
                cupy.get_default_memory_pool().free_all_blocks()
                if at_once == 1:
                    raise InputError(
                        f"The GPU has no memory for a picture of {scene.path.width}x{scene.path.height} from a mesh"
                        f" of {scene.mesh.width}x{scene.mesh.height}: use smaller ones, close other programs on the"
                        " GPU, or use the engine numba."
                    )
                at_once //= 2
                continue
            yield from views
            done += len(views)


def _draw(scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool) -> list[View] | None:
    """Draw one batch, or return None if the GPU has too little memory; its own memory is released on return."""
    import cupy

    try:
        batch = upload(scene, pairs, surfaces)
        launch(batch)
        return fetch(batch)
    except cupy.cuda.memory.OutOfMemoryError:
        return None


def _bytes_a_view(scene: Scene) -> int:
    """GPU memory for one picture."""
    vertices, pixels = scene.mesh.height * scene.mesh.width, scene.path.height * scene.path.width
    return vertices * (4 + 3 + 1 + 2 * 8) + pixels * (8 + 3 + 1 + 8)


@dataclass(frozen=True)
class Batch:
    """Device arrays of n pictures: what is drawn, and room for the result.

    Attributes:
        depth, pictures, lenses, extent_limits: (n,H,W) f32, (n,H,W,3) u8, (n,3,3) f64, (n,) f64 of the frames.
        matrices: (n,3,4) f64, `Scene.projection` of each pair.
        reliable, keys, queue, queued: passed from kernel to kernel.
        left_out: (n,H,W) bool, vertices that never count as seen; None leaves out none.
        colour, mask: (n,h,w,3) u8, (n,h,w) u8.
        ids, inverse_distance: (n,h,w) i32, (n,h,w) f32, or None if not requested.
    """

    scene: Scene
    depth: Any
    pictures: Any
    lenses: Any
    extent_limits: Any
    matrices: Any
    reliable: Any
    left_out: Any
    keys: Any
    queue: Any
    queued: Any
    colour: Any
    mask: Any
    ids: Any
    inverse_distance: Any


def upload(scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool) -> Batch:
    """Copy the frames of the pairs (t, view) to the device."""
    import cupy

    mesh, n = scene.mesh, len(pairs)
    frames = [t for t, _ in pairs]
    # Consecutive frames are a view of the mesh's own memory; others are gathered.
    together = slice(frames[0], frames[0] + n) if frames == list(range(frames[0], frames[0] + n)) else frames
    depth = mesh.depth[together]
    limits = np.full(n, np.inf)
    if np.isfinite(mesh.occlusion.max_extent):
        limits = mesh.occlusion.max_extent * np.array([float(d.max()) - float(d.min()) for d in depth])
    faces = 2 * (mesh.height - 1) * (mesh.width - 1) + 2
    shape = (n, scene.path.height, scene.path.width)
    return Batch(
        scene,
        cupy.asarray(depth),
        cupy.asarray(scene.pictures[together]),
        cupy.asarray(mesh.intrinsics[together]),
        cupy.asarray(limits),
        cupy.asarray(np.stack([scene.projection(t, view) for t, view in pairs])),
        reliable=cupy.empty(depth.shape, np.uint8),
        left_out=None if mesh.left_out is None else cupy.asarray(mesh.left_out[together]),
        keys=cupy.empty(shape, np.uint64),
        queue=cupy.empty(n * faces, np.uint64),
        queued=cupy.empty(2, np.uint32),
        colour=cupy.empty((*shape, 3), np.uint8),
        mask=cupy.empty(shape, np.uint8),
        ids=cupy.empty(shape, np.int32) if surfaces else None,
        inverse_distance=cupy.empty(shape, np.float32) if surfaces else None,
    )


def launch(batch: Batch) -> None:
    """Filter, rasterise and shade a batch; returns before the device has finished."""
    import cupy

    kernels, scene = _kernels(), batch.scene
    mesh = scene.mesh
    n, height, width = batch.mask.shape
    # A single structured value, which CuPy passes by value as the kernels' struct.
    size = np.array((mesh.height, mesh.width, height, width), np.dtype("i4,i4,i4,i4"))

    def over(columns: int, lines: int) -> tuple[tuple[int, int, int], tuple[int]]:
        return (-(-columns // _THREADS), lines, n), (_THREADS,)

    batch.reliable.fill(1)
    batch.keys.fill(0)
    batch.queued.fill(0)
    limits = np.float64(mesh.occlusion.cos_limit), np.float64(mesh.occlusion.max_slope)
    kernels["occlusions"](
        *over(mesh.width, mesh.height),
        (batch.depth, batch.lenses, batch.extent_limits, size, *limits, np.int32(mesh.border_is_real), batch.reliable),
    )
    if batch.left_out is not None:
        batch.reliable[batch.left_out] = 0
    drawn = batch.depth, batch.matrices, size, np.float64(NEAR), np.float64(scene.far), batch.keys, batch.queue
    capacity = np.uint32(len(batch.queue))
    nowhere = np.uint64(0)
    needed = batch.reliable if mesh.see_through else nowhere
    kernels["rasterise_small"](
        *over(mesh.width - 1, mesh.height - 1), (*drawn, batch.queued, capacity, np.int32(SMALL_BOX), needed)
    )
    blocks = 8 * cupy.cuda.Device().attributes["MultiProcessorCount"]
    for wide, slices in ((0, 1), (1, 8)):
        kernels["rasterise_large"]((blocks, slices), (_THREADS,), (*drawn, batch.queued, capacity, np.int32(wide)))
    kernels["shade"](
        *over(width, height),
        (
            batch.depth, batch.matrices, batch.reliable, batch.pictures, size, np.int32(scene.release_compat),
            batch.keys, batch.colour, batch.mask, nowhere if batch.ids is None else batch.ids,
            nowhere if batch.inverse_distance is None else batch.inverse_distance,
        ),
    )  # fmt: skip


def fetch(batch: Batch) -> list[View]:
    """Wait for a batch and copy its pictures to the host."""
    import cupy

    colour, mask = cupy.asnumpy(batch.colour), cupy.asnumpy(batch.mask)
    if batch.ids is None:
        return [View(c, m) for c, m in zip(colour, mask, strict=True)]
    found = zip(colour, mask, cupy.asnumpy(batch.ids), cupy.asnumpy(batch.inverse_distance), strict=True)
    return [View(c, m, Surface(i, w)) for c, m, i, w in found]
