"""Comparison of a clip with a camera that is known from elsewhere, such as from a matchmove.

Points are tracked as in a search, but the camera stays as it is. The points show whether it fits the clip, in which
unit its distances are, and how far the depth is off; together with optical flow, they show what moves by itself.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.progress import Progress, silent
from ex4d.source_camera import estimators, from_depth, gates, selection
from ex4d.source_camera.candidate import Candidate, depth_scale
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import GIVEN, UNCHANGED, Found, Wish
from ex4d.source_camera.masks import resized
from ex4d.source_camera.moving import moving_mask, tolerance
from ex4d.source_camera.moving_again import moving_again
from ex4d.source_camera.pictures import pictures_of
from ex4d.source_camera.steadying import steadying
from ex4d.source_camera.tracks import TOO_LITTLE_TEXTURE, cuts_in, follow, is_noise, said_of, too_little

FITS = 0.65
"""Minimum part of the points that must fit within 2 px, more than for a camera that was found, because nobody looked
for the best one. Measured: 0.73 if every pose is off by 0.1 degrees; with a focal length 30 % too long, 0.59 on a walk,
where the depth became worse, and 0.85 on an arc."""

FITS_ANYWAY_PX = 1.5
"""Points that are off by less than this on average need not fit better than with a still camera."""

TURNS_AS_WELL = 1.05
"""If points are off by less than this many times as much with a camera that only turns, its translation tells
nothing."""


def compared(
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera_to_world: NDArray[np.float64],
    wish: Wish,
    progress: Progress = silent,
) -> Found:
    """What moves, what steadies the depth, and static points, for a known camera.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32, correct up to a scale of each frame, or a guess.
        camera_to_world: (T,4,4) in any unit, the first is the identity.
        wish: what is known; its intrinsics are those of the camera, and its method does not matter.
        progress: called after each step; raises `Cancelled` to stop.

    Returns:
        The given camera. Points are in its own unit; there are none if it hardly changes position. If it cannot be
        compared with the clip or does not fit it, points are None, moving things are those of the wish, and a note
        for the user says why; a single frame needs none.
    """
    bare = Found(GIVEN, camera_to_world, moving=wish.moving)
    if len(frames) == 1:
        return bare
    if why := too_little(frames):
        return _not_compared(bare, f"{why} to follow points")
    pictures = pictures_of(frames)
    given = None if wish.moving is None else resized(wish.moving, pictures.size)
    tracks = follow(pictures.grey, None if given is None else ~given, progress)
    if cuts := cuts_in(tracks):
        return _not_compared(
            bare, f"the clip is {said_of(cuts)}: open each shot on its own, with First Frame and Frames"
        )
    if is_noise(tracks):
        return _not_compared(bare, TOO_LITTLE_TEXTURE)
    at, sure = from_depth.depth_at(tracks, depth, pictures.scale)
    task = Task(pictures, tracks, at, sure, pictures.intrinsics(wish.intrinsics), lens_known=True, zooms=False)
    candidate = _candidate(task, camera_to_world)
    part, off_px = candidate.fitting(task.long), candidate.capped(task.long)
    still_px = estimators.still(task).capped(task.long)
    if part < FITS:
        return _does_not_fit(
            bare,
            f"only {part:.0%} of the tracked points are within 2 px of where it puts them. Check that it belongs to"
            " these frames, that its lens is the one in use, and that the lens distortion was removed from the clip if"
            " it was removed when the camera was solved. If much of the picture moves by itself, give a mask of it.",
        )
    if off_px > max(gates.NEARER * still_px, FITS_ANYWAY_PX):
        return _does_not_fit(
            bare,
            f"a still camera fits about as well (points are off by {still_px:.1f} and {off_px:.1f} px). Check that it"
            " belongs to these frames.",
        )
    moving = wish.moving
    if moving is None:
        scale, spread = depth_scale(candidate, tracks, at)
        poses, depth_off = candidate.camera_to_world, tolerance(spread)
        moving = moving_mask(frames, depth, poses, wish.intrinsics, progress, scale, depth_off)
        task = task.with_tracks(selection.outside(resized(moving, pictures.size), tracks), depth)
        candidate = _candidate(task, camera_to_world)
    steady = UNCHANGED
    if not wish.depth_is_guess:
        if candidate.moves:
            task = task.with_tracks(selection.agreeing(task, candidate), depth)
            candidate = _candidate(task, camera_to_world)
        steady = steadying(candidate, task.tracks, task.depth, task.sure, pictures.size)
    if steady.field is not None and wish.moving is None:
        moving = moving_again(frames, depth, wish.intrinsics, steady, task, candidate, progress)
    points = selection.static_points(candidate, task.tracks)
    said = f"The camera given fits the clip: {part:.0%} of the tracked points are within 2 px of where it puts them."
    return replace(bare, points=points, moving=moving, steady=steady, choice_notes=(said,))


def _candidate(task: Task, camera_to_world: NDArray[np.float64]) -> Candidate:
    """The camera with the structure of the task's points. It counts as turning if its translation explains nothing."""
    turned = camera_to_world.copy()
    turned[:, :3, 3] = 0
    turns = task.candidate(GIVEN, turned, task.intrinsics, moves=False, lens_found=False)
    if (turned == camera_to_world).all():
        return turns
    moves = task.candidate(GIVEN, camera_to_world, task.intrinsics, moves=True, lens_found=False)
    return turns if turns.capped(task.long) <= TURNS_AS_WELL * moves.capped(task.long) else moves


def _not_compared(bare: Found, why: str) -> Found:
    """The result if the clip says nothing about its camera."""
    return replace(bare, choice_notes=(f"The camera given could not be compared with the clip, because {why}.",))


def _does_not_fit(bare: Found, why: str) -> Found:
    """The result if the camera is another one than the clip's."""
    alone = "its unit, what moves and the depth were left alone"
    return replace(bare, choice_notes=(f"The camera given does not fit the clip, so {alone}: {why}",))
