"""What the numbers of a depth file mean. Needs numpy only."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ex4d.errors import InputError

MILLIMETRE = 0.001
"""Unit of 16-bit PNG where nobody says another."""

UNITS = {"m": 1.0, "cm": 0.01, "mm": MILLIMETRE}
"""Units of length by their signs, in metres."""

LENS_KEYS = ("intrinsics", "intrinsic")
"""Names of the lens in an .npz file; the second is MegaSaM's."""

Convention = Literal["depth", "disparity", "inverse", "auto"]
Distance = Literal["planar", "ray"]


@dataclass(frozen=True)
class DepthEncoding:
    """What the numbers of a depth file mean.

    Attributes:
        unit: how many metres a stored 1 is; of inverse depth, the distance where a 1 is stored. None leaves the
            numbers as they are, and takes 16-bit PNG for millimetres.
        convention: "auto" for what the kind of file says: relative disparity in grey video, 8-bit numbers and arrays
            that are named so, and else distances, with a warning where they look otherwise. The others are not
            doubted: "depth" for distances; "inverse" for 1 / distance, 0 being infinitely far; "disparity" for what
            grows towards the camera by an unknown scale and shift, as most estimators write: it is normalised once
            for the shot and mapped as in EX-4D's release.
        distance: "planar" along the optical axis, or "ray" for the straight way to the camera's centre.
        channel: of EXR pictures, the name or its end; None if it is clear.

    Raises:
        InputError: values that do not go together.
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
    """Metres of a unit as people write it: m, cm, mm, or a factor such as 0.0002.

    Raises:
        InputError: neither.
    """
    try:
        return UNITS[text] if text in UNITS else float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a unit: give m, cm, mm, or how many metres a stored 1 is.") from None


def _either(choices: object) -> str:
    return " or ".join(repr(choice) for choice in get_args(choices))
