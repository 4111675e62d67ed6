"""Comparison of a clip with a camera that is known from elsewhere, such as from a matchmove.

Points are tracked as in a search, but the camera stays as it is. The points show whether it fits the clip, in which
unit its distances are, and how far the depth is off; together with optical flow, they show what moves by itself.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.intrinsics import field_of_view_of
from ex4d.progress import Progress, silent
from ex4d.source_camera import estimators, from_depth, gates, selection
from ex4d.source_camera.candidate import Candidate, depth_scale
from ex4d.source_camera.depth_and_movers import improved
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import GIVEN, UNCHANGED, Found, Wish
from ex4d.source_camera.masks import resized
from ex4d.source_camera.moving import moving_mask, tolerance
from ex4d.source_camera.pictures import pictures_of
from ex4d.source_camera.steadying import steadying
from ex4d.source_camera.still import stillness
from ex4d.source_camera.still_depth import steadying_still
from ex4d.source_camera.tracks import TOO_LITTLE_TEXTURE, cuts_in, follow, is_noise, said_of, too_little

FEWEST = 50
"""With fewer points that are seen for long enough, nothing is known."""

FITS_ANYWAY_PX = 1.5
"""Points that are off by less than this on average need not fit better than with a still camera."""

STANDS_PX, SAME_PX = 1.0, 0.1
"""A camera that turns by less than this many pixels stands still if points are off by as much as with a still one,
within this difference."""

TURNS_AS_WELL = 1.05
"""If points are off by less than this many times as much with a camera that only turns, its translation tells
nothing."""

LENSES, BETTER_LENS = (0.7, 0.8, 0.88, 0.94, 1.06, 1.13, 1.25, 1.45), 0.93
"""Focal lengths that are tried, relative to the one in use, which is wrong if points are off by less than this part
with another one. Measured with the right one: 0.98 and more; with one that is 15 % off, 0.91 at most."""


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
        return _not_compared(bare, TOO_LITTLE_TEXTURE if given is None else f"{TOO_LITTLE_TEXTURE} outside the mask")
    at, sure = from_depth.depth_at(tracks, depth, pictures.scale)
    task = Task(pictures, tracks, at, sure, pictures.intrinsics(wish.intrinsics), lens_known=True, zooms=False)
    if len(np.unique(tracks.track[task.long])) < FEWEST:
        where = "" if given is None else " outside the mask of what moves"
        return _not_compared(bare, f"too few points can be followed{where}")
    candidate, still_px = _candidate(task, camera_to_world), estimators.still(task).capped(task.long)
    if _stands(task, candidate, still_px):
        return _compared_still(bare, frames, depth, wish, task, progress)
    if why := _misfit(task, candidate, still_px):
        return _does_not_fit(bare, why)
    scale, spread = depth_scale(candidate, tracks, at)
    if spread > gates.DEPTH_SPREAD and not wish.depth_is_guess:
        return replace(
            bare,
            choice_notes=(
                f"The camera given fits the clip, but the depth differs from the distances of its points by"
                f" {spread:.0%}, so its unit, what moves and the depth were left alone. Check what the numbers in the"
                " depth file mean.",
            ),
        )
    moving = wish.moving
    if moving is None:
        poses, depth_off = candidate.camera_to_world, tolerance(spread)
        moving = moving_mask(frames, depth, poses, wish.intrinsics, progress, scale, depth_off)
        static = task.with_tracks(selection.outside(resized(moving, pictures.size), tracks), depth)
        if len(np.unique(static.tracks.track[static.long])) >= FEWEST:
            task, candidate = static, _candidate(static, camera_to_world)
    steady = UNCHANGED
    if not wish.depth_is_guess:
        if candidate.moves:
            task = task.with_tracks(selection.agreeing(task, candidate), depth)
            candidate = _candidate(task, camera_to_world)
        steady = steadying(candidate, task.tracks, task.depth, task.sure, pictures.size)
        moving, steady = improved(
            frames,
            depth,
            wish.intrinsics,
            moving,
            steady,
            task,
            candidate,
            progress,
            moving_is_given=wish.moving is not None,
        )
    points = selection.static_points(candidate, task.tracks)
    part = f"{candidate.fitting(task.long):.0%} of the points that stand still"
    said = f"The camera given fits the clip: {part} are within 2 px of where it puts them."
    return replace(bare, points=points, moving=moving, steady=steady, choice_notes=(said,))


def _stands(task: Task, candidate: Candidate, still_px: float) -> bool:
    """Whether the given camera stands still, where points are off by `still_px` on average with one that does."""
    turned = candidate.camera_to_world[:, :3, :3]
    cosines = (np.trace(turned, axis1=1, axis2=2) - 1) / 2
    pixels = np.arccos(np.clip(cosines, -1, 1)).max() * task.intrinsics[:, 0, 0].max()
    return bool(pixels < STANDS_PX and candidate.capped(task.long) > still_px - SAME_PX)


def _compared_still(
    bare: Found,
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    wish: Wish,
    task: Task,
    progress: Progress,
) -> Found:
    """The result for a camera that is said to stand still."""
    if not stillness(task.pictures.grey, task.pictures.scale).is_still:
        return _does_not_fit(
            bare, "it stands still, and the clip's own does not. Check that it belongs to these frames."
        )
    moving, still = wish.moving, np.tile(np.eye(4), (len(frames), 1, 1))
    if moving is None:
        moving = moving_mask(frames, depth, still, wish.intrinsics, progress)
    steady = UNCHANGED
    if not wish.depth_is_guess:
        steady = steadying_still(depth, resized(moving, (depth.shape[2], depth.shape[1])))
    said = "The camera given fits the clip: both stand still."
    return replace(bare, points=np.zeros((0, 3)), moving=moving, steady=steady, choice_notes=(said,))


def _misfit(task: Task, candidate: Candidate, still_px: float) -> str:
    """Why a camera is not the clip's, and what to do, as sentences; "" if it may be.

    `still_px` is how far points are off on average with a still camera.
    """
    part, off = candidate.fitting(task.long), candidate.capped(task.long)
    if part < gates.FITTING:
        return (
            f"only {int(100 * part)}% of the tracked points are within 2 px of where it puts them. Check that it"
            " belongs to these frames, that its lens is the one in use, and that the lens distortion was removed from"
            " the clip if it was removed when the camera was solved. If much of the picture moves by itself, give a"
            " mask of it."
        )
    if off > max(gates.NEARER * still_px, FITS_ANYWAY_PX):
        return (
            f"a still camera fits about as well (points are off by {still_px:.1f} and {off:.1f} px). Check that it"
            " belongs to these frames."
        )
    others = [_with_lens(task, candidate, factor).capped(task.long) for factor in LENSES]
    best = int(np.argmin(others))
    if others[best] > BETTER_LENS * off:
        return ""
    focal = LENSES[best] * float(task.intrinsics[0, 0, 0])
    degrees = field_of_view_of(focal, task.pictures.size[0])
    return (
        f"it fits better with another lens than the one in use. Set the field of view to that of its lens, about"
        f" {degrees:.0f} degrees."
    )


def _with_lens(task: Task, candidate: Candidate, factor: float) -> Candidate:
    """The camera with another focal length."""
    lens = task.intrinsics.copy()
    lens[:, [0, 1], [0, 1]] *= factor
    return task.candidate(GIVEN, candidate.camera_to_world, lens, moves=candidate.moves, lens_found=False)


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
