"""Tensors in files: reading them safely, and converting them to .safetensors.

Nothing but tensors is unpickled, and a file's size is checked against what it announces before memory is allocated.
"""

import re
import shutil
from pathlib import Path

import torch
from torch import Tensor

from ex4d.errors import InputError
from ex4d.storage.atomic import check_there, replacing
from ex4d.weights.headers import check_archive, header, readable

_SOURCE = "source"
"""Metadata entry of a converted file: name, size and modification time of the file it was made from."""


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """All tensors of a .safetensors file or of a torch state dict (.ckpt, .pth, .pt, .bin), on the CPU.

    Torch files are mapped into memory and read when they are used.

    Args:
        path: the file.
        what: what it is ("adapter"), for the messages.

    Raises:
        InputError: the file is missing, damaged, truncated, or holds anything but tensors.
    """
    path = check_there(path, what)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file of the {what}.")
    with readable(path, what):
        if path.suffix.lower() == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.torch import load_file

            header(path, what)
            try:
                return load_file(path)
            except SafetensorError as error:
                raise ValueError(str(error)) from error
        check_archive(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        for wrapper in ("state_dict", "module", "model_state"):
            if isinstance(tensors, dict) and set(tensors) == {wrapper}:
                tensors = tensors[wrapper]
        if not isinstance(tensors, dict) or not tensors:
            raise ValueError("it holds no tensors by name")
        strange = next((k for k, v in tensors.items() if not isinstance(k, str) or not isinstance(v, Tensor)), None)
        if strange is not None:
            raise ValueError(f"{strange!r} is not a tensor")
        if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:
            raise ValueError("it announces more than it holds")
        return dict(tensors)


def as_safetensors(path: Path, what: str) -> Path:
    """Convert a weight file to .safetensors beside `path`, once: that loads faster and contains no pickles.

    The file is mapped, not read, so it need not fit in memory.

    Returns:
        Path of the .safetensors file.

    Raises:
        InputError: as `read_tensors`, the disk is full, or the folder is not writable.
    """
    path = check_there(path, what)
    converted = path.with_suffix(".safetensors")
    if converted == path:
        return converted
    source = f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}"
    if converted.is_file() and _made_from(converted) == source:
        return converted
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors, storages = read_tensors(path, what), set()
    need, free = sum(tensor.nbytes for tensor in tensors.values()), shutil.disk_usage(path.parent).free
    if need > free:
        raise InputError(
            f"{converted} cannot be written because the disk has {free / 1e9:.1f} GB free and {need / 1e9:.1f} GB are"
            " needed: free some space."
        )
    for name, tensor in tensors.items():
        tensors[name] = tensor.contiguous()
        if (storage := tensors[name].untyped_storage().data_ptr()) in storages:  # safetensors stores no shared memory
            tensors[name] = tensor.clone()
        storages.add(storage)
    with replacing(converted) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt", _SOURCE: source})
        except SafetensorError as error:  # the errno is only in the message
            code = re.search(r"os error (\d+)", str(error))
            raise OSError(int(code[1]) if code else 0, str(error)) from error
    return converted


def _made_from(path: Path) -> str:
    """What a converted file was made from, according to its metadata; "" if unknown or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        header(path, "converted file")
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get(_SOURCE, "")
    except (InputError, SafetensorError):
        return ""
