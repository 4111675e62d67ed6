"""Finding how a clip's camera moved: what can be decided at once, and the search otherwise."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.frame_numbers import in_shot
from ex4d.progress import Progress, silent
from ex4d.source_camera import from_depth
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import AUTO, STANDS_STILL, STILL, UNCHANGED, Found, Wish, not_found
from ex4d.source_camera.masks import resized
from ex4d.source_camera.moving import moving_mask
from ex4d.source_camera.pictures import pictures_of
from ex4d.source_camera.search import Search
from ex4d.source_camera.steadying import steadying_still
from ex4d.source_camera.still import stillness
from ex4d.source_camera.tracks import Tracks, follow

FEWEST_FRAMES = 5
"""Minimum number of frames for a search."""

LEAST_SIDE = 100
"""In pixels. Frames with a shorter side below this have too few distinguishable points to find anything."""

CUT_SURVIVORS = 0.12
"""A frame in which less than this part of the points is found again starts another shot."""

FOLLOWED = 0.6
"""The points are noise if, in the median frame, less than this part of them is found again from the frame before.
Measured: 0.38 on bare walls, 0.91 and more in clips with texture."""

TOO_LITTLE_TEXTURE = "there is too little texture that can be followed from frame to frame"
"""What is said of them."""


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
        where = " and ".join(in_shot(t) for t in cuts[:5])
        return Found(
            STILL,
            choice_notes=(
                f"The clip is cut at {where}, so its camera was not searched for and counts as still: open each shot on"
                " its own, with First Frame and Frames.",
            ),
        )
    if is_noise(tracks):
        return not_found(TOO_LITTLE_TEXTURE)
    at, sure = from_depth.depth_at(tracks, depth, pictures.scale)
    task = Task(pictures, tracks, at, sure, pictures.intrinsics(wish.intrinsics), wish.lens_known, wish.zooms, given)
    return Search(frames, depth, wish, task, progress).run()


def too_little(frames: NDArray[np.uint8]) -> str:
    """Why nothing can be found in frames (T,H,W,3), as the beginning of a clause that ends with "to ..."; or ""."""
    height, width = frames.shape[1:3]
    if len(frames) < FEWEST_FRAMES:
        return f"{len(frames)} frames are too few"
    if min(height, width) < LEAST_SIDE:
        return f"frames of {width}x{height} px are too small"
    return ""


def is_noise(tracks: Tracks) -> bool:
    """Whether most of what was tracked is not there in the next frame."""
    return bool(np.median(tracks.survived[1:]) < FOLLOWED)


def cuts_in(tracks: Tracks) -> list[int]:
    """The first frame of every shot except the first."""
    return [int(t) for t in np.flatnonzero(tracks.survived < CUT_SURVIVORS)]
