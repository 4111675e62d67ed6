"""The adapter as files, with the names that the published `ex4d.ckpt` has."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ex4d.storage.atomic import replacing

NAME = "ex4d"

LORA = "draft_lora.safetensors"
"""The student's LoRA; in the folder Draft-LoRA of the models the generator takes it for drafts."""


def write_adapter(out: Path, weights: Mapping[str, Tensor]) -> tuple[Path, Path]:
    """Write `ex4d.ckpt`, which the release's code loads as well, and the same as `ex4d.safetensors`.

    Args:
        out: folder.
        weights: of the camera encoder and of the LoRA, by the published names.

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
    """Where `write_adapter` writes."""
    return out / f"{NAME}.ckpt", out / f"{NAME}.safetensors"


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in weights.items()}
