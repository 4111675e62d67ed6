"""Windows: how a shot longer than the model's 49 frames is cut into overlapping parts, and joined again."""

import numpy as np
from numpy.typing import NDArray

LENGTH = 49
"""Frames of a window: what the model was trained with."""

OVERLAP = 9
"""Frames that two windows share at least. The later window starts from a finished frame of the earlier one."""


def plan(frames: int, length: int = LENGTH, overlap: int = OVERLAP) -> tuple[range, ...]:
    """The frames of each window, in order; all have `length` frames, unless the shot is shorter.

    Args:
        frames: of the shot.
        length: of a window.
        overlap: frames that neighbours share at least, 1 or more.
    """
    if frames <= length:
        return (range(frames),)
    count = -(-(frames - overlap) // (length - overlap))
    starts = np.linspace(0, frames - length, count).round().astype(int)
    return tuple(range(int(start), int(start) + length) for start in starts)


def join(result: NDArray[np.uint8], window: range, frames: NDArray[np.uint8], done: int) -> None:
    """Put a window's frames (n,h,w,3) into the result (T,h,w,3), blended with the frames that are there already.

    Args:
        result: its first `done` frames are finished; changed in place.
        window: the frames' numbers.
        frames: of the window.
        done: see above; the weight of the new frames rises from 0 at the window's first to 1 at frame `done`.
    """
    shared = max(0, done - window.start)
    for n, t in enumerate(window):
        if n >= shared:
            result[t] = frames[n]
            continue
        weight = n / shared
        result[t] = (result[t] * (1 - weight) + frames[n] * weight + 0.5).astype(np.uint8)
