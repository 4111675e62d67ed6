"""Colour and mask in a size that the models take: multiples of 16 close to the source's aspect ratio, 4k+1 frames."""

from itertools import product
from math import ceil, floor, log, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning

MULTIPLE = 16
"""The picture's sides are multiples of this: 8 for the VAE times 2 for the patches."""

STRIDE = 4
"""Frames per latent frame, except for the first, which stands for one."""


def fitting_size(width: int, height: int, area: int) -> tuple[int, int]:
    """Width and height in multiples of 16, closest to a picture's aspect ratio and, with less weight, to `area`."""
    aspect = width / height

    def around(side: float) -> range:
        return range(max(1, floor(side / MULTIPLE) - 1), ceil(side / MULTIPLE) + 2)

    def misfit(size: tuple[int, int]) -> float:
        return abs(log(size[0] / size[1] / aspect)) + 0.1 * abs(log(size[0] * size[1] / area))

    sizes = product(around(sqrt(area * aspect)), around(sqrt(area / aspect)))
    return min(((w * MULTIPLE, h * MULTIPLE) for w, h in sizes), key=misfit)


def padded_length(frames: int) -> int:
    """The next length 4k+1: the VAE takes one frame and then four at a time."""
    return frames + (1 - frames) % STRIDE


def tokens(frames: int, width: int, height: int) -> int:
    """Number of tokens that the model works on: 4 frames by 16x16 pixels each."""
    return ((frames - 1) // STRIDE + 1) * (width // MULTIPLE) * (height // MULTIPLE)


def method(width: int, height: int, size: tuple[int, int]) -> int:
    """The OpenCV method for scaling a picture to `size` (width, height) with the same aspect ratio."""
    return cv2.INTER_AREA if width * height > size[0] * size[1] else cv2.INTER_LINEAR


def fitted(
    conditioning: Conditioning,
    chosen: NDArray[np.int_],
    length: int,
    size: tuple[int, int],
    method: int,
    kernels: tuple[int, int],
    seed: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colour (length,H,W,3), black in holes, and the mask (length,H,W) in {0,255} without the rim of
    what each frame itself saw.

    Args:
        conditioning: T frames as rendered, with the rim of their mask.
        chosen: numbers of the frames to use.
        length: the last frame is repeated up to this number.
        size: width and height.
        method: for OpenCV.
        kernels, seed: of the erosion, see `mask_edges.certain`.
    """
    colour = np.stack([resized(picture, size, method) for picture in conditioning.colour[chosen]])
    shares = np.stack([resized(mask, size, method) for mask in conditioning.mask[chosen]])
    real, lent = np.where(shares > 127.5, 255, 0).astype(np.uint8), None
    if conditioning.borrowed is not None:
        there = np.stack([resized(mask, size, method) for mask in conditioning.borrowed[chosen]])
        # Holes are black, and scaling mixes them into the pixels beside them, which only the erosion removes.
        lent = np.where((there > 127.5) & (shares == 255), 255, 0).astype(np.uint8)
    sure = mask_edges.certain(real, lent, kernels, seed)
    colour *= sure[..., None] > 0
    more = [(0, length - len(chosen))]
    colour = np.pad(colour, [*more, (0, 0), (0, 0), (0, 0)], mode="edge")
    return colour, np.pad(sure, [*more, (0, 0), (0, 0)], mode="edge")


def resized(picture: NDArray[np.uint8], size: tuple[int, int], method: int) -> NDArray[np.uint8]:
    """Scale a picture (h,w) or (h,w,3) to `size` (width, height) with an OpenCV method."""
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def all_resized(frames: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale the model's frames (T,h,w,3) to the size of the result."""
    if frames.shape[1:3] == (height, width):
        return frames
    larger = width * height > frames.shape[1] * frames.shape[2]
    way = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
    return np.stack([cv2.resize(frame, (width, height), interpolation=way) for frame in frames])
