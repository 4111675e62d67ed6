"""Reading the pixels of files through Blender, leaving nothing in the .blend or the user's thumbnail folder."""

from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

Pixels = tuple[tuple[int, int], NDArray[np.float32]]
"""Width and height, and flat RGBA values, row by row from the lower left corner."""


def read(picture: Path) -> Pixels | None:
    """An image; None if it cannot be read."""
    return _read(picture, 0)


def middle_of(movie: Path, longest_side: int) -> Pixels | None:
    """The middle frame of a movie, scaled down to at most `longest_side` pixels; None if it cannot be read."""
    return _read(movie, longest_side)


def _read(file: Path, longest_side: int) -> Pixels | None:
    try:
        image = bpy.data.images.load(str(file))
    except RuntimeError:
        return None
    try:
        width, height = image.size
        if longest_side and width and height:
            scale = min(1.0, longest_side / max(width, height))
            # Only scaling accepts a frame number, counted from 1.
            middle = image.frame_duration // 2 + 1
            image.scale(max(1, round(width * scale)), max(1, round(height * scale)), frame=middle)
        values = np.empty(len(image.pixels), np.float32)
        if not image.has_data or not len(values):
            return None
        image.pixels.foreach_get(values)
        return (image.size[0], image.size[1]), values
    finally:
        bpy.data.images.remove(image)
