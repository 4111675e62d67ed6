"""What there is to know about VACE before its code is imported, and what it needs to run."""

from functools import partial
from pathlib import Path

from ex4d.generate.base import Generator, Memory, Spec
from ex4d.generate.diffsynth import needs
from ex4d.generate.diffsynth.files import converted
from ex4d.generate.diffsynth.quality import AREAS
from ex4d.generate.vace import model_files
from ex4d.generate.vace.model_files import LARGE, SMALL, Model
from ex4d.generate.vace.quality import QUALITIES
from ex4d.generate.vace.settings import VaceSettings
from ex4d.progress import Progress

LIGHTEST = VaceSettings(quality="draft", model_size="512x512", window="49")
"""What takes the least memory."""

DECODING = 16_500
"""Bytes a pixel that torch takes of the GPU to decode; 7.0 GB at 832x480 where it may take what it likes."""


def make(model: Model, device: str) -> Generator:
    """VACE on a device; "auto" is a GPU. Nothing is loaded before the first request."""
    from ex4d.generate.vace.generator import VaceGenerator

    return VaceGenerator(model, "cuda" if device == "auto" else device)


def missing(model: Model, deep: bool, device: str = "cuda") -> str:
    """Why it cannot run on this machine, see `needs.missing`."""
    return needs.missing(model.title, model.parts, memory(model, LIGHTEST).least, deep, device)


def rest_bytes(model: Model, frames: int, pixels: int) -> int:
    """What is set aside on the GPU beside the weights: for sampling, or for encoding and decoding pictures where that
    takes more, as with a model so small it does. Encoding and decoding use some 10,000 bytes a pixel whatever the
    number of frames, and torch takes half as much again for them, in pieces that do not fit together. On an H100 that
    was allowed less, 832x480 ran in 12 GB with the same bytes as without a limit, and not in 8 GB; 512x512 ran in 8 GB.

    Args:
        model: which size of VACE.
        frames: of a window, 4k+1.
        pixels: of a frame.
    """
    tokens = ((frames - 1) // 4 + 1) * pixels // 256
    return max(tokens * 51 * model.dim, pixels * (DECODING + 12 * frames)) + 1_500_000_000


def memory(model: Model, settings: VaceSettings) -> Memory:
    """What of a GPU's memory a whole window needs."""
    rest = rest_bytes(model, int(settings.window), AREAS[settings.model_size])
    block = needs.block_bytes(model.dim, model.ffn_dim, False, QUALITIES[settings.quality].fp8)
    return needs.memory(block, sum(model.blocks), model.others, rest)


def convert(model: Model, root: Path, progress: Progress) -> tuple[str, ...]:
    """Write .safetensors beside the VAE's .pth, as the first job would; says what could not be rewritten."""
    there = model_files.files(model, root)
    return converted(there, progress).notes[len(there.notes) :]


def _spec(model: Model, rank: int, help: str) -> Spec:
    return Spec(
        name=model.name,
        title=model.title,
        help=help,
        settings=VaceSettings,
        make=partial(make, model),
        missing=partial(missing, model),
        rank=rank,
        stride=4,
        memory=partial(memory, model),
        licence="Apache-2.0",
        parts=model.parts,
        convert=partial(convert, model),
    )


SPEC = _spec(
    SMALL, 60, "Wan2.1-VACE-1.3B, for GPUs of 8 GB and more; not trained on holes of this kind, it invents freely"
)
SPEC_14B = _spec(LARGE, 80, "Wan2.1-VACE-14B, as large as the EX-4D model, but not trained on holes of this kind")
