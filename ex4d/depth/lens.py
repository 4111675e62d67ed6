"""The lens of a clip whose depth does not include one."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import intrinsics

if TYPE_CHECKING:
    from ex4d.media.clip import Clip


FOCAL_OVER_SIDE = intrinsics.RELEASE_FOCAL_PX / 512
"""Assumed focal length over the longer side: the release's lens at the release's size, for any size."""

ASSUMED = "The focal length is unknown; a field of view of 54 degrees along the longer side is assumed."

GIVEN = "The focal length is the"
"""Beginning of the note about a focal length that was given."""

GOES_ON = "The lens zooms: in frames that were not open before, the lens of the nearest frame that was open is assumed."


def given_or_assumed(clip: "Clip", focal_px: float | None) -> tuple[NDArray[np.float64], str]:
    """Intrinsics (T,3,3) at the working size, and a sentence about where they come from.

    Args:
        clip: the clip that the lens belongs to.
        focal_px: in pixels of the source's displayed picture; None assumes a typical lens.

    Raises:
        InputError: the focal length is not a positive number, or impossible for a lens.
    """
    fit, count = clip.fit, len(clip.frames)
    if focal_px is None:
        k = intrinsics.from_focal(FOCAL_OVER_SIDE * max(fit.width, fit.height), fit.width, fit.height)
        return intrinsics.per_frame(k, count), ASSUMED
    k = fit.apply_to_intrinsics(intrinsics.from_focal(focal_px, fit.source_width, fit.source_height))
    degrees = checked(focal_px, fit.source_width, "The focal length")
    note = f"{GIVEN} {focal_px:g} px given, {degrees:.1f} degrees across the source's width of {fit.source_width} px."
    return intrinsics.per_frame(k, count), note


def checked(focal_px: float, width: int, what: str) -> float:
    """Field of view of a lens across a picture of this width, in degrees.

    Raises:
        InputError: wider or narrower than any lens.
    """
    degrees, (least, most) = intrinsics.field_of_view_of(focal_px, width), intrinsics.FIELD_OF_VIEW
    if not least <= degrees <= most:
        raise InputError(
            f"{what} of {focal_px:g} px sees {degrees:.3g} degrees across {width} px, which no lens does: give it"
            f" in pixels of that picture, for {least:g} to {most:g} degrees."
        )
    return degrees
