"""The adapter as files, with the names used in the published `ex4d.ckpt`."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ex4d.storage.atomic import replacing

NAME = "ex4d"

LORA = "draft_lora.safetensors"
"""File of the student's LoRA; the generator uses it for drafts if it is in the folder Draft-LoRA of the models."""


def write_adapter(out: Path, weights: Mapping[str, Tensor]) -> tuple[Path, Path]:
    """Write `ex4d.ckpt`, which the release's code also loads, and the same weights as `ex4d.safetensors`.

    Args:
        out: the folder.
        weights: of the camera encoder and the LoRA, by their published names.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    torch_file, file = adapter_files(out)
    tensors = _plain(weights)
    with replacing(file) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    with replacing(torch_file) as temporary:
        torch.save(tensors, temporary)
    return torch_file, file


def write_lora(out: Path, weights: Mapping[str, Tensor]) -> Path:
    """Write a LoRA for drafts.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    with replacing(out / LORA) as temporary:
        save_file(_plain(weights), temporary, metadata={"format": "pt"})
    return out / LORA


def adapter_files(out: Path) -> tuple[Path, Path]:
    """The paths to which `write_adapter` writes."""
    return out / f"{NAME}.ckpt", out / f"{NAME}.safetensors"


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in weights.items()}
