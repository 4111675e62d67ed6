"""What is known about the EX-4D model before its code is imported, and what it needs to run."""

from pathlib import Path

from ex4d.errors import InputError
from ex4d.generate.base import Generator, Memory, OwnFile, Spec
from ex4d.generate.diffsynth import needs
from ex4d.generate.diffsynth.files import converted
from ex4d.generate.diffsynth.quality import AREAS
from ex4d.generate.wan import model_files
from ex4d.generate.wan.quality import QUALITIES
from ex4d.generate.wan.settings import WanSettings
from ex4d.progress import Progress

LIGHTEST = WanSettings(quality="draft", model_size="512x512")
"""The settings that take the least memory."""

OTHER_WEIGHTS = 2_200_000_000
"""Approximate bytes of the VAE, the image encoder, and the parts of the video model outside its blocks."""


def make(device: str) -> Generator:
    """Make the EX-4D model on a device; "auto" is a GPU. Nothing is loaded before the first request."""
    from ex4d.generate.wan.generator import WanGenerator

    return WanGenerator("cuda" if device == "auto" else device)


def missing(deep: bool, device: str = "cuda") -> str:
    """Why the EX-4D model cannot run on this machine; see `needs.missing`."""
    return needs.missing(model_files.TITLE, model_files.PARTS, memory(LIGHTEST).least, deep, device)


def rest_bytes(tokens: int) -> int:
    """GPU memory set aside for sampling, encoding and decoding, in bytes.

    4.4 GB for 49 frames of 512x512, of which `benchmarks/memory.py` shows 2.5 to 3.5 GB in use besides the weights.
    """
    return tokens * 220_000 + 1_500_000_000


def memory(settings: WanSettings) -> Memory:
    """How much GPU memory a window of 49 frames needs."""
    tokens = 13 * AREAS[settings.model_size] // 256
    block = needs.block_bytes(5120, 13824, True, QUALITIES[settings.quality].fp8)
    return needs.memory(block, 40, OTHER_WEIGHTS, rest_bytes(tokens))


def convert(root: Path, progress: Progress) -> tuple[str, ...]:
    """Write .safetensors next to .pth and .ckpt files, as the first job would; return notes on any not rewritten."""
    there = model_files.files(root)
    return converted(there, progress).notes[len(there.notes) :]


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
    memory=memory,
    licence="Apache-2.0",
    several_gpus=True,
    stride=4,
    parts=model_files.PARTS,
    convert=convert,
    own_files=own_files,
)
