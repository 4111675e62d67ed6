"""Classes of pixels: what each pixel of a view shows, compactly. Needs numpy only, so that Blender can unpack it."""

import zlib

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError

OWN, INVENTED, BORROWED = 0, 1, 2
"""Seen by the frame itself, seen by no frame, seen by another frame. Two bits per pixel leave room for one more."""

_PER_BYTE = 4


def of_mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes (h,w) of a rendered mask (h,w), 255 where it is real."""
    return np.where(mask > 0, OWN, INVENTED).astype(np.uint8)


def pack(classes: NDArray[np.uint8]) -> bytes:
    """Classes (h,w) as zlib of four pixels per byte, row by row, the first pixel in the lowest bits."""
    flat = np.zeros(-(-classes.size // _PER_BYTE) * _PER_BYTE, np.uint8)
    flat[: classes.size] = classes.ravel()
    fours = flat.reshape(-1, _PER_BYTE)
    packed = fours[:, 0] | fours[:, 1] << 2 | fours[:, 2] << 4 | fours[:, 3] << 6
    return zlib.compress(packed.tobytes(), 1)


def unpack(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """Inverse of `pack`: classes (h,w) uint8. Unpacks no more than a picture of this size needs.

    Raises:
        InputError: not the output of `pack` for a picture of this size.
    """
    size = -(-width * height // _PER_BYTE)
    unpacker = zlib.decompressobj()
    try:
        packed = np.frombuffer(unpacker.decompress(data, size), np.uint8)
    except zlib.error:
        packed = np.empty(0, np.uint8)
    if len(packed) != size or unpacker.unconsumed_tail:
        raise InputError(f"A view of {width}x{height} pixels arrived damaged: move the camera to ask again.")
    fours = np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    return fours.reshape(-1)[: width * height].reshape(height, width)
