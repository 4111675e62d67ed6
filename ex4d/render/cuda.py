"""The CUDA engine: kernels.cu through CuPy, many pictures at a time."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from ex4d.errors import InputError
from ex4d.render import NEAR, Scene, Surface, View

MEMORY_SHARE = 0.5
"""Part of the GPU's free memory that one batch may take; the rest stays for others (a warm model)."""

MOST_AT_ONCE = 16
"""Pictures in one batch: enough to fill the GPU, few enough that progress and cancel stay prompt."""

SMALL_BOX = 12
"""Quads over more pixels than this go to the queue (kernels.cu)."""

_THREADS = 128


@cache
def missing() -> str:
    """Why CUDA cannot be used here, or an empty text."""
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no usable NVIDIA GPU ({error})"
    return "" if count else "there is no NVIDIA GPU"


@cache
def _kernels() -> dict[str, Any]:
    import cupy

    source = resources.files("ex4d.render").joinpath("kernels.cu").read_text(encoding="utf-8")
    module = cupy.RawModule(code=source, options=("--fmad=false", "--std=c++14"))
    return {name: module.get_function(name) for name in ("occlusions", "rasterise_small", "rasterise_large", "shade")}


class CudaEngine:
    """Draws on the current CUDA device."""

    name = "cuda"

    def views(self, scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool = False) -> Iterator[View]:
        """Pictures of the pairs (t, view); see `ex4d.render.Engine`.

        Raises:
            InputError: the GPU has no memory for a single picture of this size.
        """
        import cupy

        at_once = min(MOST_AT_ONCE, max(1, int(MEMORY_SHARE * cupy.cuda.Device().mem_info[0] / _bytes_a_view(scene))))
        done = 0
        while done < len(pairs):
            try:
                views = _draw(scene, pairs[done : done + at_once], surfaces)
            except cupy.cuda.memory.OutOfMemoryError as error:
                # Somebody else took the memory meanwhile: fewer at once, down to one.
                cupy.get_default_memory_pool().free_all_blocks()
                if at_once == 1:
                    raise InputError(
                        f"The GPU has no memory for a picture of {scene.path.width}x{scene.path.height}: render a"
                        " smaller one, end other programs on the GPU, or take the engine numba."
                    ) from error
                at_once //= 2
                continue
            yield from views
            done += len(views)


def _bytes_a_view(scene: Scene) -> int:
    """GPU memory for one picture."""
    vertices, pixels = scene.mesh.height * scene.mesh.width, scene.path.height * scene.path.width
    return vertices * (4 + 3 + 1 + 2 * 8) + pixels * (8 + 3 + 1 + 8)


def _draw(scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool) -> list[View]:
    """Upload, draw, and fetch one batch."""
    import cupy

    mesh, n = scene.mesh, len(pairs)
    frames = [t for t, _ in pairs]
    # Consecutive frames are a view of the mesh's own memory; others are gathered.
    together = slice(frames[0], frames[0] + n) if frames == list(range(frames[0], frames[0] + n)) else frames
    host_depth = mesh.depth[together]
    depth, pictures = cupy.asarray(host_depth), cupy.asarray(scene.pictures[together])
    matrices = cupy.asarray(np.stack([scene.projection(t, view) for t, view in pairs]))
    lenses = cupy.asarray(mesh.intrinsics[together])
    rows, cols, height, width = mesh.height, mesh.width, scene.path.height, scene.path.width
    size = np.array([rows, cols, height, width], np.int32).view(np.dtype([("size", np.int32, 4)]))[0]
    extent_limits = np.full(n, np.inf)
    if np.isfinite(mesh.occlusion.max_extent):
        extent_limits = mesh.occlusion.max_extent * np.array([float(d.max()) - float(d.min()) for d in host_depth])
    kernels = _kernels()

    def over(columns: int, lines: int) -> tuple[tuple[int, int, int], tuple[int]]:
        return (-(-columns // _THREADS), lines, n), (_THREADS,)

    reliable = cupy.ones((n, rows, cols), np.uint8)
    kernels["occlusions"](
        *over(cols, rows),
        (
            depth, lenses, cupy.asarray(extent_limits), size, np.float64(mesh.occlusion.cos_limit),
            np.float64(mesh.occlusion.max_slope), np.int32(mesh.border_is_real), reliable,
        ),
    )  # fmt: skip
    keys = cupy.zeros((n, height, width), np.uint64)
    queue, queued = cupy.empty(n * (2 * (rows - 1) * (cols - 1) + 2), np.uint64), cupy.zeros(1, np.uint32)
    planes = np.float64(NEAR), np.float64(scene.far)
    kernels["rasterise_small"](
        *over(cols - 1, rows - 1), (depth, matrices, size, *planes, keys, queue, queued, np.int32(SMALL_BOX))
    )
    blocks = 4 * cupy.cuda.Device().attributes["MultiProcessorCount"]
    kernels["rasterise_large"]((blocks, 8), (_THREADS,), (depth, matrices, size, *planes, keys, queue, queued))
    colour, mask = cupy.empty((n, height, width, 3), np.uint8), cupy.empty((n, height, width), np.uint8)
    ids = cupy.empty((n, height, width), np.int32) if surfaces else None
    inverse = cupy.empty((n, height, width), np.float32) if surfaces else None
    none = np.uint64(0)
    kernels["shade"](
        *over(width, height),
        (
            depth, matrices, reliable, pictures, size, np.int32(scene.release_compat), keys, colour, mask,
            none if ids is None else ids, none if inverse is None else inverse,
        ),
    )  # fmt: skip
    host_colour, host_mask = cupy.asnumpy(colour), cupy.asnumpy(mask)
    if ids is None or inverse is None:
        return [View(c, m) for c, m in zip(host_colour, host_mask, strict=True)]
    found = zip(host_colour, host_mask, cupy.asnumpy(ids), cupy.asnumpy(inverse), strict=True)
    return [View(c, m, Surface(i, w)) for c, m, i, w in found]
