"""What a model needs from a machine: packages, files, a GPU, and how much of its memory. Needs no torch."""

import ctypes
from collections.abc import Sequence

from ex4d.extras import Package
from ex4d.generate.base import Memory
from ex4d.generate.diffsynth import files
from ex4d.generate.diffsynth.parts import EXTRA
from ex4d.weights import store
from ex4d.weights.store import Part

SLOTS = 2
"""Minimum number of blocks that must fit on the GPU: one computes while the next arrives."""


def missing(title: str, parts: Sequence[Part], least: float, deep: bool, device: str = "cuda") -> str:
    """Why a model cannot run on this machine, as a sentence; "" if it can.

    Args:
        title: of the model.
        parts: its files.
        least: GB of GPU memory needed with the lightest settings.
        deep: also import torch, which takes seconds, and check that it can use the GPU.
        device: where it is to run; "cpu", which is for tests, needs no GPU.

    Raises:
        InputError: the folder of models cannot be used.
    """
    for package in (Package(name, EXTRA) for name in ("torch", "diffsynth", "safetensors")):
        if not package.is_there:
            return f"{title} needs the Python package {package.name}, which is not installed: {package.install}."
    if lacking := files.lacking(title, parts, store.folder()):
        return lacking
    if device == "cpu":
        return ""
    there = gpus()
    if not there:
        return f"{title} needs an NVIDIA GPU, and this machine has none that its driver knows."
    if max(there) < least * 1e9:
        return f"{title} needs {least:g} GB of GPU memory or more, and the GPU has {max(there) / 1e9:.1f} GB."
    if deep:
        import torch

        if not torch.cuda.is_available():
            return (
                f"{title} needs a build of torch that can use the GPU, and the one installed cannot: install torch"
                " for CUDA."
            )
    return ""


def gpus() -> tuple[int, ...]:
    """Bytes of memory of each NVIDIA GPU, from the driver itself, which is quick and takes no memory."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int()
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            continue
        sizes = [ctypes.c_size_t() for _ in range(count.value)]
        for number, size in enumerate(sizes):
            device = ctypes.c_int()
            driver.cuDeviceGet(ctypes.byref(device), number)
            driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        return tuple(size.value for size in sizes)
    return ()


def memory(block: int, blocks: int, others: int, rest: int) -> Memory:
    """How much GPU memory a model needs.

    Args:
        block: bytes of one block.
        blocks: number of blocks.
        others: bytes of all other weights.
        rest: peak bytes of everything except weights.
    """
    return Memory(round((others + rest + SLOTS * block) / 1e9, 1), round((others + rest + blocks * block) / 1e9, 1))


def block_bytes(dim: int, ffn_dim: int, image: bool, in_8_bits: bool) -> int:
    """Bytes of one block.

    Its square layers (two more if it attends to a picture), the two layers of the feed-forward part, biases, and the
    rows of norms and modulation.
    """
    layers, rows = (10, 13) if image else (8, 12)
    return (1 if in_8_bits else 2) * (layers * (dim + 1) * dim + 2 * dim * ffn_dim + dim + ffn_dim + rows * dim)
