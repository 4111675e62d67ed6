"""The content of a depth file, whatever its kind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import THE_FILES
from ex4d.errors import InputError

LIMIT_PIXELS = 1 << 28
"""Maximum number of pixels in a picture."""

OF_THE_FILE = "that of the depth file"
"""The licence of depth whose file states none."""

GREY_WITHIN = 0.06
"""How far the channels of a grey picture may differ, as a fraction of the range, because video rounds them."""


@dataclass(frozen=True)
class Stored:
    """Depth as stored in a file.

    Attributes:
        frames, width, height: its size.
        read: `read(start, stop)` yields frames (height, width) of numbers of any type.
        means: what the numbers are unless the user says otherwise.
        why: why the file can only hold relative disparity, such as "8-bit PNG"; "" if it holds distances.
        whole: whether they are integers, whose unit is not known.
        in_millimetres: whether distances without a unit are taken as millimetres, as usual for 16-bit PNG.
        levels: how many different numbers its type can hold, if few enough to be counted; else 0.
        is_picture: whether the numbers are grey values of a picture, of which 8 bits make coarse steps.
        scale: factor for the numbers.
        provider, intrinsics, notes, scale_note, licence, caution, is_guess: what the file says about itself; see
            `Estimate`.
        is_ours: whether EX-4D wrote it, and so knows what its numbers are.
        told: sentences about choices made in the file.
        steady: whether it needs no further steadying; see `Estimate`.
        part: first frame, step and number of frames of the source that this is a part of; None if the file does not
            say.
    """

    frames: int
    width: int
    height: int
    read: Callable[[int, int], Iterator[NDArray]]
    means: Literal["depth", "disparity"] = "depth"
    why: str = ""
    whole: bool = False
    in_millimetres: bool = False
    levels: int = 0
    is_picture: bool = False
    scale: float = 1.0
    provider: str = "file"
    intrinsics: NDArray | None = None
    notes: tuple[str, ...] = ()
    scale_note: str = THE_FILES
    licence: str = OF_THE_FILE
    caution: str = ""
    is_guess: bool = False
    is_ours: bool = False
    told: tuple[str, ...] = ()
    steady: bool = False
    part: tuple[int, int, int] | None = None


def check_pixels(path: Path, width: int, height: int) -> None:
    """Raise InputError if a file claims to hold pictures too large to read."""
    if width * height > LIMIT_PIXELS:
        raise InputError(f"{path} claims a depth of {width}x{height} pixels: make it smaller.")


def refuse_channel(path: Path, reading: DepthEncoding) -> None:
    """Raise InputError if a channel is requested from a file that has none."""
    if reading.channel is not None:
        raise InputError(f"{path} has no channels: name one for EXR images only.")


def grey_of(picture: NDArray, path: Path) -> NDArray:
    """Return the grey values (H,W) of a picture (H,W,3), uint8 or uint16, whose channels are nearly equal.

    Raises:
        InputError: it is in colour, and a colour map does not reveal distances.
    """
    low, high = picture.min(axis=-1), picture.max(axis=-1)
    # 1 % of the pixels may differ, because video has colour fringes where bright and dark meet.
    if np.percentile(high - low, 99) > GREY_WITHIN * np.iinfo(picture.dtype).max:
        raise InputError(
            f"{path} is in colour, such as a colour map for viewing depth, and cannot be converted back into"
            " distances: have the tool write grey images, or better, the numbers as .npz or EXR."
        )
    return np.asarray(picture[..., 1])
