"""nvdiffrast as an engine, for comparison with the release; NVIDIA's licence allows non-commercial use only.

Nothing of nvdiffrast is part of this project; if you want it, build it from its own repository.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.render.engines import numpy_reference as reference
from ex4d.render.scene import NEAR, Scene, Surface, View

LARGEST_SIDE = 2048
"""Maximum width and height that nvdiffrast's CUDA rasteriser draws."""


class NvdiffrastEngine:
    """Faces by nvdiffrast's rasteriser, colours by our shader; with `release_compat` the release's, antialiased."""

    name = "nvdiffrast"
    note = "Rendered by nvdiffrast, which NVIDIA licenses for non-commercial use only."

    def __init__(self) -> None:
        import nvdiffrast.torch

        self._context = nvdiffrast.torch.RasterizeCudaContext()

    def views(self, scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool = False) -> Iterator[View]:
        """Pictures of the pairs (t, view); see `ex4d.render.scene.Engine`.

        Raises:
            InputError: the picture is larger than nvdiffrast draws, or its sides are not multiples of 8.
        """
        import torch

        width, height = scene.path.width, scene.path.height
        if max(width, height) > LARGEST_SIDE or width % 8 or height % 8:
            raise InputError(
                f"nvdiffrast draws sides of up to {LARGEST_SIDE} pixels that are multiples of 8, not"
                f" {width}x{height}: use another engine."
            )
        faces = torch.from_numpy(scene.mesh.faces).cuda()
        for t, view in pairs:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # as in the numpy engine
                drawn = self._view(scene, t, view, faces)
            yield drawn

    def _view(self, scene: Scene, t: int, view: int, faces: Any) -> View:
        import nvdiffrast.torch as dr
        import torch

        mesh, size = scene.mesh, (scene.path.height, scene.path.width)
        matrix = scene.projection(t, view)
        positions = torch.from_numpy(_gl_clip(reference.clip_coordinates(mesh.depth[t], matrix), scene)).cuda()[None]
        reliable = mesh.reliable_vertices(t).astype(np.uint8)
        if mesh.see_through:  # faces without extent draw nothing, and the others keep their numbers
            there = torch.from_numpy(reliable.ravel()[mesh.faces].any(axis=1)).cuda()
            faces = faces * there[:, None]
        raster, _ = dr.rasterize(self._context, positions, faces, resolution=size)
        ids = _our_ids(raster[0, ..., 3].cpu().numpy(), mesh.depth.shape[1:])
        if scene.release_compat:
            rgba = np.concatenate([scene.pictures[t], np.full((*reliable.shape, 1), 255, np.uint8)], axis=-1)
            rgba = torch.from_numpy((rgba * reliable[..., None]).reshape(-1, 4).astype(np.float32)).cuda()
            picture, _ = dr.interpolate(rgba[None], raster, faces)
            picture = dr.antialias(picture, raster, positions, faces)[0].cpu().numpy()
            mask = np.where(picture[..., 3] > 125, 255, 0).astype(np.uint8)
            colour = np.where(mask[..., None] > 0, picture[..., :3], 0).astype(np.uint8)
        else:
            colour, mask = reference.shade(mesh.depth[t], matrix, ids, reliable, scene.pictures[t], False)
        return View(colour, mask, Surface(ids, reference.inverse_distance(mesh.depth[t], matrix, ids)))


def _gl_clip(clip: NDArray[np.float64], scene: Scene) -> NDArray[np.float32]:
    """Clip coordinates (V,3) in pixels, as OpenGL's (V,4) float32 with the picture's first row at -1."""
    x, y, w = clip.T
    n, f = NEAR, scene.far
    z = w - 2 * n if np.isinf(f) else ((f + n) * w - 2 * f * n) / (f - n)
    return np.stack([2 * x / scene.path.width - w, 2 * y / scene.path.height - w, z, w], -1).astype(np.float32)


def _our_ids(one_based: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """nvdiffrast's face numbers (h,w), 0 for none, as ids (see `ex4d.render.scene.Surface`)."""
    rows, cols = shape
    number = one_based.astype(np.int64) - 1
    quad = number >> 1
    inside = 2 * (quad // (cols - 1) * cols + quad % (cols - 1)) + (number & 1)
    closing = 2 * rows * cols + number - 2 * (rows - 1) * (cols - 1)
    ids = np.where(quad >= (rows - 1) * (cols - 1), closing, inside)
    return np.where(number < 0, -1, ids).astype(np.int32)
