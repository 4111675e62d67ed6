"""The meaning of the numbers in a depth file. Needs only numpy."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ex4d.errors import InputError

MILLIMETRE = 0.001
"""Unit of 16-bit PNG if none is given, in metres."""

UNITS = {"m": 1.0, "cm": 0.01, "mm": MILLIMETRE}
"""Units of length by symbol, in metres."""

LENS_KEYS = ("intrinsics", "intrinsic")
"""Names of the lens in an .npz file; the second is MegaSaM's."""

Convention = Literal["depth", "disparity", "inverse", "auto"]
Distance = Literal["planar", "ray"]


@dataclass(frozen=True)
class DepthEncoding:
    """The meaning of the numbers in a depth file.

    Attributes:
        unit: metres per stored 1; for inverse depth, the distance at which a 1 is stored. None leaves the numbers as
            they are, and takes 16-bit PNG as millimetres.
        convention: "auto" follows the kind of file: relative disparity for grey video, 8-bit numbers and arrays named
            so, otherwise distances, with a warning if they do not look like it. The other values are taken as certain:
            "depth" for distances; "inverse" for 1 / distance, 0 being infinitely far; "disparity" for values that grow
            towards the camera with an unknown scale and shift, as most estimators write: they are normalised once for
            the shot and mapped as in EX-4D's release.
        distance: "planar" along the optical axis, or "ray" for the straight line to the camera's centre.
        channel: of EXR images, its name or the end of it; None if there is no doubt.

    Raises:
        InputError: values that contradict each other.
    """

    unit: float | None = None
    convention: Convention = "auto"
    distance: Distance = "planar"
    channel: str | None = None

    def __post_init__(self) -> None:
        if self.convention not in get_args(Convention):
            raise InputError(f"Depth files hold {_either(Convention)}, not {self.convention!r}.")
        if self.distance not in get_args(Distance):
            raise InputError(f"Distances are {_either(Distance)}, not {self.distance!r}.")
        if self.unit is not None and not (np.isfinite(self.unit) and self.unit > 0):
            raise InputError(f"The unit of a depth file must be a positive number of metres, not {self.unit}.")
        if self.convention == "disparity" and self.unit is not None:
            raise InputError("Relative disparity has no unit: leave the unit out, or read it as inverse depth.")
        if self.convention == "disparity" and self.distance == "ray":
            raise InputError(
                "Relative disparity cannot be measured along the rays, because its scale is unknown: read it as"
                " planar, or as inverse depth."
            )


def unit_of(text: str) -> float:
    """Parse a unit as people write it, m, cm, mm, or a factor such as 0.0002, and return it in metres.

    Raises:
        InputError: neither a unit nor a factor.
    """
    try:
        return UNITS[text] if text in UNITS else float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a unit: give m, cm, mm, or how many metres a stored 1 is.") from None


def _either(choices: object) -> str:
    return " or ".join(repr(choice) for choice in get_args(choices))
