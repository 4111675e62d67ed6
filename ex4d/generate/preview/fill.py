"""The preview generator: no neural network, only what other frames saw and classical inpainting."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.generate.base import Generated, Request
from ex4d.progress import FILLING, Progress, silent
from ex4d.render.conditioning import Conditioning, without_rim
from ex4d.render.engines import engine as default_engine
from ex4d.render.scene import Engine, Scene

DONOR_FRAMES = 8
"""This many frames, evenly spread over the shot, are asked what they saw behind the holes of each frame."""

WITNESSES = 2
"""This many frames must have seen a surface at the same distance, or it may be something that passed by."""

SAME_DISTANCE = 0.02
"""Distances whose ratio differs from 1 by less than this are the same."""

NOTE = "Holes are filled from other frames and by classical inpainting."


class PreviewGenerator:
    """The preview as a generator. It holds nothing between requests, and nothing in it is random."""

    def generate(self, request: Request, progress: Progress) -> Generated:
        """Fill the holes, and the rim of the mask with them; see `ex4d.generate.base.Generator`."""
        sure = without_rim(request.conditioning, request.seed)
        frames = filled(sure, request.scene, request.engine, progress)
        is_known = request.scene is None or sure.borrowed is not None
        asked = 0 if is_known else len(_donors(len(frames)))
        return Generated(frames, {"donor_frames": asked, "witnesses": WITNESSES}, (NOTE,))

    def unload(self) -> None:
        """Nothing is held."""


def filled(
    conditioning: Conditioning,
    scene: Scene | None = None,
    engine: Engine | None = None,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Frames (T,h,w,3) with the holes of the conditioning filled; pixels that are real stay as they are.

    Where nobody knew what moves, so that no other frame was asked when it was rendered (`ex4d.render.world`), a hole
    first takes the farthest surface that any of `DONOR_FRAMES` frames saw at that place: what moves in front uncovers
    what is behind. The rest is inpainted.

    Args:
        conditioning: T frames.
        scene: what it was rendered from; without it everything is inpainted.
        engine: renders the scene; None takes the fastest that can run here.
        progress: told after each frame; raises `Cancelled` to stop.
    """
    count = len(conditioning.colour)
    donors, result = _donors(count), conditioning.colour.copy()
    engine = engine or default_engine()
    for t in range(count):
        hole = conditioning.mask[t] == 0
        if scene is not None and hole.any() and conditioning.borrowed is None:
            hole = _fill_from_others(scene, engine, donors, result[t], hole, t)
        if hole.any() and not hole.all():  # A frame in which nothing is real stays black.
            result[t] = _inpaint(result[t], hole)
        progress(FILLING, t + 1, count)
    return result


def _donors(count: int) -> NDArray[np.int_]:
    """Numbers of the frames that holes are filled from, of `count` frames."""
    return np.unique(np.linspace(0, count - 1, min(DONOR_FRAMES, count)).round().astype(int))


def _fill_from_others(
    scene: Scene,
    engine: Engine,
    donors: NDArray[np.int_],
    picture: NDArray[np.uint8],
    hole: NDArray[np.bool_],
    t: int,
) -> NDArray[np.bool_]:
    """Fill holes (h,w) of `picture` (h,w,3) in place from the meshes of other frames; returns the holes left.

    Taken is the farthest surface that `WITNESSES` frames saw at the same distance: what stood still behind. It
    must lie behind the mesh of frame `t`, for that frame saw that everything in front is empty; so what moves
    leaves no ghosts.
    """
    views = list(engine.views(scene, [(t, t), *((donor, t) for donor in donors)], surfaces=True))
    inverse = np.stack([view.surface.inverse_distance for view in views if view.surface])
    others, nearest, inverse = views[1:], inverse[0] * (1 + SAME_DISTANCE), inverse[1:]
    inverse[(inverse > nearest) | np.stack([view.mask == 0 for view in others])] = np.inf
    left = hole
    if len(donors) >= WITNESSES:
        order = np.argsort(inverse[:, hole], axis=0)
        farthest_first = np.take_along_axis(inverse[:, hole], order, axis=0)
        one, last = farthest_first[: 1 - WITNESSES], farthest_first[WITNESSES - 1 :]
        agree = np.isfinite(last) & (last <= one * (1 + SAME_DISTANCE))
        found, first = agree.any(axis=0), agree.argmax(axis=0)
        donor_of = np.take_along_axis(order, first[None], axis=0)[0][found]
        rows, cols = (index[found] for index in np.nonzero(hole))
        picture[rows, cols] = np.stack([view.colour for view in others])[donor_of, rows, cols]
        left = hole.copy()
        left[rows, cols] = False
    return left


def _inpaint(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Picture (h,w,3) with its holes (h,w) filled smoothly from around.

    Pull-push (Gortler et al. 1996): each coarser level averages what is known; going back, holes take the
    coarser level's colour. Unlike marching methods (Telea 2004) it draws no streaks into holes that are
    half the picture wide.
    """
    weight: NDArray = (~hole).astype(np.float32)[..., None]
    levels: list[tuple[NDArray, NDArray]] = [(picture.astype(np.float32), weight)]
    while min(levels[-1][1].shape[:2]) > 1:
        colour, weight = levels[-1]
        sums = cv2.pyrDown(np.concatenate([colour * weight, weight], axis=-1))
        weight = sums[..., 3:]
        # What a quarter of the neighbourhood knows is known.
        levels.append((sums[..., :3] / np.maximum(weight, 1e-9), np.minimum(4 * weight, 1)))
    filled = levels[-1][0]
    for colour, weight in levels[-2::-1]:
        coarse = cv2.pyrUp(filled, dstsize=weight.shape[1::-1])
        filled = colour * weight + coarse * (1 - weight)
    return np.where(hole[..., None], np.clip(filled + 0.5, 0, 255).astype(np.uint8), picture)
