"""What is known about VACE before its code is imported, and what it needs to run."""

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
"""The settings that take the least memory."""

DECODING = 10_000
"""Bytes per pixel for decoding one frame at a time in bfloat16; encoding takes less.

At the peak, tensors take 6,900 bytes per pixel, as counted in the tests of `frame_by_frame`. 4,800 of these are the two
frames that each convolution keeps, of which 2,700 at full size (7 convolutions, 96 channels, 2 bytes); the rest is one
frame at full size on its way through a block, and three frames padded for a convolution. In addition, about 800 are
needed for cuDNN's copies of a convolution's input and output in its own channel order, and 30 % for fragmentation. With
6 GB allowed, an H100 took at most 5.5 (docs/performance.md). The number of frames does not matter, because finished
frames are in main memory.
"""

WORKSPACE_FOR_SAMPLING, WORKSPACE_FOR_PICTURES = 1_500_000_000, 500_000_000
"""Uncounted bytes: workspace of products and attention, and fragmentation."""


def make(model: Model, device: str) -> Generator:
    """Make VACE on a device; "auto" is a GPU. Nothing is loaded before the first request."""
    from ex4d.generate.vace.generator import VaceGenerator

    return VaceGenerator(model, "cuda" if device == "auto" else device)


def missing(model: Model, deep: bool, device: str = "cuda") -> str:
    """Why it cannot run on this machine; see `needs.missing`."""
    return needs.missing(model.title, model.parts, memory(model, LIGHTEST).least, deep, device)


def rest_bytes(model: Model, frames: int, pixels: int) -> int:
    """GPU memory set aside besides the weights, in bytes.

    For sampling, or for encoding and decoding pictures, whichever takes more; the two never happen at the same time.

    Args:
        model: size of VACE.
        frames: of a window, 4k+1.
        pixels: of a frame.
    """
    tokens = ((frames - 1) // 4 + 1) * pixels // 256
    sampling = tokens * 51 * model.dim + WORKSPACE_FOR_SAMPLING
    return max(sampling, pixels * DECODING + WORKSPACE_FOR_PICTURES)


def memory(model: Model, settings: VaceSettings) -> Memory:
    """How much GPU memory a whole window needs."""
    rest = rest_bytes(model, int(settings.window), AREAS[settings.model_size])
    block = needs.block_bytes(model.dim, model.ffn_dim, False, QUALITIES[settings.quality].fp8)
    return needs.memory(block, sum(model.blocks), model.others, rest)


def convert(model: Model, root: Path, progress: Progress) -> tuple[str, ...]:
    """Write .safetensors next to the VAE's .pth, as the first job would; return notes on what was not rewritten."""
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
        several_gpus=True,
        stride=4,
        memory=partial(memory, model),
        licence="Apache-2.0",
        parts=model.parts,
        convert=partial(convert, model),
    )


SPEC = _spec(
    SMALL, 60, "Wan2.1-VACE-1.3B, for GPUs of 6 GB and more; not trained on this kind of hole, so it invents freely"
)
SPEC_14B = _spec(LARGE, 80, "Wan2.1-VACE-14B, as large as the EX-4D model, but not trained on this kind of hole")
