"""What is known about a clip without decoding it."""

from dataclasses import dataclass, field
from fractions import Fraction

PICTURES_FPS = Fraction(24)
"""Frame rate of an image sequence unless the user gives another, and of videos that do not state theirs."""


@dataclass(frozen=True)
class ClipInfo:
    """Size, rate and length of a source.

    Attributes:
        width, height: size of the displayed picture (upright, square pixels) in pixels.
        fps: constant frame rate at which it is read.
        frames: number of frames at that rate.
        variable: whether the pictures come at uneven times and are converted to a constant rate.
        metadata: texts in the file (title, comment, ...).
        bits: bits per channel with which the first picture is stored.
    """

    width: int
    height: int
    fps: Fraction
    frames: int
    variable: bool
    metadata: dict[str, str] = field(default_factory=dict)
    bits: int = 8
