"""Frames of a video to be written: all at once in an array, or one after another as they are made."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Frames(Protocol):
    """Frames in order, with their count: an array (T,...), or a `Stream`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NDArray]: ...


@dataclass(frozen=True)
class Stream:
    """Frames that are made on demand, and can be read only once.

    Attributes:
        frames: all of one shape and dtype.
        count: number of frames.
    """

    frames: Iterator[NDArray]
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[NDArray]:
        return self.frames


def with_first(frames: Frames) -> tuple[NDArray, Iterator[NDArray]]:
    """The first frame, for its shape and dtype, and an iterator over all frames."""
    every = iter(frames)
    first = np.asarray(next(every))
    return first, chain([first], every)


def apart(pairs: Stream) -> tuple[Stream, Stream]:
    """Split pairs of a frame and its mask into two streams.

    A mask may be read only after its frame and before the next frame.
    """
    held: list[NDArray] = []

    def first() -> Iterator[NDArray]:
        for frame, mask in pairs:
            held[:] = [mask]
            yield frame

    def second() -> Iterator[NDArray]:
        for _ in range(len(pairs)):
            yield held[0]

    return Stream(first(), len(pairs)), Stream(second(), len(pairs))


def in_8_bits(frame: NDArray) -> NDArray[np.uint8]:
    """Convert a full-range frame (H,W,...), uint8 or uint16, to uint8."""
    return frame if frame.dtype == np.uint8 else ((frame.astype(np.uint32) + 128) // 257).astype(np.uint8)


def in_16_bits(frame: NDArray) -> NDArray[np.uint16]:
    """Convert a full-range frame (H,W,...), uint8 or uint16, to uint16."""
    return frame if frame.dtype == np.uint16 else frame.astype(np.uint16) * np.uint16(257)


def all_in_16_bits(frames: Frames) -> Stream:
    """Convert frames, uint8 or uint16, to uint16, one at a time as they are read."""
    return Stream(map(in_16_bits, frames), len(frames))
