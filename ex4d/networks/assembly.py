"""Load the tensors of a file into a network, every one of them and no others."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ex4d.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def assemble(model: nn.Module, tensors: Mapping[str, Tensor], what: str, path: Path) -> None:
    """Load tensors into a network that was created on the meta device.

    Args:
        model: gets the tensors.
        tensors: by the names in `model`.
        what: kind of file, such as "depth weights", for messages.
        path: where they come from, for messages.

    Raises:
        InputError: a name or a shape does not match `model`.
    """
    expected = model.state_dict()
    for how, names in (("lacks", set(expected) - set(tensors)), ("has too much:", set(tensors) - set(expected))):
        if names:
            raise InputError(
                f"The {what} {path} {how} {min(names)} ({len(names)} in all): this is another model; download it again."
            )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or not tensor.is_floating_point():
            raise InputError(
                f"In the {what} {path} {name} has the shape {tuple(tensor.shape)} instead of"
                f" {tuple(expected[name].shape)}: this is another model; download it again."
            )
    model.load_state_dict(dict(tensors), assign=True)


def ready(model: Network, device: str) -> Network:
    """Prepare a network for prediction: on the device, in half precision on a GPU, else in float32."""
    kind = torch.float16 if torch.device(device).type == "cuda" else torch.float32
    return model.eval().requires_grad_(False).to(device, kind)
