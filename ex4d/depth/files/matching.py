"""Which frames and pixels of a depth file belong to those of a clip, and its lens."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import lens
from ex4d.depth.files.stored import Stored
from ex4d.errors import InputError
from ex4d.frame_numbers import in_file
from ex4d.geometry import intrinsics
from ex4d.geometry.intrinsics import FrameFit

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

ASPECT_TOLERANCE = 0.01
"""Allowed relative difference between the aspect ratios of depth and clip."""

ROUNDED_TO = (8, 14, 16, 32, 64)
"""Tools round both sides to a multiple of one of these, as their networks require; 14 is Depth-Anything's, 64
DepthCrafter's."""

MOST_THINNED = 4
"""Maximum factor by which tools that lower the frame rate thin out the frames."""

MOST_STRETCH = 0.2
"""Depth that would have to be stretched by more than this belongs to another picture."""


def chosen_frames(path: Path, stored: Stored, clip: "Clip") -> tuple[NDArray[np.int64], str]:
    """Choose the stored frame of depth for each frame of the clip (T,), with a sentence if the choice is not obvious.

    Args:
        path: for messages.
        stored: the depth. EX-4D writes it only for the frames in use. Other tools see the stored pictures, so depth
            with as many frames as there are stored pictures is matched to those, even if the number of frames in use is
            the same in a clip at another rate or with gaps.
        clip: the clip it belongs to.

    Raises:
        InputError: too few frames, or an ambiguous number; gives the counts.
    """
    assert clip.stored is not None
    frames, used = stored.frames, len(clip.frames)
    if stored.part is not None and stored.part[2] == clip.source_frames:
        return _in_part(path, stored.part, frames, clip), ""
    if frames == clip.source_frames:
        return clip.numbers, ""
    if frames == used == clip.stored_pictures and not stored.is_ours:
        return clip.stored, (
            f"{path.name} has as many frames of depth as {clip.source} has images: each frame uses that of the"
            " image which it shows."
        )
    if frames == used:
        return np.arange(used), ""
    if frames == clip.stored_pictures:
        return clip.stored, ""
    if clip.places is not None and frames == clip.places[-1] + 1:
        return clip.places[clip.stored], (
            f"{path.name} has depth for the missing images of {clip.source} too, which was left out with them."
        )
    uneven = clip.stored_pictures not in (0, clip.source_frames)
    if frames > clip.numbers[-1] and not uneven:
        every = round(clip.source_frames / frames)
        thinned = 1 < every <= MOST_THINNED and abs(clip.source_frames / every - frames) <= 1
        return clip.numbers, (
            f"{path.name} has {frames} frames of depth and {clip.source} {clip.source_frames}: they are counted"
            " from the clip's first frame."
            + (f" If the depth is of one frame in {every}, create it again for all." if thinned else "")
        )
    told = f" ({clip.stored_pictures} pictures at a variable rate)" if uneven else ""
    raise InputError(
        f"The depth {path} has {frames} frames, but {clip.source} has {clip.source_frames}{told}, of which"
        f" {used} are used: give as many frames of depth as one of these."
    )


def _in_part(path: Path, part: tuple[int, int, int], frames: int, clip: "Clip") -> NDArray[np.int64]:
    """The stored frame for each frame of the clip (T,), in depth of a `part` of the clip's source.

    Raises:
        InputError: the part does not have all of them.
    """
    first, step, _of = part
    places, between = np.divmod(clip.numbers - first, step)
    if between.any() or places[0] < 0 or places[-1] >= frames:
        there, wanted = (f" in steps of {by}" if by > 1 else "" for by in (step, clip.step))
        raise InputError(
            f"The depth {path} begins at {in_file(first)} and is {frames} frames long{there}, but {len(clip.frames)}"
            f" from {in_file(clip.start)} on{wanted} are used: use frames that it has, or other depth."
        )
    return places


def sampling(path: Path, size: tuple[int, int], fit: FrameFit) -> tuple[NDArray[np.intp], NDArray[np.intp], str]:
    """The stored row of each working row and the stored column of each working column, matched by pixel centres.

    Returns:
        Rows (H,), columns (W,), and a sentence if the depth is stretched because a tool rounded its size.

    Raises:
        InputError: its aspect ratio is not the clip's.
    """
    if size == (fit.width, fit.height):
        return np.arange(fit.height), np.arange(fit.width), ""
    (width, height), note = size, ""
    height_expected = width * fit.source_height / fit.source_width
    # In small pictures, rounding can change the height by more than the tolerance.
    if abs(height - height_expected) > max(1, ASPECT_TOLERANCE * height_expected):
        if not _is_rounded(size, fit):
            if abs(width - height * fit.source_height / fit.source_width) <= max(1, ASPECT_TOLERANCE * width):
                raise InputError(
                    f"The depth {path} is {width}x{height} and lies on its side: the clip is shown as"
                    f" {fit.source_width}x{fit.source_height}, as its file says. Rotate the depth too, or create it"
                    " from the clip as it is shown."
                )
            raise InputError(
                f"The depth {path} is {width}x{height}, which does not fit the clip's {fit.source_width}x"
                f"{fit.source_height}: give depth of that size or aspect ratio, or of the working size"
                f" {fit.width}x{fit.height}."
            )
        note = (
            f"The depth in {path.name} is {width}x{height}, the clip {fit.source_width}x{fit.source_height}: it is"
            " stretched back, because tools squeeze images to sizes that suit them."
        )
    rows = (np.arange(fit.height) + fit.top + 0.5) * (height / fit.scaled_height)
    columns = (np.arange(fit.width) + fit.left + 0.5) * (width / fit.scaled_width)
    return rows.astype(np.intp), columns.astype(np.intp), note


def _is_rounded(size: tuple[int, int], fit: FrameFit) -> bool:
    """Whether a size is the clip's size, scaled, with each side rounded up or down to a multiple of some number."""
    width, height = size
    stretch = width * fit.source_height / (height * fit.source_width)
    if not 1 / (1 + MOST_STRETCH) <= stretch <= 1 + MOST_STRETCH:
        return False
    for multiple in ROUNDED_TO:
        if width % multiple or height % multiple:
            continue
        across = (width - multiple) / fit.source_width, (width + multiple) / fit.source_width
        down = (height - multiple) / fit.source_height, (height + multiple) / fit.source_height
        if max(across[0], down[0]) < min(across[1], down[1]):
            return True
    return False


def lens_of(
    stored: Stored, chosen: NDArray[np.int64], clip: "Clip", focal_px: float | None
) -> tuple[NDArray[np.float64], str]:
    """Intrinsics (T,3,3) at the working size, and a sentence about where they come from.

    Raises:
        InputError: the file's lens or the given one is impossible.
    """
    fit = clip.fit
    if focal_px is None and stored.intrinsics is not None:
        k = intrinsics.per_frame(stored.intrinsics, stored.frames, "The intrinsics of the depth file")
        k = k[chosen]
        lens.checked(float(k[0, 0, 0]), stored.width, "The focal length in the depth file")
        if (stored.width, stored.height) != (fit.width, fit.height):
            to_source = np.diag([fit.source_width / stored.width, fit.source_height / stored.height, 1])
            k = fit.apply_to_intrinsics(to_source @ k)
        return k, "" if stored.notes else "The focal length comes from the depth file."
    k, note = lens.given_or_assumed(clip, focal_px)
    return k, note if stored.intrinsics is None else f"{note} It replaces the depth file's."
