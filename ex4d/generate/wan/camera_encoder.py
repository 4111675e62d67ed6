"""EX-4D's camera encoder: adds what the new camera sees to the tokens of the video model (upstream 7)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ex4d.generate.diffsynth.video_model import LATENT_CHANNELS


class CameraEncoder(nn.Module):
    """Three 1x1x1 convolutions, and a patch embedding like the model's own.

    The parameters have the names in the released file: `latent_encoder.{0,2,4}.*`, `latent_patch_embedding.*`. The
    patch embedding starts at zero, so an untrained encoder changes nothing.

    Args:
        dim: width of the video model.
        hidden: width of the convolutions.
        patch: frames, rows and columns of latents that become one token.
    """

    def __init__(self, dim: int = 5120, hidden: int = 1024, patch: tuple[int, int, int] = (1, 2, 2)) -> None:
        super().__init__()
        self.latent_encoder = nn.Sequential(
            nn.Conv3d(2 * LATENT_CHANNELS, hidden, 1),
            nn.SiLU(),
            nn.Conv3d(hidden, hidden, 1),
            nn.SiLU(),
            nn.Conv3d(hidden, hidden, 1),
        )
        self.latent_patch_embedding = nn.Conv3d(hidden, dim, patch, stride=patch)
        nn.init.zeros_(self.latent_patch_embedding.weight)
        if self.latent_patch_embedding.bias is not None:
            nn.init.zeros_(self.latent_patch_embedding.bias)

    def forward(self, colour: Tensor, mask: Tensor) -> Tensor:
        """Compute what is added to the tokens right after the video model's own patch embedding.

        Args:
            colour: (B,16,T',H',W'), the VAE's latents of the colour video; the mask's are appended to them.
            mask: the same for the mask video.

        Returns:
            (B,dim,T',H'/2,W'/2), in the parameters' dtype.
        """
        both = torch.cat([colour, mask], dim=1).to(self.latent_patch_embedding.weight)
        return self.latent_patch_embedding(self.latent_encoder(both))


@contextmanager
def camera_latent(dit: Any, latent: Tensor) -> Iterator[None]:
    """Context that adds `latent` (1,dim,T',h,w) to the tokens in every forward of `dit`, before its first block.

    A forward raises ValueError if the latent does not have the shape of the tokens.
    """

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if output.shape[1:] != latent.shape[1:]:
            raise ValueError(f"the camera latent {tuple(latent.shape)} does not fit the tokens {tuple(output.shape)}")
        return output + latent

    handle = dit.patch_embedding.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
