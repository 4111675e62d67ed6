"""Frames of a video that is written: all at once in an array, or one after the other as they are made."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Frames(Protocol):
    """Frames in order, and how many they are: an array (T,...), or a `Stream`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NDArray]: ...


@dataclass(frozen=True)
class Stream:
    """Frames that are made as they are asked for, once.

    Attributes:
        frames: all of one shape and type.
        count: how many.
    """

    frames: Iterator[NDArray]
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[NDArray]:
        return self.frames


def with_first(frames: Frames) -> tuple[NDArray, Iterator[NDArray]]:
    """The first of some frames, to see their shape and type, and all of them."""
    every = iter(frames)
    first = np.asarray(next(every))
    return first, chain([first], every)


def apart(pairs: Stream) -> tuple[Stream, Stream]:
    """Frames and their masks, which come in pairs, as two streams: a mask may be asked for after its frame, until the
    next frame is."""
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
    """A frame of 8 or 16 bits a channel, full range, in 8."""
    return frame if frame.dtype == np.uint8 else ((frame.astype(np.uint32) + 128) // 257).astype(np.uint8)


def in_16_bits(frame: NDArray) -> NDArray[np.uint16]:
    """A frame of 8 or 16 bits a channel, full range, in 16."""
    return frame if frame.dtype == np.uint16 else frame.astype(np.uint16) * np.uint16(257)


def all_in_16_bits(frames: Frames) -> Stream:
    """Frames of 8 or 16 bits a channel in 16, each as it is asked for."""
    return Stream(map(in_16_bits, frames), len(frames))
