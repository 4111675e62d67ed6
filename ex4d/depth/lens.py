"""The lens of a clip whose depth does not tell it."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import intrinsics

if TYPE_CHECKING:
    from ex4d.media.clip import Clip


FOCAL_OVER_SIDE = intrinsics.RELEASE_FOCAL_PX / 512
"""Focal length over the longer side that is assumed: the release's lens at the release's size, at any size."""

ASSUMED = "The focal length is unknown; a field of view of 54 degrees along the longer side is assumed."

GOES_ON = "The lens zooms: in frames that were not open before, the lens of the nearest frame that was open is assumed."


def given_or_assumed(clip: "Clip", focal_px: float | None) -> tuple[NDArray[np.float64], str]:
    """Intrinsics (T,3,3) at the working size, and a sentence that says where they are from.

    Args:
        clip: whose lens it is.
        focal_px: in pixels of the source's displayed picture; None assumes a usual lens.

    Raises:
        InputError: the focal length is not a positive number, or that of no lens.
    """
    fit, count = clip.fit, len(clip.frames)
    if focal_px is None:
        k = intrinsics.from_focal(FOCAL_OVER_SIDE * max(fit.width, fit.height), fit.width, fit.height)
        return intrinsics.per_frame(k, count), ASSUMED
    k = fit.apply_to_intrinsics(intrinsics.from_focal(focal_px, fit.source_width, fit.source_height))
    degrees = checked(focal_px, fit.source_width, "The focal length")
    note = (
        f"The focal length is the {focal_px:g} px given, {degrees:.1f} degrees across the source's width of"
        f" {fit.source_width} px."
    )
    return intrinsics.per_frame(k, count), note


def checked(focal_px: float, width: int, what: str) -> float:
    """Degrees that a lens sees across a picture of this width.

    Raises:
        InputError: more or less than any lens does.
    """
    degrees, (least, most) = intrinsics.field_of_view_of(focal_px, width), intrinsics.FIELD_OF_VIEW
    if not least <= degrees <= most:
        raise InputError(
            f"{what} of {focal_px:g} px sees {degrees:.3g} degrees across {width} px, which no lens does: give it"
            f" in pixels of that picture, for {least:g} to {most:g} degrees."
        )
    return degrees
