"""The input of the search for a camera, and its result. Needs numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AUTO, STILL, ROTATION, SFM, DEPTH, DA3 = "auto", "still", "rotation", "sfm", "depth", "da3"
"""All methods, or one of them."""

WHAT_TO_DO = (
    "Track it in Blender or another program and give the camera as a file, or give a mask of moving things (white"
    " is ignored)."
)

WITH_CAMERA = "found with the camera"
"""What a note about the lens says if nobody knew it."""


@dataclass(frozen=True)
class Wish:
    """What is known, and what is wanted.

    Attributes:
        method: `AUTO` or the one estimator to use.
        intrinsics: (T,3,3) in pixels of the working picture, known or assumed.
        lens_known: whether they are known.
        depth_is_guess: whether nobody measured or estimated the depth.
        zooms: whether the focal length changes while shooting.
        moving: (T,h,w) what moves, of any size; None finds it.
        device: of torch, or "auto", for a model.
    """

    method: str
    intrinsics: NDArray[np.float64]
    lens_known: bool
    depth_is_guess: bool = False
    zooms: bool = False
    moving: NDArray[np.bool_] | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Found:
    """How the camera moved.

    Attributes:
        method: the estimator that found it; "still" also if nothing was found.
        camera_to_world: (T,4,4), the first is the identity, in its own unit; None if it stands still.
        points: (M,3) what stands still, in its world and unit.
        lens: (T,3,3) in pixels of the working picture; None if it was known, or is not determined.
        moving: (T,h,w) what moves by itself, of any size; None if that was not searched for.
        steady: (T,2) what removes the pumping from the depth, see `steadying`; None if it hardly pumps.
        lens_note: a sentence about the lens that was found, or "".
        notes: sentences that stay with what is made with this camera.
        choice_notes: sentences for the user alone: about a camera that stands still, or was not found.
    """

    method: str
    camera_to_world: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    lens: NDArray[np.float64] | None = None
    moving: NDArray[np.bool_] | None = None
    steady: NDArray[np.float64] | None = None
    lens_note: str = ""
    notes: tuple[str, ...] = ()
    choice_notes: tuple[str, ...] = ()


def not_found(why: str) -> Found:
    """Nothing that can be trusted, and why: a part of a sentence."""
    return Found(STILL, choice_notes=(f"The camera was not found ({why}) and counts as still. {WHAT_TO_DO}",))
