"""The two engines that run on the CPU, with frames spread over one thread per core."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.mesh import DWMesh
from ex4d.render.engines import missing
from ex4d.render.scene import NEAR, Scene, Surface, View

Item = TypeVar("Item")
Result = TypeVar("Result")

NUMPY_NOTE = "Rendered by numpy, which is about a hundred times slower than numba."


class CPUEngine:
    """The compiled kernels (name "numba"), or their readable reference (name "numpy")."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.note = NUMPY_NOTE if name == "numpy" else ""
        self._view = _view_by_numpy if name == "numpy" else _view_by_numba

    def views(self, scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool = False) -> Iterator[View]:
        """Pictures of the pairs (t, view); see `ex4d.render.scene.Engine`."""
        return in_threads(lambda pair: self._view(scene, *pair), pairs)


def _view_by_numba(scene: Scene, t: int, view: int) -> View:
    from ex4d.render.engines import numba_kernels as kernels

    depth, matrix = scene.mesh.depth[t], scene.projection(t, view)
    size = (scene.path.height, scene.path.width)
    reliable = kernels.reliable_vertices_of(scene.mesh, t)
    needed = reliable if scene.mesh.see_through else None
    inverse_distance, ids = kernels.rasterise(depth, matrix, *size, NEAR, scene.far, needed)
    colour, mask = np.empty((*size, 3), np.uint8), np.empty(size, np.uint8)
    kernels.shade(depth, matrix, ids, reliable, scene.pictures[t], scene.release_compat, colour, mask)
    return View(colour, mask, Surface(ids, inverse_distance))


def _view_by_numpy(scene: Scene, t: int, view: int) -> View:
    from ex4d.render.engines import numpy_reference as reference

    depth, matrix = scene.mesh.depth[t], scene.projection(t, view)
    size = (scene.path.height, scene.path.width)
    # Depth is checked before it becomes a mesh; any non-finite values left draw nothing, without a warning.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        reliable = scene.mesh.reliable_vertices(t).astype(np.uint8)
        needed = reliable if scene.mesh.see_through else None
        inverse_distance, ids = reference.rasterise(depth, matrix, *size, NEAR, scene.far, needed)
        colour, mask = reference.shade(depth, matrix, ids, reliable, scene.pictures[t], scene.release_compat)
    return View(colour, mask, Surface(ids, inverse_distance))


def reliable_vertices(mesh: DWMesh) -> Iterator[NDArray[np.uint8]]:
    """`DWMesh.reliable_vertices` of every frame in order, (H,W) uint8 in {0,1}; compiled if numba is installed."""
    if missing("numba"):
        return in_threads(lambda t: mesh.reliable_vertices(t).astype(np.uint8), range(len(mesh)))
    from ex4d.render.engines import numba_kernels

    return in_threads(lambda t: numba_kernels.reliable_vertices_of(mesh, t), range(len(mesh)))


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Results of `work` in order, from one thread per core (compiled kernels release the interpreter lock).

    Work that has not started is dropped when the consumer stops.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(cancel_futures=True)
