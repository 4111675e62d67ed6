"""Finding how a clip's camera moved: what can be decided at once, and the search otherwise."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.progress import Progress, silent
from ex4d.source_camera import from_depth
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import AUTO, STANDS_STILL, STILL, UNCHANGED, Found, Wish, not_found
from ex4d.source_camera.masks import resized
from ex4d.source_camera.moving import moving_mask
from ex4d.source_camera.pictures import pictures_of
from ex4d.source_camera.search import Search
from ex4d.source_camera.still import stillness
from ex4d.source_camera.still_depth import steadying_still
from ex4d.source_camera.tracks import TOO_LITTLE_TEXTURE, cuts_in, follow, is_noise, said_of, too_little


def find(frames: NDArray[np.uint8], depth: NDArray[np.float32], wish: Wish, progress: Progress = silent) -> Found:
    """Find how the camera moved. If a moving mask was given, it is returned unchanged, whatever is found.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32, correct up to a scale of each frame, or a guess.
        wish: what is known, and what is wanted.
        progress: called after each step; raises `Cancelled` to stop.
    """
    found = _found(frames, depth, wish, progress)
    return found if wish.moving is None else replace(found, moving=wish.moving)


def _found(frames: NDArray[np.uint8], depth: NDArray[np.float32], wish: Wish, progress: Progress) -> Found:
    if len(frames) == 1:
        return Found(STILL)
    if why := too_little(frames):
        return not_found(f"{why} to find how the camera moved")
    progress("Looking at the camera", 0, 1)
    pictures = pictures_of(frames)
    if wish.method == AUTO:
        test = stillness(pictures.grey, pictures.scale)
        if not test.can_tell:
            return not_found("there is too little texture to tell how the camera moved")
        if test.is_still:
            still = np.tile(np.eye(4), (len(frames), 1, 1))
            moving = wish.moving
            if moving is None:
                moving = moving_mask(frames, depth, still, wish.intrinsics, progress)
            steady = UNCHANGED
            if not wish.depth_is_guess:
                steady = steadying_still(depth, resized(moving, (depth.shape[2], depth.shape[1])))
            return Found(STILL, moving=moving, steady=steady, choice_notes=(STANDS_STILL,))
    progress("Looking at the camera", 1, 1)
    given = None if wish.moving is None else resized(wish.moving, pictures.size)
    tracks = follow(pictures.grey, None if given is None else ~given, progress)
    if cuts := cuts_in(tracks):
        return Found(
            STILL,
            choice_notes=(
                f"The clip is {said_of(cuts)}, so its camera was not searched for and counts as still: open each shot"
                " on its own, with First Frame and Frames.",
            ),
        )
    if is_noise(tracks):
        return not_found(TOO_LITTLE_TEXTURE)
    at, sure = from_depth.depth_at(tracks, depth, pictures.scale)
    task = Task(pictures, tracks, at, sure, pictures.intrinsics(wish.intrinsics), wish.lens_known, wish.zooms, given)
    return Search(frames, depth, wish, task, progress).run()
