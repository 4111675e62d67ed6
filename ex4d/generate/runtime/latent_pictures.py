"""Small pictures of latents, without the decoder: a linear map to colours, fitted to the shot itself.

The shot's own pictures go through the encoder anyway, so both their latents and their colours are known, and least
squares between the two gives a map that suits this shot and this encoder. It takes milliseconds.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

SIDE = 160
"""Longest side of a picture in pixels."""


def fit(latents: Tensor, video: Tensor, stride: int) -> Tensor:
    """Fit the map (C+1,3) from the channels of a latent pixel, plus 1, to its colour in [-1,1].

    Args:
        latents: (1,C,T',h,w) of the video.
        video: (T,3,H,W) in [-1,1], T = stride*(T'-1)+1.
        stride: frames per latent frame, except for the first, which stands for one.
    """
    shown = video[::stride].to(latents.device, torch.float32)  # the frame that each latent frame ends with
    colours = functional.interpolate(shown, size=latents.shape[-2:], mode="area").permute(0, 2, 3, 1).reshape(-1, 3)
    known = _with_one(latents[0].float())
    # A little ridge keeps the map small where the shot has no information, as in one of a single colour.
    left = known.T @ known + 1e-3 * len(known) * torch.eye(known.shape[1], device=known.device)
    return torch.linalg.solve(left, known.T @ colours)


def picture(latents: Tensor, colours: Tensor) -> NDArray[np.uint8]:
    """Picture (h,w,3) of the last frame, the farthest from the source, of latents (1,C,T',h,w), by a map of `fit`."""
    last = latents[0, :, -1:].float()
    seen = (_with_one(last) @ colours).view(*last.shape[-2:], 3)
    scale = SIDE / max(seen.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in seen.shape[:2])
    large = functional.interpolate(seen.permute(2, 0, 1)[None], size=size, mode="bilinear")[0].permute(1, 2, 0)
    return ((large + 1) * 127.5).clamp(0, 255).to(torch.uint8).cpu().numpy()


def _with_one(latents: Tensor) -> Tensor:
    """Turn latents (C,T',h,w) into rows (n,C+1) with a 1 appended."""
    flat = latents.flatten(1).T
    return torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)
