"""What the video model sees: pictures and masks as tensors, as released or with the source's own aspect.

The released weights were trained with these peculiarities, so both modes have them (upstream 7): holes are black,
and the mask is scaled twice, to -3 where there is a hole and 1 where the picture is real.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor, log, sqrt

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ex4d.errors import InputError
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning

MULTIPLE = 16
"""Sides of the picture are multiples of this: 8 of the VAE times 2 of the patches."""

STRIDE = 4
"""Frames that one latent frame stands for, but for the first, which stands for one."""

LENGTH = 49
"""Frames that the model was trained with, and makes at once at most."""

RELEASE_SIZE = (512, 512)
"""Width and height of the release."""

AREAS = {"512x512": 512 * 512, "832x480": 832 * 480}
"""Pixels of a picture that the model was trained near; their price is in upstream "Published and measured"."""


@dataclass(frozen=True)
class Prepared:
    """One shot for the video model.

    Attributes:
        colour: (T,3,H,W) float32 in [-1,1], -1 in holes; T is 4k+1, H and W are multiples of 16.
        mask: (T,H,W) float32, 1 where the colour is real, -3 where it has to be invented.
        sure: (T,H,W) uint8 in {0,255}, the same mask for compositing.
        frames: so many frames, from the first, are wanted; what follows was only added to reach 4k+1.
        notes: sentences for the user.
        first_seen: (3,H,W) float32, what stands in for the first picture of `colour`; None takes that itself.
    """

    colour: Tensor
    mask: Tensor
    sure: NDArray[np.uint8]
    frames: int
    notes: tuple[str, ...] = ()
    first_seen: Tensor | None = None

    @property
    def first(self) -> Tensor:
        """(3,H,W) float32: the picture from which the model takes its image feature and its first latent."""
        return self.colour[0] if self.first_seen is None else self.first_seen


def as_released(
    conditioning: Conditioning, seed: int, frames: int = LENGTH, size: tuple[int, int] = RELEASE_SIZE
) -> Prepared:
    """As the release prepares: squeezed to `size`, at most `frames` frames, mask eroded by 2 to 8 pixels a frame.

    Args:
        conditioning: T frames as rendered, their mask not eroded.
        seed: of the erosion, which the release draws without one.
        frames: 4k+1; of longer clips so many are taken, spread evenly from the first to the last; of shorter ones the
            last frame is repeated up to this number.
        size: width and height, multiples of 16.

    Raises:
        InputError: `frames` or `size` is none that the model can take.
    """
    if frames % STRIDE != 1:
        raise InputError(f"The model makes 4k+1 frames, not {frames}: ask for {padded_length(frames)}.")
    if any(side <= 0 or side % MULTIPLE for side in size):
        raise InputError(f"The model makes pictures with sides of multiples of 16, not {size[0]}x{size[1]}.")
    there = len(conditioning.colour)
    chosen = np.linspace(0, there - 1, min(there, frames), dtype=int)
    notes = (f"Only {frames} of {there} frames are made, spread evenly, as in the release.",) if there > frames else ()
    method, kernels = cv2.INTER_LINEAR, mask_edges.RELEASE_KERNELS
    prepared = _prepare(conditioning, chosen, frames, size, method, kernels, seed, notes)
    colour = _rounded(prepared.colour)
    return replace(prepared, colour=colour, first_seen=through_8_bits(colour[0]))


def _rounded(colour: Tensor) -> Tensor:
    """Colours in [-1,1] with the error of the release, which scales them in bfloat16."""
    return (((colour + 1) / 2).to(torch.bfloat16) * 2 - 1).float()


def through_8_bits(picture: Tensor) -> Tensor:
    """A picture (3,H,W) in [-1,1] as the release's detour through an 8-bit image leaves it: rounded down."""
    return ((picture * 0.5 + 0.5) * 255).byte().float() * (2 / 255) - 1


def own_aspect(conditioning: Conditioning, seed: int, area: int = AREAS["832x480"]) -> Prepared:
    """All frames, near `area` pixels each with the source's aspect, and no more of the rim given up than needed.

    Args:
        conditioning: T frames as rendered, their mask not eroded.
        seed: of the erosion.
        area: about so many pixels has a picture, see `AREAS`.
    """
    height, width = conditioning.mask.shape[1:]
    size = fitting_size(width, height, area)
    shrinks = width * height > size[0] * size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    chosen = np.arange(len(conditioning.colour))
    return _prepare(
        conditioning, chosen, padded_length(len(chosen)), size, method, mask_edges.DEFAULT_KERNELS, seed, ()
    )


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


def _prepare(
    conditioning: Conditioning,
    chosen: NDArray[np.int_],
    length: int,
    size: tuple[int, int],
    method: int,
    kernels: tuple[int, int],
    seed: int,
    notes: tuple[str, ...],
) -> Prepared:
    colour = np.stack([_resized(picture, size, method) for picture in conditioning.colour[chosen]])
    scaled = [_resized(mask, size, method) for mask in conditioning.mask[chosen]]
    real = np.where(np.stack(scaled) > 127.5, 255, 0).astype(np.uint8)
    sure = mask_edges.erode(real, kernels, seed)
    colour *= sure[..., None] > 0
    more = [(0, length - len(chosen))]
    colour = np.pad(colour, [*more, (0, 0), (0, 0), (0, 0)], mode="edge")
    sure = np.pad(sure, [*more, (0, 0), (0, 0)], mode="edge")
    pictures = torch.from_numpy(colour).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    once = torch.from_numpy(sure).float() / 255 * 2 - 1
    return Prepared(pictures, once * 2 - 1, sure, len(chosen), notes)


def _resized(picture: NDArray[np.uint8], size: tuple[int, int], method: int) -> NDArray[np.uint8]:
    """The picture (h,w) or (h,w,3) brought to `size` (width, height) by a method of cv2."""
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
