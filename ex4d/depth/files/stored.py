"""What a depth file holds, whatever its kind."""

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
"""Most pixels of one picture."""

OF_THE_FILE = "that of the depth file"
"""The licence of depth that tells none."""

GREY_WITHIN = 0.06
"""How far the channels of a grey picture may differ, as a part of the range: video rounds them."""


@dataclass(frozen=True)
class Stored:
    """Depth as it lies in a file.

    Attributes:
        frames, width, height: its size.
        read: `read(start, stop)` yields frames (height, width) of numbers, of any type.
        means: what the numbers are where nobody says otherwise.
        why: what the file holds that can only be relative disparity, such as "8-bit PNG"; "" where it holds distances.
        whole: whether they are integers, whose unit is not known.
        in_millimetres: whether distances in no stated unit are taken for millimetres, as usual for 16-bit PNG.
        levels: how many different numbers its type can hold, where that is few enough to be counted; else 0.
        is_picture: whether the numbers are the greys of a picture, of which 8 bits make coarse steps.
        scale: what the numbers are to be multiplied by.
        provider, intrinsics, notes, scale_note, licence, caution, is_guess: what the file says of itself, see
            `Estimate`.
        is_ours: whether EX-4D wrote it, and so knows what its numbers are.
        told: sentences about what was chosen in the file.
        steady: whether it needs no steadying any more, see `Estimate`.
        part: first frame, step and number of frames of the source that this is a part of; None if it does not tell.
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
    """Raise InputError where a file claims pictures too large to be read."""
    if width * height > LIMIT_PIXELS:
        raise InputError(f"{path} claims a depth of {width}x{height} pixels: make it smaller.")


def refuse_channel(path: Path, reading: DepthEncoding) -> None:
    """Raise InputError where a channel is asked for in a file that has none."""
    if reading.channel is not None:
        raise InputError(f"{path} has no channels: name one for EXR images only.")


def grey_of(picture: NDArray, path: Path) -> NDArray:
    """The grey (H,W) of a picture (H,W,3) of uint8 or uint16 whose channels are alike.

    Raises:
        InputError: it is in colours, and those of a colour map do not tell the distance.
    """
    low, high = picture.min(axis=-1), picture.max(axis=-1)
    # A hundredth of the pixels may differ, as video puts colours where bright and dark meet.
    if np.percentile(high - low, 99) > GREY_WITHIN * np.iinfo(picture.dtype).max:
        raise InputError(
            f"{path} is in colour, such as a colour map for viewing depth, and cannot be converted back into"
            " distances: have the tool write grey images, or better, the numbers as .npz or EXR."
        )
    return np.asarray(picture[..., 1])
