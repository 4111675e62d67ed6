"""The preview generator: no neural network, only what other frames saw and classical inpainting."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.camera_path import CameraPath
from ex4d.conditioning import Conditioning, draw_view, over_frames
from ex4d.generate import Generated
from ex4d.mesh import DWMesh
from ex4d.progress import Progress, silent

DONOR_FRAMES = 8
"""So many frames, evenly spread over the shot, are asked what they saw behind the holes of each frame."""

INPAINT_RADIUS = 3
"""Neighbourhood in pixels of the inpainting (Telea 2004)."""

NOTE = "This is a preview: holes are filled from other frames and by classical inpainting, not by the EX-4D model."


Scene = tuple[DWMesh, NDArray[np.uint8], CameraPath]
"""Mesh of T frames, its pictures (T,H,W,3), and the path of T cameras."""


def generate(
    conditioning: Conditioning, scene: Scene | None = None, seed: int = 0, progress: Progress = silent
) -> Generated:
    """Fill the holes of the conditioning; pixels that are real stay as they are.

    A hole first takes the farthest surface that any of `DONOR_FRAMES` frames saw at that place: what moves
    in front uncovers what is behind. The rest is inpainted (Telea 2004). Nothing is random, the seed is
    only passed on.

    Args:
        conditioning: T frames.
        scene: what it was rendered from; without it everything is inpainted.
        seed: kept with the result.
        progress: told after each frame; raises `Cancelled` to stop.
    """
    count = len(conditioning.colour)
    donors = np.unique(np.linspace(0, count - 1, min(DONOR_FRAMES, count)).round().astype(int))
    result = conditioning.colour.copy()

    def fill(t: int) -> None:
        rest = conditioning.mask[t] == 0
        if scene is not None and rest.any():
            rest = _fill_from_others(scene, donors, result[t], rest, t)
        if rest.any() and not rest.all():  # A frame in which nothing is real stays black.
            result[t] = cv2.inpaint(result[t], rest.astype(np.uint8), INPAINT_RADIUS, cv2.INPAINT_TELEA)

    for done in over_frames(fill, count):
        progress("Filling holes (preview)", done, count)
    settings: dict[str, Any] = {
        "donor_frames": 0 if scene is None else len(donors),
        "inpaint_radius": INPAINT_RADIUS,
    }
    return Generated(result, "preview", seed, settings, (NOTE,))


def _fill_from_others(
    scene: Scene, donors: NDArray[np.int_], picture: NDArray[np.uint8], hole: NDArray[np.bool_], t: int
) -> NDArray[np.bool_]:
    """Fill holes (h,w) of `picture` (h,w,3) in place from the meshes of other frames; returns those left."""
    mesh, frames, path = scene
    nearest_inverse = np.full(hole.shape, np.inf, np.float32)
    seen, seen_mask = np.empty_like(picture), np.empty(hole.shape, np.uint8)
    for donor in donors:
        if donor == t:
            continue
        inverse = draw_view(mesh, donor, frames[donor], path, t, seen, seen_mask)
        farther = hole & (seen_mask == 255) & (inverse < nearest_inverse)
        picture[farther] = seen[farther]
        nearest_inverse[farther] = inverse[farther]
    return hole & np.isinf(nearest_inverse)
