"""What is known of a clip without decoding it."""

from dataclasses import dataclass, field
from fractions import Fraction

PICTURES_FPS = Fraction(24)
"""Frame rate of a folder of images unless the user gives another, and of videos that do not tell theirs."""


@dataclass(frozen=True)
class ClipInfo:
    """Size, rate and length of a source.

    Attributes:
        width, height: size of the displayed picture (upright, square pixels) in pixels.
        fps: constant frame rate at which it is read.
        frames: number of frames at that rate.
        variable: the pictures come at uneven times and are brought to a constant rate.
        metadata: texts that the file carries (title, comment, ...).
        bits: a channel, that its first picture is stored with.
    """

    width: int
    height: int
    fps: Fraction
    frames: int
    variable: bool
    metadata: dict[str, str] = field(default_factory=dict)
    bits: int = 8
