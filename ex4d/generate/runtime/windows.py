"""Windows: splits a shot that is longer than a model can make at once into overlapping parts, and joins them again."""

import numpy as np
from numpy.typing import NDArray

OVERLAP = 9
"""Minimum number of frames that two windows share. The later window starts from a finished frame of the earlier one."""


def plan(frames: int, length: int, stride: int, overlap: int = OVERLAP) -> tuple[range, ...]:
    """The frames of each window, in order; all have the same length, stride*k+1, unless there is only one window.

    As few windows as cover the shot, each as short as possible: 50 frames are two of 33, not two of 49.

    Args:
        frames: of the shot.
        length: maximum length of a window, stride*k+1.
        stride: frames per latent frame, except for the first, which stands for one.
        overlap: minimum number of frames that neighbours share, 1 or more.
    """
    if frames <= length:
        return (range(frames),)
    count = -(-(frames - overlap) // (length - overlap))
    needed = -(-(frames + (count - 1) * overlap) // count)
    length = min(length, -(-(needed - 1) // stride) * stride + 1)
    starts = np.linspace(0, frames - length, count).round().astype(int)
    return tuple(range(int(start), int(start) + length) for start in starts)


def join(
    result: NDArray[np.uint8], window: range, frames: NDArray[np.uint8], done: int, overlap: int = OVERLAP
) -> None:
    """Put a window's frames (n,h,w,3) into the result (T,h,w,3), blended with the frames that are already there.

    Two windows invent different things, and a blend shows both, so it is kept short.

    Args:
        result: its first `done` frames are finished; changed in place.
        window: frame numbers.
        frames: of the window.
        done: number of finished frames.
        overlap: maximum number of frames over which the weight of the new frames rises from 0, at the window's first.
    """
    shared = min(max(0, done - window.start), overlap)
    for n, t in enumerate(window):
        if n >= shared:
            result[t] = frames[n]
            continue
        weight = n / shared
        result[t] = (result[t] * (1 - weight) + frames[n] * weight + 0.5).astype(np.uint8)
