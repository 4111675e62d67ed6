"""The lens of a clip whose depth does not tell it."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d import intrinsics

if TYPE_CHECKING:
    from ex4d.clip import Clip


def given_or_assumed(clip: "Clip", focal_px: float | None) -> tuple[NDArray[np.float64], str]:
    """Intrinsics (T,3,3) at the working size, and a sentence that says where they are from.

    Args:
        clip: whose lens it is.
        focal_px: in pixels of the source's displayed picture; None takes the release's 500 px at the working size.

    Raises:
        InputError: the focal length is not a positive number.
    """
    fit, count = clip.fit, len(clip.frames)
    if focal_px is not None:
        k = fit.apply_to_intrinsics(intrinsics.from_focal(focal_px, fit.source_width, fit.source_height))
        note = f"The focal length is the {focal_px:g} px given, at the source's width of {fit.source_width} px."
        return intrinsics.per_frame(k, count), note
    k = intrinsics.from_focal(intrinsics.RELEASE_FOCAL_PX, fit.width, fit.height)
    note = f"The focal length is unknown; EX-4D's {intrinsics.RELEASE_FOCAL_PX:g} px at {fit.width} px wide is used."
    return intrinsics.per_frame(k, count), note
