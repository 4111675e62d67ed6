"""Distilling an adapter to the few steps of a draft, by DiffSynth's DMD2 (improved distribution matching).

DMD2 has three models: the teacher, a student that makes the video in four steps, and a critic that follows what the
student makes. DiffSynth holds each as a model of its own, three times 33 GB. Here they are one frozen video model with
a LoRA for each: a block switches to it when it runs, also when it runs again in the backward pass.

DMD2's second part, a discriminator, needs features of the teacher and a network that DiffSynth has in no package; it is
left out, as by others who distil video models (CausVid, Self Forcing).
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
"""Names of the LoRAs; the first is the adapter's own, which the other two come on top of."""

SHIFT = 5.0
"""Of the schedule towards noise, the generator's."""


class Distillation(nn.Module):
    """A student and a critic on top of an adapter; `forward` is the loss of the one whose turn it is.

    Args:
        network: with the adapter that is distilled; it is frozen.
        negative: (1,512,text_dim), the embedded prompt that the teacher is guided away from.
        settings: how.
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
        # What DiffSynth's loss looks for in the module that it is given:
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
        """The first of each few steps is the student's, the others are the critic's."""
        self._step = step

    def forward(self, sample: Encoded, seed: int) -> Tensor:
        """The loss of a sample, with the noise and the times that a seed gives."""
        with seeded(seed, self.network.pipe.device):
            with torch.no_grad():
                added = self.network.camera_tokens(sample.colour, sample.mask)
            shared = {"input_latents": sample.video, "y": sample.y, "clip_feature": sample.feature, "camera": added}
            inputs = (shared, {"context": sample.prompt}, {"context": self._negative})
            loss: Tensor = self._loss(self, inputs, self._step)["total_loss"]
            return loss

    def trained(self) -> dict[str, nn.Parameter]:
        """The LoRAs of student and critic, by the names that they have in the model."""
        return {n: p for n, p in self.network.pipe.dit.named_parameters() if _of(n) in (STUDENT, CRITIC)}

    def student(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of weights by the names of `trained` those of the student, by the names of a LoRA's file."""
        return {n.replace(f".{STUDENT}.", ".default."): w for n, w in weights.items() if _of(n) == STUDENT}

    def share(self) -> str:
        """A sentence about what is trained."""
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
    """The video model as one of the three sees it: the weights are the same, the LoRAs are not.

    Args:
        dit: with the LoRAs of all.
        name: of the role's own.

    Attributes:
        view: what predicts.
    """

    def __init__(self, dit: Any, name: str) -> None:
        super().__init__()
        self._own = {n: p for n, p in dit.named_parameters() if _of(n) == name}
        names = [TEACHER] if name == TEACHER else [TEACHER, name]
        view = copy.copy(dit)
        view._modules = {**dit._modules, "blocks": nn.ModuleList(_Switched(block, names) for block in dit.blocks)}
        self.__dict__["view"] = view  # not as a part: its weights are another module's

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the role's LoRA alone: DiffSynth freezes the others of whatever it is shown."""
        yield from self._own.items()

    def train(self, mode: bool = True) -> "Role":
        """The blocks are the same in training and out of it."""
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
    # peft's own `set_adapter` also says which weights are trained, in the middle of a step.
    before = [layer._active_adapter for layer in layers]
    for layer in layers:
        layer._active_adapter = names
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer._active_adapter = was


def draft_sigmas() -> list[float]:
    """Parts of noise at which the steps of a draft begin, and 0: what the student meets when it is used."""
    steps = QUALITIES["draft"].steps
    even = [1 - n / steps for n in range(steps)]
    return [*(SHIFT * s / (1 + (SHIFT - 1) * s) for s in even), 0.0]


def _of(name: str) -> str:
    """Which LoRA a weight belongs to, by its name; empty for those of none."""
    parts = name.split(".")
    return parts[-2] if len(parts) > 2 and parts[-3] in ("lora_A", "lora_B") else ""
