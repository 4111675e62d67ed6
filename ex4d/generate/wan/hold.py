"""Holding what is real while sampling: it is pulled back to the clip's own pixels, and the model invents around it.

After each prediction, the predicted finished video is drawn towards the warped clip where that is real, and the next
step starts from the result. The idea is WorldForge's (Apache-2.0, 2026, its "intra-step recursive refinement"), which
decodes, blends and encodes in every step and predicts twice; here everything happens on latents.

It also holds depth errors, because what is real is taken as it was rendered.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

FULL, NONE = 0.6, 0.2
"""Noise level at and above which latents are drawn the whole way, and at and below which not at all; linear between."""


def share(sigma: float) -> float:
    """How far latents are drawn at a step that starts with this noise level: 0 to 1."""
    return min(1.0, max(0.0, (sigma - NONE) / (FULL - NONE)))


def towards(warped: Tensor, known: Tensor) -> Callable[[Tensor, float], Tensor]:
    """Make a function that draws finished latents towards the clip's at a given noise level.

    Args:
        warped: (1,C,T',h,w) latents of the clip, as it is seen from the new camera.
        known: (T',h,w) from `known_cells`.
    """

    def drawn(finished: Tensor, sigma: float) -> Tensor:
        to = warped.to(finished)
        return finished + share(sigma) * known.to(finished) * (to - finished)

    return drawn


def known_cells(mask: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Mark latent pixels (T',h,w) whose pixels, and whose neighbours' pixels, are all real: 1, the others 0.

    Args:
        mask: (T,H,W), above 0 where the picture is real; T is 4k+1, because the first frame has its own latent frame.
        shape: (T',h,w) of the latents, T' = k+1.
    """
    count, height, width = shape
    holes = (mask <= 0).float()
    stride = (len(holes) - 1) // max(count - 1, 1)
    groups = torch.cat([holes[:1].expand(max(stride, 1), -1, -1), holes[1:]]).unflatten(0, (count, -1)).amax(1)
    cell = (holes.shape[1] // height, holes.shape[2] // width)
    per_cell = functional.max_pool2d(groups[:, None], cell)
    return 1 - functional.max_pool2d(per_cell, 3, stride=1, padding=1)[:, 0]  # the picture's border is not a rim


def filled(colour: Tensor, mask: Tensor) -> Tensor:
    """Fill the holes of colour (T,3,H,W) smoothly, because the encoder looks far and black would show next to them.

    Each hole takes its colour from the finest level of a pyramid of averages that has one there (pull-push).

    Args:
        colour: in [-1,1].
        mask: (T,H,W), above 0 where it is real.
    """
    weight = (mask > 0).to(colour.dtype)[:, None]
    result, missing = colour * weight, 1 - weight
    level, size = torch.cat([result, weight], dim=1), colour.shape[-2:]
    while missing.any() and max(level.shape[-2:]) > 1:
        level = functional.avg_pool2d(level, 2, ceil_mode=True)
        large = functional.interpolate(level, size=size, mode="bilinear")
        takes = missing * (large[:, 3:] > 0)
        result = result + takes * large[:, :3] / large[:, 3:].clamp(min=1e-9)
        missing = missing - takes
    return result
