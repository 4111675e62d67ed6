"""Colour and mask in a size that the models take: multiples of 16 near the source's aspect, 4k+1 frames."""

from itertools import product
from math import ceil, floor, log, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning

MULTIPLE = 16
"""Sides of the picture are multiples of this: 8 of the VAE times 2 of the patches."""

STRIDE = 4
"""Frames that one latent frame stands for, but for the first, which stands for one."""


def fitting_size(width: int, height: int, area: int) -> tuple[int, int]:
    """Width and height in multiples of 16, nearest to the aspect, and next to that to the area, of a picture."""
    aspect = width / height

    def around(side: float) -> range:
        return range(max(1, floor(side / MULTIPLE) - 1), ceil(side / MULTIPLE) + 2)

    def misfit(size: tuple[int, int]) -> float:
        return abs(log(size[0] / size[1] / aspect)) + 0.1 * abs(log(size[0] * size[1] / area))

    sizes = product(around(sqrt(area * aspect)), around(sqrt(area / aspect)))
    return min(((w * MULTIPLE, h * MULTIPLE) for w, h in sizes), key=misfit)


def padded_length(frames: int) -> int:
    """The next 4k+1: the VAE takes one frame and then four at a time."""
    return frames + (1 - frames) % STRIDE


def tokens(frames: int, width: int, height: int) -> int:
    """How many tokens the model works on: 4 frames and 16x16 pixels each."""
    return ((frames - 1) // STRIDE + 1) * (width // MULTIPLE) * (height // MULTIPLE)


def method(width: int, height: int, size: tuple[int, int]) -> int:
    """The method of cv2 that brings a picture to a size (width, height) of its own aspect."""
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
    """Colour (length,H,W,3), black in holes, and the mask (length,H,W) in {0,255} without its rim.

    Args:
        conditioning: T frames as rendered, their mask not eroded.
        chosen: numbers of the frames that are taken.
        length: the last frame is repeated up to this number.
        size: width and height.
        method: of cv2.
        kernels, seed: of the erosion, see `mask_edges.erode`.
    """
    colour = np.stack([resized(picture, size, method) for picture in conditioning.colour[chosen]])
    scaled = [resized(mask, size, method) for mask in conditioning.mask[chosen]]
    real = np.where(np.stack(scaled) > 127.5, 255, 0).astype(np.uint8)
    sure = mask_edges.erode(real, kernels, seed)
    colour *= sure[..., None] > 0
    more = [(0, length - len(chosen))]
    colour = np.pad(colour, [*more, (0, 0), (0, 0), (0, 0)], mode="edge")
    return colour, np.pad(sure, [*more, (0, 0), (0, 0)], mode="edge")


def resized(picture: NDArray[np.uint8], size: tuple[int, int], method: int) -> NDArray[np.uint8]:
    """The picture (h,w) or (h,w,3) brought to `size` (width, height) by a method of cv2."""
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def all_resized(frames: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The model's frames (T,h,w,3) in the size of the result."""
    if frames.shape[1:3] == (height, width):
        return frames
    larger = width * height > frames.shape[1] * frames.shape[2]
    way = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
    return np.stack([cv2.resize(frame, (width, height), interpolation=way) for frame in frames])
