"""The trained parts: a LoRA in the video model, and the camera encoder; everything else is frozen.

LoRA injection, quantisation, noise, times, their weights and the loss are DiffSynth's. Its `WanTrainingModule` belongs
to an example, not to the package, and none of its pipeline's units supports our camera latent. So the conditions of a
prediction are added here, with the hook that the generator uses.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, fields
from functools import cache
from io import StringIO
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ex4d.errors import InputError
from ex4d.extras import extra_to_install
from ex4d.generate.diffsynth.library import library
from ex4d.generate.diffsynth.video_model import settle
from ex4d.generate.wan.adapter import TARGETS
from ex4d.generate.wan.camera_encoder import CameraEncoder, camera_latent
from ex4d.training.settings import Quantisation

LAYERS = (*TARGETS, "ffn.0", "ffn.2")
"""Layers of each block that the LoRA changes: 10 per block, because both attentions have the first four."""

ALL_NOISE = (0.0, 1.0)
"""Range of the schedule from which times are drawn, from most noise (0) to none (1)."""


@dataclass(frozen=True)
class Encoded:
    """A sample as the frozen models see it; T' latent frames of h x w.

    Attributes:
        video: (1,16,T',h,w), latents of the target.
        image: (1,16,T',h,w), latents of the first frame followed by empty frames.
        feature: (1,257,1280), of the first frame from the image encoder.
        colour, mask: (1,16,T',h,w), latents of the condition.
        prompt: (1,512,text_dim), embedded.
    """

    video: Tensor
    image: Tensor
    feature: Tensor
    colour: Tensor
    mask: Tensor
    prompt: Tensor

    def to(self, device: torch.device) -> "Encoded":
        """The same in float32 on a device."""
        return Encoded(**{f.name: getattr(self, f.name).to(device, torch.float32) for f in fields(self)})

    @property
    def y(self) -> Tensor:
        """(1,20,T',h,w): four channels that are 1 where the picture is given, followed by the image latents."""
        known = torch.zeros_like(self.image[:, :4])
        known[:, :, 0] = 1
        return torch.cat([known, self.image], dim=1)


@cache
def training_library() -> SimpleNamespace:
    """DiffSynth's parts for training.

    Raises:
        InputError: a package is not installed.
    """
    library()  # prepares torchvision first
    try:
        import accelerate
        import peft
        from diffsynth.core import quant
        from diffsynth.diffusion import dmd2, loss, training_module
    except ModuleNotFoundError as error:
        raise InputError(f"Training needs the Python package {error.name}: {extra_to_install('train')}.") from error
    return SimpleNamespace(accelerate=accelerate, peft=peft, module=training_module, quant=quant, loss=loss, dmd2=dmd2)


class Network(nn.Module):
    """A video model with a fresh adapter; `forward` is the loss.

    Args:
        dit: the video model as DiffSynth loads it; it is modified.
        rank: of the LoRA.
        seed: of the initial weights.
        quant: how the frozen weights are stored.
        offload: keep activations in main memory until the backward pass.
        device: for the computation.
        hidden: width of the camera encoder.
        checkpointing: recompute each block in the backward pass instead of keeping its activations.

    Raises:
        InputError: a package is not installed.
    """

    def __init__(
        self,
        dit: Any,
        *,
        rank: int = 16,
        seed: int = 0,
        quant: Quantisation = "none",
        offload: bool = False,
        device: str | torch.device = "cpu",
        hidden: int = 1024,
        checkpointing: bool = True,
    ) -> None:
        super().__init__()
        lib = training_library()
        self.dtype = dit.patch_embedding.weight.dtype
        self.checkpointing, self.offload, self.light = checkpointing, offload, quant != "none"
        dit.requires_grad_(False)
        self.frozen = sum(parameter.numel() for parameter in dit.parameters())
        if self.light:
            quantise(dit, device)
        dit.to(device)
        with seeded(seed, "cpu"):  # drawn on the CPU, so that the initial weights are the same on every device
            self.encoder = CameraEncoder(dit.dim, hidden).to(device)
            lora_into(dit, rank)
        for layer in dit.modules():
            if self.light and (hasattr(layer, "lora_A") or type(layer).__name__ == "BitsAndBytesLinear4bit"):
                layer.register_forward_pre_hook(self._in_model_dtype)
            if type(layer).__name__ == "RMSNorm":
                layer.use_torch_norm = True  # the same values, with half the activations for the backward pass
        self.pipe = library().wan_video.WanVideoPipeline(device=device, torch_dtype=torch.float32)
        self.pipe.dit, self.pipe.model_fn = dit.train(), self.predict
        settle(self.pipe, [dit], self.dtype, in_float32=not self.light)
        self.pipe.scheduler.set_timesteps(1000, training=True)  # DiffSynth's shift of Wan2.1 is the release's, 5
        self._loss = lib.loss.FlowMatchSFTLoss

    def forward(self, sample: Encoded, seed: int, part: tuple[float, float] = ALL_NOISE) -> Tensor:
        """The loss of a sample, with noise and time determined by a seed."""
        with seeded(seed, self.pipe.device):
            loss: Tensor = self._loss(
                self.pipe,
                input_latents=sample.video,
                y=sample.y,
                clip_feature=sample.feature,
                context=sample.prompt,
                camera=(sample.colour, sample.mask),
                min_timestep_boundary=part[0],
                max_timestep_boundary=part[1],
            )
        return loss

    def begin(self, step: int) -> None:
        """Do nothing, because all steps are alike."""

    def predict(
        self,
        *,
        dit: Any,
        latents: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_feature: Tensor,
        y: Tensor,
        camera: tuple[Tensor, Tensor],
        **others: Any,
    ) -> Tensor:
        """The prediction (1,16,T',h,w), called by DiffSynth, which also passes models that this one lacks."""
        added = self.camera_tokens(*camera)
        again = self.checkpointing and torch.is_grad_enabled()
        with self.autocast(), camera_latent(dit, added):
            predicted: Tensor = library().wan_video.model_fn_wan_video(
                dit=dit,
                latents=latents,
                timestep=timestep,
                context=context,
                clip_feature=clip_feature,
                y=y,
                use_gradient_checkpointing=again,
                use_gradient_checkpointing_offload=again and self.offload,
            )
        return predicted

    def camera_tokens(self, colour: Tensor, mask: Tensor) -> Tensor:
        """What is added to the tokens, (1,dim,T',h/2,w/2); computed in float32, as in the generator."""
        if self.checkpointing and torch.is_grad_enabled():
            added = checkpoint(self.encoder, colour, mask, use_reentrant=False)
        else:
            added = self.encoder(colour, mask)
        # Tokens pass between blocks in float32, as in the generator; with 4 bits in bfloat16, which saves 5 GB.
        return added.to(self.dtype) if self.light else added

    def _in_model_dtype(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Cast the input, because bitsandbytes ignores autocast: float32 inputs would give float32 outputs."""
        return (inputs[0].to(self.dtype), *inputs[1:])

    def autocast(self) -> AbstractContextManager[Any]:
        """A context in which products are computed in bfloat16 if the weights are bfloat16."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(torch.device(self.pipe.device).type, dtype=self.dtype)

    def trained(self) -> dict[str, nn.Parameter]:
        """The trained weights, by their names in `ex4d.ckpt`."""
        lora = {name: tensor for name, tensor in self.pipe.dit.named_parameters() if ".lora_" in name}
        return {**dict(self.encoder.named_parameters()), **lora}

    def share(self) -> str:
        """A sentence about how much is trained."""
        count = sum(parameter.numel() for parameter in self.trained().values())
        whole = count + self.frozen
        return f"Trained: {_said(count)} of {_said(whole)} weights, {count / whole:.2%}."


def lora_into(dit: Any, rank: int) -> None:
    """Insert a LoRA into the blocks as DiffSynth does, in float32 with alpha = rank; freeze all other weights."""
    inject = training_library().module.DiffusionTrainingModule.add_lora_to_model
    inject(None, dit, list(LAYERS), rank, upcast_dtype=torch.float32)


def quantise(dit: Any, device: str | torch.device) -> None:
    """Store the large weights of the blocks in 4 bits.

    Raises:
        InputError: bitsandbytes is not installed.
    """
    quant = training_library().quant
    # diffsynth matches names by their ending; only the blocks' layers have these.
    layers = dit.blocks[0].named_modules()
    names = [name for name, layer in layers if isinstance(layer, nn.Linear)]
    try:
        with redirect_stdout(StringIO()):
            config = quant.QuantizeConfig(method="bitsandbytes_nf4", target_modules=names)
            config.quantize_model(dit, compute_device=device)
    except ImportError as error:
        raise InputError(
            "Weights in 4 bits need the Python package bitsandbytes: pip install bitsandbytes, or leave --quant out."
        ) from error


@contextmanager
def seeded(seed: int, device: Any) -> Iterator[None]:
    """A context in which torch draws from the seed; afterwards its random state is as before."""
    there = torch.device(device)
    with torch.random.fork_rng([there] if there.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _said(count: int) -> str:
    for name, unit in (("billion", 1e9), ("million", 1e6), ("thousand", 1e3)):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return str(count)
