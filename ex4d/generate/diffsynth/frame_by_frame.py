"""The VAE one frame at a time: the same pictures as diffsynth's own method, with less GPU memory.

diffsynth sends four frames of the video at a time through all layers, and keeps the decoded frames on the GPU. But
layers only look back, at two frames that each convolution keeps, and few of them change the number of frames. Between
those layers, each frame goes alone here, and is moved off the GPU as soon as it is decoded.

For 832x480 in bfloat16, diffsynth holds 4.1 GB of tensors while decoding and this module 2.8 GB (encoding: 3.0 and
2.4), of which 1.9 GB are frames kept by the convolutions. diffsynth can also decode in tiles, which needs even less,
but that changes the picture, because the VAE has attention over whole frames. docs/performance.md has the differences
for both.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ex4d.generate.diffsynth.library import library
from ex4d.generate.diffsynth.pictures import STRIDE
from ex4d.generate.diffsynth.video_model import dtype_of
from ex4d.progress import DECODING, Progress, silent

KEPT = 2
"""Number of frames that a causal convolution keeps for the next call."""


def decode(pipe: Any, latents: Tensor, progress: Progress = silent) -> NDArray[np.uint8]:
    """Decode latents (1,16,T',H',W') to frames (T,H,W,3).

    Args:
        pipe: diffsynth's pipeline.
        latents: of the video.
        progress: called for each frame; raises `Cancelled` to stop.
    """
    count, pictures = STRIDE * (latents.shape[2] - 1) + 1, []
    for number, frame in enumerate(decoded(pipe, latents), 1):
        picture = ((frame.clamp(-1, 1).float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        pictures.append(picture.permute(1, 2, 0).cpu().numpy())
        progress(DECODING, number, count)
    return np.stack(pictures)


def decoded(pipe: Any, latents: Tensor) -> Iterator[Tensor]:
    """Yield frames (3,H,W), approximately in [-1,1], one at a time from latents (1,16,T',H',W')."""
    vae, decoder = pipe.vae.model, pipe.vae.model.decoder
    layers = [decoder.conv1, *decoder.middle, *decoder.upsamples, *decoder.head]
    ends = [n + 1 for n, layer in enumerate(layers) if getattr(layer, "mode", "") == "upsample3d"]
    sections = [_Section(layers[a:b]) for a, b in zip([0, *ends], [*ends, None], strict=True)]
    z = latents.to(pipe.device, dtype_of(pipe.vae))
    mean, scale = _statistics(pipe.vae, z)
    for frame in _through(sections, vae.conv2(z / scale + mean)):
        yield frame[0, :, 0]


def encode(pipe: Any, video: Tensor) -> Tensor:
    """Encode a video (T,3,H,W) in [-1,1], T = 4k+1, to latents (1,16,T',H',W')."""
    vae, encoder = pipe.vae.model, pipe.vae.model.encoder
    layers = [encoder.conv1, *encoder.downsamples, *encoder.middle, *encoder.head]
    begins = next(n for n, layer in enumerate(layers) if getattr(layer, "mode", "") == "downsample3d")
    by_frame, by_latent = _Section(layers[:begins]), _Section(layers[begins:])
    latents = []
    for part in (video[:1], *(video[n : n + STRIDE] for n in range(1, len(video), STRIDE))):
        frames = (frame.to(pipe.device, dtype_of(pipe.vae)).movedim(0, 1)[None] for frame in part.split(1))
        latents.append(by_latent(torch.cat([by_frame(frame) for frame in frames], dim=2)))
    found = vae.conv1(torch.cat(latents, dim=2)).chunk(2, dim=1)[0]  # the mean, without the variance
    mean, scale = _statistics(pipe.vae, found)
    return (found - mean) * scale


class _Section:
    """Consecutive layers, and what their convolutions have kept so far.

    Args:
        layers: of diffsynth's encoder or decoder.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        kinds = library().wan_video_vae
        self._convolution, self._with_kept = kinds.CausalConv3d, (kinds.ResidualBlock, kinds.Resample)
        self._layers = layers
        count = sum(isinstance(part, self._convolution) for layer in layers for part in layer.modules())
        self._kept: list[Any] = [None] * count

    def __call__(self, x: Tensor) -> Tensor:
        """Pass the next frames (1,C,t,h,w) through all layers."""
        number = [0]  # index of the convolution; diffsynth's layers advance it
        for layer in self._layers:
            if isinstance(layer, self._with_kept):
                x = layer(x, self._kept, number)[0]
            elif isinstance(layer, self._convolution):
                before = self._kept[number[0]]
                self._kept[number[0]] = (x if before is None else torch.cat([before, x], dim=2))[:, :, -KEPT:].clone()
                x = layer(x, before)
                number[0] += 1
            else:
                x = layer(x)
        return x


def _through(sections: Sequence[_Section], x: Tensor) -> Iterator[Tensor]:
    """Yield the frames that come out of all sections, passing each frame alone through each of them."""
    if not sections:
        yield x
        return
    for frame in x.split(1, dim=2):
        yield from _through(sections[1:], sections[0](frame))


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the VAE's latents, and the factor that scales their deviation to 1; (1,16,1,1,1) each."""
    mean, scale = (values.to(like).view(1, -1, 1, 1, 1) for values in vae.scale)
    return mean, scale
