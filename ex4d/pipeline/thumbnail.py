"""The small picture shown in lists of takes: the middle frame of a video."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.render.contact_sheet import write_picture

LONGEST_SIDE = 256


def of(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle one of frames (T,H,W,3), as (h,w,3) uint8 with no side longer than `LONGEST_SIDE`.

    Of an even number, the later of the two middle frames, so that a take of two frames does not show its source.
    """
    middle = frames[len(frames) // 2]
    height, width = middle.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(middle, size, interpolation=cv2.INTER_AREA), np.uint8)


def write(path: Path, frames: NDArray[np.uint8]) -> None:
    """Write the thumbnail of frames (T,H,W,3) as PNG or JPEG, depending on the extension of the name.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    write_picture(path, of(frames))
