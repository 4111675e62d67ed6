"""The input of the search for a camera, and its result. Needs numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AUTO, STILL, ROTATION, SFM, DEPTH, DA3 = "auto", "still", "rotation", "sfm", "depth", "da3"
"""The methods: all of them, or a single one."""

GIVEN = "given"
"""Stands for a method if the camera was known."""

WHAT_TO_DO = (
    "Track it in Blender or another program and give the camera as a file, or give a mask of moving things (white"
    " is ignored)."
)

STANDS_STILL = "The clip's own camera stands still."
"""The note that says so, for the user only."""

WITH_CAMERA = "found with the camera"
"""Part of every note about a lens that was not known."""

MOVES = "The source camera moves"
"""The beginning of every note about the unit of a camera that moves."""

OF_CAMERA_FILE = "that of the source camera's file"
"""Part of every note about a lens that such a file gave."""


@dataclass(frozen=True)
class Wish:
    """What is known about a clip, and what is wanted.

    Attributes:
        method: `AUTO`, the only method to use, or `GIVEN`.
        intrinsics: (T,3,3) in pixels of the working picture, known or assumed.
        lens_known: whether the intrinsics are known.
        depth_is_guess: whether the depth was neither measured nor estimated.
        zooms: whether the focal length changes during the shot.
        moving: (T,h,w) moving things, at any size; None finds them.
        device: of torch, for models; "auto" chooses one.
    """

    method: str
    intrinsics: NDArray[np.float64]
    lens_known: bool
    depth_is_guess: bool = False
    zooms: bool = False
    moving: NDArray[np.bool_] | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Steadying:
    """What fits a depth to what stands still.

    Attributes:
        frames: (T,2) float64: first, disparity becomes `scale / depth + shift`, with the shift in 1 / unit of the
            depth. None if the depth hardly pumps.
        field: (T,Y,X) float64: then, depth is multiplied by the exponentials of these, see `scale_field`. None if the
            depth is hardly bent, or the points cannot tell.
        still: (H,W) float32: then, pixels that are about as far away as what stands still there get exactly its
            distance, for a camera that stands still; NaN where nothing stands still. Only with a field.
        still_within: how far a pixel in the mask of what moves may be from that, as the difference of the logarithms,
            if only its colour changes, as in a shadow.
    """

    frames: NDArray[np.float64] | None = None
    field: NDArray[np.float64] | None = None
    still: NDArray[np.float32] | None = None
    still_within: float = 0.0

    def __bool__(self) -> bool:
        """Whether there is anything to change."""
        return self.frames is not None or self.field is not None


UNCHANGED = Steadying()
"""Changes nothing."""

_MOST_PLACES, _MOST_FIELD = 64, 2.0
"""Maximum number of rows and columns of a field that is read, and its largest absolute value."""


def checked(
    frames: NDArray | None,
    field: NDArray | None,
    count: int | None = None,
    still: NDArray | None = None,
    still_within: float = 0.0,
) -> Steadying:
    """The `Steadying` of `count` frames, or of any number, from the arrays of a file.

    Raises:
        ValueError: they are damaged.
    """
    parts = [part for part in (frames, field) if part is not None]
    if any(part.dtype.kind != "f" or part.ndim < 2 or not part.size or not np.isfinite(part).all() for part in parts):
        raise ValueError("not numbers")
    if len({len(part) for part in parts} | ({count} if count is not None and parts else set())) > 1:
        raise ValueError("of another number of frames")
    if frames is not None and (frames.shape[1:] != (2,) or not (frames[:, 0] > 0).all()):
        raise ValueError("not a scale and a shift")
    if field is not None and (
        field.ndim != 3 or max(field.shape[1:]) > _MOST_PLACES or np.abs(field).max() > _MOST_FIELD
    ):
        raise ValueError("not a field")
    if still is not None:
        known = still[~np.isnan(still)]
        if field is None or still.dtype != np.float32 or still.ndim != 2:
            raise ValueError("not of each pixel")
        if not (np.isfinite(known) & (known > 0)).all() or not 0 <= still_within <= _MOST_FIELD:
            raise ValueError("not distances of what stands still")
    frames, field = (None if part is None else np.asarray(part, np.float64) for part in (frames, field))
    return Steadying(frames, field, still, still_within)


@dataclass(frozen=True)
class Found:
    """How the camera moved.

    Attributes:
        method: the estimator that found it, or `GIVEN`; "still" also if nothing was found.
        camera_to_world: (T,4,4), the first is the identity, in its own unit; None if it is still.
        points: (M,3) static points, in its world and unit.
        lens: (T,3,3) in pixels of the working picture; None if it was known, or could not be determined.
        moving: (T,h,w) independently moving things, at any size; None if unknown.
        steady: what fits the depth to what stands still.
        lens_note: a sentence about the lens that was found, or "".
        notes: sentences that stay with everything made with this camera.
        choice_notes: sentences for the user only, about a camera that is still, was not found, or was given.
    """

    method: str
    camera_to_world: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    lens: NDArray[np.float64] | None = None
    moving: NDArray[np.bool_] | None = None
    steady: Steadying = UNCHANGED
    lens_note: str = ""
    notes: tuple[str, ...] = ()
    choice_notes: tuple[str, ...] = ()


def not_found(why: str) -> Found:
    """A result without a trustworthy camera, and why, as part of a sentence."""
    return Found(STILL, choice_notes=(f"The camera was not found ({why}) and counts as still. {WHAT_TO_DO}",))
