"""What there is to know about the EX-4D model before its code is imported, and what it needs to run."""

import ctypes
from importlib.util import find_spec
from pathlib import Path

from ex4d.errors import InputError
from ex4d.generate.base import Generator, OwnFile, Spec
from ex4d.generate.wan import model_files
from ex4d.generate.wan.settings import WanSettings
from ex4d.progress import Progress
from ex4d.weights import store


def make(device: str) -> Generator:
    """The EX-4D model on a device; "auto" is a GPU. Nothing is loaded before the first request."""
    from ex4d.generate.wan.generator import WanGenerator

    return WanGenerator("cuda" if device == "auto" else device)


def missing(deep: bool, device: str = "cuda") -> str:
    """Why the EX-4D model cannot run on this machine, as a sentence; "" where it can.

    Args:
        deep: also import torch, which takes seconds, and ask whether it can use the GPU.
        device: where it is to run; "cpu", which is for tests, needs no GPU.

    Raises:
        InputError: the folder of models cannot be used.
    """
    for package in ("torch", "diffsynth", "safetensors"):
        if find_spec(package) is None:
            return (
                f"The EX-4D model needs the Python package {package}, which is not installed here: pip install '.[wan]'"
                " -c constraints.txt in a checkout."
            )
    root = store.folder()
    if lacking := [part.name for part in model_files.PARTS if not store.is_there(part, root)]:
        return f"Files of the EX-4D model are missing ({', '.join(lacking)}): `ex4d models` says how to fetch them."
    if device == "cpu":
        return ""
    if not _gpus():
        return "The EX-4D model needs an NVIDIA GPU, and this machine has none that its driver knows."
    if deep:
        import torch

        if not torch.cuda.is_available():
            return (
                "The EX-4D model needs a torch that can use the GPU, but the one installed cannot: install it for CUDA."
            )
    return ""


def _gpus() -> int:
    """How many NVIDIA GPUs there are; asks the driver itself, which takes no seconds and no memory."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int()
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    return 0


def convert(root: Path, progress: Progress) -> tuple[str, ...]:
    """Write .safetensors beside .pth and .ckpt files, as the first job would; says what could not be rewritten."""
    there = model_files.files(root)
    return model_files.converted(there, progress).notes[len(there.notes) :]


def own_files(root: Path) -> tuple[OwnFile, ...]:
    """The user's step-distilled LoRA for drafts."""
    name, place = "LoRA for drafts", f"{model_files.DISTILLED}/*.safetensors"
    try:
        found = model_files.distilled_lora(root)
    except InputError as error:
        return (OwnFile(name, place, problem=str(error)),)
    return (OwnFile(name, place, found.name if found else ""),)


SPEC = Spec(
    name="wan",
    title="EX-4D Model",
    help="Wan2.1-I2V-14B with the EX-4D adapter; needs an NVIDIA GPU and 83 GB of model files",
    settings=WanSettings,
    make=make,
    missing=missing,
    rank=100,
    licence="Apache-2.0",
    stride=4,
    parts=model_files.PARTS,
    convert=convert,
    own_files=own_files,
)
