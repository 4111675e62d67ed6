"""The files of the EX-4D model, and where each is found. Needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ex4d.errors import InputError
from ex4d.generate.diffsynth import files as common
from ex4d.generate.diffsynth.parts import EXTRA, part, shared
from ex4d.weights import store
from ex4d.weights.store import Part

TITLE = "EX-4D Model"
"""Name of the model in sentences."""

DISTILLED = "Draft-LoRA"
"""Folder for a user's step-distilled LoRA, one .safetensors file, which is used for drafts."""


def _read_adapter(path: Path) -> object:
    from ex4d.generate.wan.adapter import read_adapter

    return read_adapter(path)


HUB, REVISION = "Wan-AI/Wan2.1-I2V-14B-480P", "6b73f84e66371cdfe870c72acd6826e1d61cf279"
TEXT_ENCODER, TOKENIZER, VAE = shared(HUB, REVISION)
VIDEO_MODEL = part(
    HUB,
    REVISION,
    "video model",
    tuple(f"diffusion_pytorch_model-{n:05d}-of-00007.safetensors" for n in range(1, 8)),
    66,
    "6bfcfb3b342cb286ce886889d519a77e",
)
IMAGE_ENCODER = part(
    HUB,
    REVISION,
    "image encoder",
    ("models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",),
    4.8,
    "5941c53e207d62f20f9025686193c40b",
    ("628c9998b613391f193eb67ff68da9667d75f492911e4eb3decf23460a158c38",),
)
EX4D = Part(
    "EX-4D adapter",
    ("EX-4D/ex4d.ckpt",),
    0.4,
    "Apache-2.0",
    "yihouxiang/EX-4D",
    extra=EXTRA,
    check=_read_adapter,
)
PARTS = (VIDEO_MODEL, TEXT_ENCODER, TOKENIZER, IMAGE_ENCODER, VAE, EX4D)
"""Everything that the model needs, the adapter last. No commit is known for the adapter's repository: main is used."""


@dataclass(frozen=True, kw_only=True)
class Files(common.Files):
    """Where the weights are.

    Attributes:
        image_encoder: of the model that comes with the video model.
        adapter: EX-4D's.
        distilled: a user's step-distilled LoRA, for drafts.
    """

    CONVERTED: ClassVar[tuple[str, ...]] = ("vae", "image_encoder", "adapter")

    image_encoder: Path
    adapter: Path
    distilled: Path | None = None

    @property
    def loaded(self) -> tuple[Path, ...]:
        """All files except those for prompts."""
        return (*super().loaded, *([self.distilled] if self.distilled else []))


def files(root: Path, *, with_adapter: bool = True) -> Files:
    """Find the files below the folder of all models.

    Args:
        root: that folder.
        with_adapter: whether EX-4D's adapter is required; it is not when an adapter is trained.

    Raises:
        InputError: some are missing.
    """
    if lacking := common.lacking(TITLE, PARTS if with_adapter else PARTS[:-1], root):
        raise InputError(lacking)
    return Files(
        dit=tuple(store.located(file, root) for file in VIDEO_MODEL.files),
        vae=store.places(VAE, root)[0],
        image_encoder=store.located(IMAGE_ENCODER.files[0], root),
        adapter=store.located(EX4D.files[0], root),
        text_encoder=store.places(TEXT_ENCODER, root)[0],
        tokenizer=store.places(TOKENIZER, root)[0].parent,
        distilled=distilled_lora(root),
        notes=common.notes(root),
    )


def distilled_lora(root: Path) -> Path | None:
    """The user's step-distilled LoRA, if there is one.

    Raises:
        InputError: there are several.
    """
    found = sorted((root / DISTILLED).glob("*.safetensors"))
    if len(found) > 1:
        raise InputError(
            f"{root / DISTILLED} holds {len(found)} .safetensors files: leave only the one that drafts should use."
        )
    return found[0] if found else None
