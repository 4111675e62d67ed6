"""The small picture that lists of takes show: the frame in the middle of a video."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.render.contact_sheet import write_picture

LONGEST_SIDE = 256


def of(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle one of frames (T,H,W,3), (h,w,3), no side of it longer than `LONGEST_SIDE`.

    Of an even number the later one of the two, so that a take of two frames does not show its source.
    """
    middle = frames[len(frames) // 2]
    height, width = middle.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(middle, size, interpolation=cv2.INTER_AREA), np.uint8)


def write(path: Path, frames: NDArray[np.uint8]) -> None:
    """Write it, as PNG or JPEG by the ending of the name.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    write_picture(path, of(frames))
