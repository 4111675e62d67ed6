"""The training itself: steps of AdamW on any number of GPUs, which resume after a kill as if nothing had happened."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ex4d.errors import InputError
from ex4d.generate.diffsynth.video_model import attention
from ex4d.progress import TRAINING, Progress, silent
from ex4d.training import state as states
from ex4d.training.journal import Journal, Step
from ex4d.training.network import Encoded
from ex4d.training.settings import LoopSettings

PARTS = tuple((n / 4, (n + 1) / 4) for n in range(4))
"""Parts of the schedule, from most noise to least, each of which is validated separately."""


class Learner(Protocol):
    """Anything that can be trained: a torch module whose `forward` returns the loss of a sample."""

    def trained(self) -> dict[str, nn.Parameter]:
        """The trained weights, by their names in the result."""

    def begin(self, step: int) -> None:
        """Called before each step; `step` is counted from 0."""


class Material(Protocol):
    """The samples of a training."""

    def training(self, number: int) -> tuple[Encoded, int]:
        """A sample by its number since the start of the training, and the seed of its noise."""

    def validation(self) -> Iterable[tuple[Encoded, int]]:
        """Samples that are not trained on, with the seeds of their noise; may be empty."""


def train(
    learner: Any,
    material: Material,
    settings: LoopSettings,
    out: Path,
    accelerator: Any,
    write_result: Callable[[Mapping[str, Tensor]], None],
    *,
    validate_every: int = 0,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
) -> dict[str, Tensor]:
    """Train from the start, or resume the training in a folder.

    Args:
        learner: a `Learner` on the accelerator's device.
        material: the samples.
        settings: of the training.
        out: folder for the checkpoint and the journal.
        accelerator: accelerate's.
        write_result: called with the average of the weights at each checkpoint.
        validate_every: number of steps; 0 never validates.
        progress: called after each step; raises `Cancelled` to stop.
        say: called with a sentence every few steps.

    Returns:
        The average of the weights.

    Raises:
        InputError: the folder has a training with other settings, the batch does not divide among the GPUs, the loss
            is not finite, or the disk is full.
    """
    gpus, rank, main = accelerator.num_processes, accelerator.process_index, accelerator.is_main_process
    if settings.batch % gpus:
        raise InputError(f"A batch of {settings.batch} cannot be shared by {gpus} GPUs: take a multiple of {gpus}.")
    accelerator.gradient_accumulation_steps, accelerator.step = settings.batch // gpus, 0  # samples; counted so far

    weights = learner.trained()
    average = {name: weight.detach().clone() for name, weight in weights.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=settings.rate, weight_decay=settings.weight_decay)
    done = _resumed(out / states.FILE, settings, weights, average, optimizer)
    # Each process has read the same frozen weights, so data parallelism need not send 33 GB around.
    trained = {id(weight) for weight in weights.values()}
    learner._ddp_params_and_buffers_to_ignore = [
        *(name for name, parameter in learner.named_parameters() if id(parameter) not in trained),
        *(name for name, _ in learner.named_buffers()),
    ]
    model = accelerator.prepare(learner)
    journal = Journal(out, done, settings.steps, say) if main else None
    progress(TRAINING, done, settings.steps)

    for step in range(done, settings.steps):
        began = time.monotonic()
        learner.begin(step)
        rate = settings.rate * rate_at(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = []
        for number in range(step * settings.batch + rank, (step + 1) * settings.batch, gpus):
            sample, seed = material.training(number)
            with accelerator.accumulate(model), attention(accelerator.device):
                loss = model(sample.to(accelerator.device), seed)
                accelerator.backward(loss)
            losses.append(loss.detach().float())
        norm = accelerator.clip_grad_norm_(weights.values(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()
        _follow(average, weights, min(settings.average, (1 + step) / (10 + step)))
        mean = accelerator.reduce(torch.stack(losses).mean(), "mean").item()
        if not math.isfinite(mean):
            raise InputError(f"The loss of step {step + 1} is {mean}: take a lower --rate, or look at the samples.")

        seconds = (time.monotonic() - began) / settings.batch
        last = step + 1 == settings.steps
        judged = validate_every and ((step + 1) % validate_every == 0 or last)
        validation = validate(learner, material, average, accelerator) if judged else None
        if journal:
            journal.note(Step(step + 1, mean, rate, float(norm), seconds, _gigabytes(accelerator.device), validation))
        if main and (last or (step + 1) % settings.save_every == 0):
            write_result(average)
            states.write(out / states.FILE, step + 1, asdict(settings), weights, average, optimizer)
        progress(TRAINING, step + 1, settings.steps)
    if journal:
        journal.close()
    accelerator.wait_for_everyone()
    return average


def rate_at(step: int, settings: LoopSettings) -> float:
    """Fraction of the learning rate for a step, from 0 on: a linear rise to 1, then half a cosine down to 0."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    return (1 + math.cos(math.pi * (step - settings.warm_up) / max(settings.steps - settings.warm_up, 1))) / 2


@torch.no_grad()
def validate(learner: Any, material: Material, average: Mapping[str, Tensor], accelerator: Any) -> float | None:
    """Mean loss of the averaged weights on held-back samples, in all parts of the schedule, always with the same noise.

    None if no samples are held back.
    """
    weights = learner.trained()
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.copy_(average[name])
    total, count = torch.zeros((), device=accelerator.device), 0
    for sample, seed in material.validation():
        for part in PARTS:
            if count % accelerator.num_processes == accelerator.process_index:
                total += learner(sample.to(accelerator.device), seed, part).float()
            count += 1
    for name, weight in weights.items():
        weight.copy_(kept[name])
    return accelerator.reduce(total, "sum").item() / count if count else None


@torch.no_grad()
def _follow(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    # Young averages forget faster, so that the random start soon vanishes.
    for name, weight in weights.items():
        average[name].lerp_(weight, 1 - decay)


def _resumed(
    path: Path,
    settings: LoopSettings,
    weights: Mapping[str, nn.Parameter],
    average: Mapping[str, Tensor],
    optimizer: Any,
) -> int:
    """Number of steps already done; weights, average and optimiser are set to that state."""
    found = states.read(path)
    if found is None:
        return 0
    now = asdict(settings)
    other = [name for name, value in found.settings.items() if name in now and now[name] != value]
    if other:
        was = ", ".join(f"--{name} {found.settings[name]}" for name in other)
        raise InputError(
            f"{path.parent} has a training with {was}: go on with the same settings, or in another folder."
        )
    states.restore(found, path, weights, average, optimizer)
    return found.step


def _gigabytes(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
