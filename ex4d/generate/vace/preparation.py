"""The input of VACE: the source's pictures with grey holes, a mask of what to generate, and a reference picture.

Grey is 0 in [-1,1] and the mask is 1 where a pixel is to be generated, as in VACE's own inpainting (its
annotators/inpainting.py) and in diffsynth's unit.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ex4d.generate.diffsynth import pictures
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning

WHITE = 255
"""Around a reference whose aspect ratio differs from the video's, as in VACE."""


@dataclass(frozen=True)
class Prepared:
    """One shot for the model.

    Attributes:
        colour: (T,3,H,W) float32 in [-1,1], 0 in holes; T is 4k+1, H and W are multiples of 16.
        mask: (T,H,W) float32, 1 where the colour has to be generated, 0 where it is real.
        frames: number of frames wanted, from the first; the rest only pads to 4k+1.
        reference: (3,H,W) float32 in [-1,1], a picture that the result should match; None for none.
        notes: sentences for the user.
    """

    colour: Tensor
    mask: Tensor
    frames: int
    reference: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def depends_on(self) -> tuple[Tensor, ...]:
        """Everything that conditions the model."""
        return (self.colour, self.mask, *(() if self.reference is None else (self.reference,)))


def prepare(
    conditioning: Conditioning, seed: int, size: tuple[int, int], reference: NDArray[np.uint8] | None = None
) -> Prepared:
    """Prepare all frames in the model's size, giving up no more of the mask's rim than needed, and nothing
    of what other frames lend.

    Args:
        conditioning: T frames as rendered, with the rim of their mask.
        seed: of the erosion.
        size: width and height, multiples of 16.
        reference: (h,w,3), of any size.
    """
    count, height, width = conditioning.mask.shape
    colour, sure = pictures.fitted(
        conditioning,
        np.arange(count),
        pictures.padded_length(count),
        size,
        pictures.method(width, height, size),
        mask_edges.DEFAULT_KERNELS,
        seed,
    )
    mask = (torch.from_numpy(sure) == 0).float()
    seen = _scaled(colour) * (1 - mask[:, None])
    shown = None if reference is None else _scaled(on_canvas(reference, size)[None])[0]
    return Prepared(seen, mask, count, shown)


def on_canvas(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The whole picture (h,w,3), centred on white of `size` (width, height)."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.full((size[1], size[0], 3), WHITE, np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    method = pictures.method(width, height, inner)
    canvas[top : top + inner[1], left : left + inner[0]] = pictures.resized(picture, inner, method)
    return canvas


def _scaled(frames: NDArray[np.uint8]) -> Tensor:
    """Convert frames (T,H,W,3) to (T,3,H,W) in [-1,1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 * 2 - 1
