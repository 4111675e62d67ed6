"""The adapter as files, with the names that the published `ex4d.ckpt` has."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ex4d.storage.atomic import replacing

NAME = "ex4d"
LORA = "draft_lora.safetensors"


def write_adapter(out: Path, weights: Mapping[str, Tensor]) -> tuple[Path, Path]:
    """Write `ex4d.ckpt`, which the release's code loads as well, and the same as `ex4d.safetensors`.

    Args:
        out: folder.
        weights: of the camera encoder and of the LoRA, by the published names.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in weights.items()}
    torch_file, file = out / f"{NAME}.ckpt", out / f"{NAME}.safetensors"
    with replacing(file) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    with replacing(torch_file) as temporary:
        torch.save(tensors, temporary)
    return torch_file, file
