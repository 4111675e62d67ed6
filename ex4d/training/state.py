"""The state of a training in one file: the weights, their average, AdamW's moments as tensors, and facts as JSON.

The file is replaced atomically, so a kill at any moment leaves either the previous state or this one. Nothing in
it is pickled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from ex4d.errors import InputError
from ex4d.storage.atomic import replacing
from ex4d.weights.headers import header

FILE = "training.safetensors"
"""Name of the file in the folder of a training."""

_FACTS, _VERSION = "ex4d", 1
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW stores for each weight that it has changed."""


@dataclass(frozen=True)
class State:
    """The state that a training resumes from.

    Attributes:
        step: number of steps done.
        settings: that it was started with, by name.
        tensors: by kind and name: "weights", "average" and AdamW's entries.
    """

    step: int
    settings: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


def write(
    path: Path,
    step: int,
    settings: Mapping[str, Any],
    weights: Mapping[str, nn.Parameter],
    average: Mapping[str, Tensor],
    optimizer: Optimizer,
) -> None:
    """Write the state of a training.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    kinds: dict[str, Mapping[str, Tensor]] = {"weights": weights, "average": average}
    moments = {name: optimizer.state[weight] for name, weight in weights.items() if weight in optimizer.state}
    kinds |= {kind: {name: state[kind] for name, state in moments.items()} for kind in _MOMENTS}
    named = ((f"{kind}/{name}", tensor) for kind, part in kinds.items() for name, tensor in part.items())
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named}
    facts = {"version": _VERSION, "step": step, "settings": dict(settings)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_FACTS: json.dumps(facts)})


def read(path: Path) -> State | None:
    """The state of a training; None if there is none.

    Raises:
        InputError: the file is damaged, or of another version.
    """
    if not path.is_file():
        return None
    header(path, "checkpoint of the training", "remove it to begin again.")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
            if facts["version"] != _VERSION:
                raise InputError(f"{path} is of another version of EX-4D: train in another folder.")
            tensors: dict[str, dict[str, Tensor]] = {kind: {} for kind in ("weights", "average", *_MOMENTS)}
            for key in file.keys():  # noqa: SIM118 - no mapping
                kind, _, name = key.partition("/")
                tensors[kind][name] = file.get_tensor(key)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no checkpoint of a training or is damaged: remove it to begin again.") from error
    return State(facts["step"], facts["settings"], tensors)


@torch.no_grad()
def restore(
    state: State, path: Path, weights: Mapping[str, nn.Parameter], average: Mapping[str, Tensor], optimizer: Optimizer
) -> None:
    """Set weights, average and optimiser to a state.

    Args:
        state: from `read`.
        path: it was read from, for messages.
        weights, average, optimizer: are changed.

    Raises:
        InputError: the state belongs to another model.
    """
    sizes = {name: weight.shape for name, weight in weights.items()}
    moved = state.tensors["step"].keys()
    for kind in ("weights", "average"):
        if {name: tensor.shape for name, tensor in state.tensors[kind].items()} != sizes or not moved <= sizes.keys():
            raise InputError(f"{path} was trained with another model or rank: train in another folder.")
    for name, weight in weights.items():
        weight.copy_(state.tensors["weights"][name])
        average[name].copy_(state.tensors["average"][name])
    for name in moved:
        first, second = (state.tensors[kind][name].to(weights[name].device) for kind in _MOMENTS[1:])
        # Torch counts the steps on the CPU, whatever the device.
        optimizer.state[weights[name]] = {"step": state.tensors["step"][name], "exp_avg": first, "exp_avg_sq": second}
