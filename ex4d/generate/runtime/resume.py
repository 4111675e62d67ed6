"""Checkpoints: what an interrupted job leaves behind, so that the same job can resume from there.

A file is named after everything that its content depends on, so a file found under that name is valid. Files that
nobody came back for are removed after a week.
"""

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ex4d import __version__
from ex4d.errors import InputError
from ex4d.storage import user_cache
from ex4d.storage.atomic import replacing
from ex4d.weights.tensors import read_tensors

DAYS = 7


@dataclass(frozen=True)
class Checkpoint:
    """A file for the tensors of one job.

    Attributes:
        path: of the file.
    """

    path: Path

    def read(self) -> dict[str, Tensor]:
        """Read what was kept; empty if there is nothing, or it is damaged."""
        if not self.path.is_file():
            return {}
        try:
            return read_tensors(self.path, "checkpoint")
        except InputError:
            self.forget()
            return {}

    def keep(self, **tensors: Tensor) -> None:
        """Keep tensors, replacing those kept before.

        Raises:
            InputError: the disk is full.
        """
        from safetensors.torch import save_file

        with replacing(self.path) as temporary:
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary)

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def checkpoint_for(*depends_on: Any) -> Checkpoint:
    """The checkpoint for these values; see `digest_of`."""
    folder = user_cache.folder("unfinished")
    for old in folder.glob("*.safetensors"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > DAYS * 86400:
                old.unlink()
    return Checkpoint(folder / f"{digest_of(*depends_on)[:32]}.safetensors")


def digest_of(*depends_on: Any) -> str:
    """Hash this version and the given values: arrays, tensors, and anything whose `repr` shows its content."""
    digest = hashlib.sha256(__version__.encode())
    for value in depends_on:
        if isinstance(value, Tensor | np.ndarray):
            digest.update(f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)};".encode())
            flat = torch.as_tensor(value).detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
        else:
            digest.update(f"{value!r};".encode())
    return digest.hexdigest()
