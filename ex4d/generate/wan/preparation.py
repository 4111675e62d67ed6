"""The video model's input: pictures and masks as tensors, as released or with the source's own aspect ratio.

The released weights were trained with these peculiarities, so both modes have them (upstream 7): holes are black, and
the mask is scaled twice, to -3 in holes and 1 where the picture is real.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ex4d.errors import InputError
from ex4d.generate.diffsynth import pictures
from ex4d.generate.diffsynth.pictures import MULTIPLE, STRIDE, fitting_size, padded_length
from ex4d.generate.diffsynth.quality import AREAS
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning

LENGTH = 49
"""Number of frames that the model was trained with, and the most it makes at once."""

RELEASE_SIZE = (512, 512)
"""Width and height in the release."""


@dataclass(frozen=True)
class Prepared:
    """One shot for the video model.

    Attributes:
        colour: (T,3,H,W) float32 in [-1,1], -1 in holes; T is 4k+1, H and W are multiples of 16.
        mask: (T,H,W) float32, 1 where the colour is real, -3 where it has to be invented.
        sure: (T,H,W) uint8 in {0,255}, the same mask for compositing.
        frames: number of frames wanted, from the first; the rest only pads to 4k+1.
        notes: sentences for the user.
        first_seen: (3,H,W) float32, replaces the first picture of `colour`; None uses that picture itself.
    """

    colour: Tensor
    mask: Tensor
    sure: NDArray[np.uint8]
    frames: int
    notes: tuple[str, ...] = ()
    first_seen: Tensor | None = None

    @property
    def depends_on(self) -> tuple[Tensor, ...]:
        """Everything that conditions the model."""
        return (self.colour, self.mask, self.first)

    @property
    def first(self) -> Tensor:
        """The picture (3,H,W) float32 from which the model takes its image feature and its first latent."""
        return self.colour[0] if self.first_seen is None else self.first_seen


def as_released(
    conditioning: Conditioning, seed: int, frames: int = LENGTH, size: tuple[int, int] = RELEASE_SIZE
) -> Prepared:
    """Prepare as the release does: squeezed to `size`, at most `frames` frames, mask eroded by 2 to 8 pixels per frame.

    Args:
        conditioning: T frames as rendered, with the rim of their mask.
        seed: of the erosion, which is unseeded in the release.
        frames: 4k+1; from longer clips this many are taken, evenly spread from the first to the last; in shorter ones
            the last frame is repeated.
        size: width and height, multiples of 16.

    Raises:
        InputError: the model cannot take this `frames` or `size`.
    """
    if frames % STRIDE != 1:
        raise InputError(f"The model makes 4k+1 frames, not {frames}: ask for {padded_length(frames)}.")
    if any(side <= 0 or side % MULTIPLE for side in size):
        raise InputError(f"The model makes frames whose sides are multiples of 16, not {size[0]}x{size[1]}.")
    there = len(conditioning.colour)
    chosen = np.linspace(0, there - 1, min(there, frames), dtype=int)
    notes = (f"Only {frames} of {there} frames are made, spread evenly, as in the release.",) if there > frames else ()
    method, kernels = cv2.INTER_LINEAR, mask_edges.RELEASE_KERNELS
    prepared = _prepare(conditioning, chosen, frames, size, method, kernels, seed, notes)
    colour = _rounded(prepared.colour)
    return replace(prepared, colour=colour, first_seen=through_8_bits(colour[0]))


def _rounded(colour: Tensor) -> Tensor:
    """Round colours in [-1,1] as the release does, which scales them in bfloat16."""
    return (((colour + 1) / 2).to(torch.bfloat16) * 2 - 1).float()


def through_8_bits(picture: Tensor) -> Tensor:
    """A picture (3,H,W) in [-1,1] after the release's detour through an 8-bit image: rounded down."""
    return ((picture * 0.5 + 0.5) * 255).byte().float() * (2 / 255) - 1


def own_aspect(conditioning: Conditioning, seed: int, area: int = AREAS["832x480"]) -> Prepared:
    """Prepare all frames at about `area` pixels in the source's aspect ratio, giving up no more of the rim than needed,
    and nothing of what other frames lend.

    Args:
        conditioning: T frames as rendered, with the rim of their mask.
        seed: of the erosion.
        area: approximate pixels per picture, see `AREAS`.
    """
    height, width = conditioning.mask.shape[1:]
    size = fitting_size(width, height, area)
    method = pictures.method(width, height, size)
    chosen = np.arange(len(conditioning.colour))
    return _prepare(
        conditioning, chosen, padded_length(len(chosen)), size, method, mask_edges.DEFAULT_KERNELS, seed, ()
    )


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
    colour, sure = pictures.fitted(conditioning, chosen, length, size, method, kernels, seed)
    seen = torch.from_numpy(colour).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    once = torch.from_numpy(sure).float() / 255 * 2 - 1
    return Prepared(seen, once * 2 - 1, sure, len(chosen), notes)
