"""Distilling an adapter to the few steps of a draft with DiffSynth's DMD2 (improved distribution matching).

DMD2 has three models: the teacher, a student that makes the video in four steps, and a critic that follows the
student's output. DiffSynth holds each as a separate model, three times 33 GB. Here they are one frozen video model with
a LoRA for each: a block switches to it when it runs, and again when it is rerun in the backward pass.

DMD2's second part, a discriminator, needs features of the teacher and a network that is not in any package of
DiffSynth. It is left out, as in other distillations of video models (CausVid, Self Forcing).
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ex4d.generate.diffsynth.library import library
from ex4d.generate.wan.camera_encoder import camera_latent
from ex4d.generate.wan.quality import QUALITIES
from ex4d.training.network import LAYERS, Encoded, Network, seeded, training_library
from ex4d.training.settings import DistilSettings

TEACHER, STUDENT, CRITIC = "default", "student", "critic"
"""Names of the LoRAs; the first is the adapter's own, on top of which come the other two."""

SHIFT = 5.0
"""Shift of the noise schedule, as in the generator."""


class Distillation(nn.Module):
    """A student and a critic on top of an adapter; `forward` is the loss of the one whose turn it is.

    Args:
        network: with the adapter to distil; it is frozen.
        negative: (1,512,text_dim), the embedded negative prompt for the teacher's guidance.
        settings: of the distillation.
    """

    def __init__(self, network: Network, negative: Tensor, settings: DistilSettings) -> None:
        super().__init__()
        lib = training_library()
        self.network, self._step = network, 0
        dit = network.pipe.dit
        self._negative = negative.to(network.pipe.device, torch.float32)
        for number, name in enumerate((STUDENT, CRITIC)):
            with seeded(settings.seed + number, "cpu"):
                config = lib.peft.LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=list(LAYERS))
                lib.peft.inject_adapter_in_model(config, dit, adapter_name=name)
        network.requires_grad_(False)
        for name, parameter in dit.named_parameters():
            if _of(name) in (STUDENT, CRITIC):
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)
        roles = {name: Role(dit, name) for name in (TEACHER, STUDENT, CRITIC)}
        self.pipe = SimpleNamespace(scheduler=network.pipe.scheduler, **roles)
        # Attributes that DiffSynth's loss expects of its module:
        self.dmd2_teacher_model_name, self.dmd2_student_model_name = TEACHER, STUDENT
        self.dmd2_fake_score_model_name, self.dmd2_discriminator_model_name = CRITIC, None
        self._dmd2_student_param_names = {name for name, _ in roles[STUDENT].named_parameters()}
        self._dmd2_fake_score_param_names = {name for name, _ in roles[CRITIC].named_parameters()}
        self.dmd2_model_fn_teacher = self.dmd2_model_fn_student = self.dmd2_model_fn_fake_score = self._predict
        config = lib.dmd2.DMD2Config(
            student_update_freq=settings.every,
            student_sample_steps=len(draft_sigmas()) - 1,
            student_t_list=draft_sigmas(),
            teacher_cfg_scale=settings.teacher_guidance,
            gan_loss_weight=0.0,
        )
        self._loss = lib.dmd2.DMD2Loss(config)

    def begin(self, step: int) -> None:
        """Set the step: the first of every `settings.every` steps trains the student, the others the critic."""
        self._step = step

    def forward(self, sample: Encoded, seed: int) -> Tensor:
        """The loss of a sample, with noise and times determined by a seed."""
        with seeded(seed, self.network.pipe.device):
            with torch.no_grad():
                added = self.network.camera_tokens(sample.colour, sample.mask)
            shared = {"input_latents": sample.video, "y": sample.y, "clip_feature": sample.feature, "camera": added}
            inputs = (shared, {"context": sample.prompt}, {"context": self._negative})
            loss: Tensor = self._loss(self, inputs, self._step)["total_loss"]
            return loss

    def trained(self) -> dict[str, nn.Parameter]:
        """The LoRAs of student and critic, by their names in the model."""
        return {n: p for n, p in self.network.pipe.dit.named_parameters() if _of(n) in (STUDENT, CRITIC)}

    def student(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's weights among those of `trained`, by the names used in a LoRA file."""
        return {n.replace(f".{STUDENT}.", ".default."): w for n, w in weights.items() if _of(n) == STUDENT}

    def share(self) -> str:
        """A sentence about how much is trained."""
        count = sum(parameter.numel() for parameter in self.trained().values())
        return f"Trained: {count / 1e6:.1f} million weights, half of them the student's, half the critic's."

    def _predict(
        self,
        pipe: Any,
        model: "Role",
        *,
        timestep: Tensor,
        inputs_shared: Mapping[str, Any],
        inputs_posi: Mapping[str, Any],
        **others: Any,
    ) -> Tensor:
        network, again = self.network, self.network.checkpointing and torch.is_grad_enabled()
        with network.autocast(), camera_latent(model.view, inputs_shared["camera"]):
            predicted: Tensor = library().wan_video.model_fn_wan_video(
                dit=model.view,
                latents=inputs_shared["latents"],
                timestep=timestep.float(),
                context=inputs_posi["context"],
                clip_feature=inputs_shared["clip_feature"],
                y=inputs_shared["y"],
                use_gradient_checkpointing=again,
                use_gradient_checkpointing_offload=again and network.offload,
            )
        return predicted


class Role(nn.Module):
    """The video model in one of the three roles: the same weights with other LoRAs.

    Args:
        dit: with the LoRAs of all roles.
        name: of the role's own LoRA.

    Attributes:
        view: the model that predicts.
    """

    def __init__(self, dit: Any, name: str) -> None:
        super().__init__()
        self._own = {n: p for n, p in dit.named_parameters() if _of(n) == name}
        names = [TEACHER] if name == TEACHER else [TEACHER, name]
        view = copy.copy(dit)
        view._modules = {**dit._modules, "blocks": nn.ModuleList(_Switched(block, names) for block in dit.blocks)}
        self.__dict__["view"] = view  # not as a submodule, because its weights belong to another module

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Only the role's LoRA, because DiffSynth freezes all other parameters that it finds."""
        yield from self._own.items()

    def train(self, mode: bool = True) -> "Role":
        """Do nothing: the blocks are the same in training and evaluation mode."""
        return self


class _Switched(nn.Module):
    """A block that runs with some of its LoRAs."""

    def __init__(self, block: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.block, self._names = block, names
        self._layers = [layer for layer in block.modules() if hasattr(layer, "lora_A")]

    def forward(self, *inputs: Any) -> Any:
        with _active(self._layers, self._names):
            return self.block(*inputs)


@contextmanager
def _active(layers: list[Any], names: list[str]) -> Iterator[None]:
    # peft's own `set_adapter` would also change which weights are trained, in the middle of a step.
    before = [layer._active_adapter for layer in layers]
    for layer in layers:
        layer._active_adapter = names
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer._active_adapter = was


def draft_sigmas() -> list[float]:
    """Noise levels at which the steps of a draft begin, followed by 0; the student meets the same ones in use."""
    steps = QUALITIES["draft"].steps
    even = [1 - n / steps for n in range(steps)]
    return [*(SHIFT * s / (1 + (SHIFT - 1) * s) for s in even), 0.0]


def _of(name: str) -> str:
    """Name of the LoRA that a weight belongs to, from the weight's name; empty if it belongs to none."""
    parts = name.split(".")
    return parts[-2] if len(parts) > 2 and parts[-3] in ("lora_A", "lora_B") else ""
