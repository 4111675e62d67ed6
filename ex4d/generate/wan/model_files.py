"""The files of the EX-4D model: which they are, and where each is found. Needs no torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.progress import Progress, silent
from ex4d.weights import store
from ex4d.weights.headers import check_file
from ex4d.weights.store import Part

BASE, ADAPTER = "Wan2.1-I2V-14B-480P", "EX-4D"

DISTILLED = "Draft-LoRA"
"""Folder for a step-distilled LoRA of the user's, one .safetensors file, which drafts are made with."""

EXTRA = "wan"
"""The extra that brings what the model needs."""

_HUB = "Wan-AI/Wan2.1-I2V-14B-480P"


def _read_adapter(path: Path) -> object:
    from ex4d.generate.wan.adapter import read_adapter

    return read_adapter(path)


def _part(name: str, files: tuple[str, ...], gigabytes: float, keys: str = "") -> Part:
    return Part(name, tuple(f"{BASE}/{file}" for file in files), gigabytes, "Apache-2.0", _HUB, keys, extra=EXTRA)


# The hashes are those by which diffsynth recognises the published files (its configs/model_configs.py).
PARTS = (
    _part(
        "video model",
        tuple(f"diffusion_pytorch_model-{n:05d}-of-00007.safetensors" for n in range(1, 8)),
        66,
        "6bfcfb3b342cb286ce886889d519a77e",
    ),
    _part("text encoder", ("models_t5_umt5-xxl-enc-bf16.pth",), 11.4, "9c8818c2cbea55eca56c7b447df170da"),
    _part("tokenizer", ("google/umt5-xxl/tokenizer.json", "google/umt5-xxl/tokenizer_config.json"), 0.02),
    _part(
        "image encoder",
        ("models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",),
        4.8,
        "5941c53e207d62f20f9025686193c40b",
    ),
    _part("VAE", ("Wan2.1_VAE.pth",), 0.5, "ccc42284ea13e1ad04693284c7a09be6"),
    Part(
        "EX-4D adapter",
        (f"{ADAPTER}/ex4d.ckpt",),
        0.4,
        "Apache-2.0",
        "yihouxiang/EX-4D",
        extra=EXTRA,
        check=_read_adapter,
    ),
)
"""Everything that the model needs."""

VIDEO_MODEL, TEXT_ENCODER, TOKENIZER, IMAGE_ENCODER, VAE, EX4D = PARTS


@dataclass(frozen=True)
class Files:
    """Where the weights lie.

    Attributes:
        dit: of the video model, all its parts.
        vae, image_encoder: of the models beside it.
        adapter: EX-4D's.
        text_encoder, tokenizer: only needed for prompts that were never embedded on this machine.
        distilled: a step-distilled LoRA of the user's, for drafts.
        notes: sentences for the user.
    """

    dit: tuple[Path, ...]
    vae: Path
    image_encoder: Path
    adapter: Path
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    distilled: Path | None = None
    notes: tuple[str, ...] = ()

    def identity(self) -> tuple[Any, ...]:
        """What changes when another file takes the place of one of them."""
        paths = (*self.dit, self.vae, self.image_encoder, self.adapter, *([self.distilled] if self.distilled else []))
        return tuple(_identity(path) for path in paths)

    def identity_of_text(self) -> tuple[Any, ...]:
        """What changes when another text encoder or tokenizer takes the place of the one that is there."""
        words = sorted(self.tokenizer.glob("*.json")) if self.tokenizer else []
        return tuple(_identity(path) for path in (*([self.text_encoder] if self.text_encoder else []), *words))


def _identity(path: Path) -> tuple[str, int, int]:
    return str(path), path.stat().st_size, path.stat().st_mtime_ns


def files(root: Path) -> Files:
    """The files below the folder of all models.

    Raises:
        InputError: some are missing.
    """
    if missing := [part.name for part in PARTS if not store.is_there(part, root)]:
        raise InputError(
            f"Files of the EX-4D model are missing ({', '.join(missing)}): `ex4d models` says how to fetch them."
        )
    distilled = distilled_lora(root)
    notes = []
    if (root / store.RANDOM).exists():
        notes.append("Made with random weights, to try the machine: the pictures mean nothing.")
    return Files(
        dit=tuple(store.located(file, root) for file in VIDEO_MODEL.files),
        vae=store.located(VAE.files[0], root),
        image_encoder=store.located(IMAGE_ENCODER.files[0], root),
        adapter=store.located(EX4D.files[0], root),
        text_encoder=store.located(TEXT_ENCODER.files[0], root),
        tokenizer=store.located(TOKENIZER.files[0], root).parent,
        distilled=distilled,
        notes=tuple(notes),
    )


def distilled_lora(root: Path) -> Path | None:
    """The user's step-distilled LoRA, where there is one.

    Raises:
        InputError: there are several.
    """
    found = sorted((root / DISTILLED).glob("*.safetensors"))
    if len(found) > 1:
        raise InputError(
            f"{root / DISTILLED} holds {len(found)} .safetensors files: leave the one that drafts shall use."
        )
    return found[0] if found else None


def converted(there: Files, progress: Progress = silent) -> Files:
    """The same with .safetensors beside what is loaded each time and came as .pth or .ckpt, written once.

    The text encoder is left as it is: it is read once in a lifetime, for the prompts. What cannot be converted is used
    as it is, and a note says why.

    Raises:
        InputError: a file is damaged, or torch is missing.
    """
    for package in (Package("torch", EXTRA), Package("safetensors", EXTRA)):
        if not package.is_there:
            raise InputError(f"Converting needs the Python package {package.name}: {package.install}.")
    from ex4d.weights.tensors import as_safetensors

    changed: dict[str, Path] = {}
    notes = list(there.notes)
    names = ("vae", "image_encoder", "adapter")
    for number, name in enumerate(names):
        path = getattr(there, name)
        progress("Converting models", number, len(names))
        try:
            changed[name] = as_safetensors(path, name.replace("_", " "))
        except InputError as error:
            check_file(path, name.replace("_", " "))  # a damaged file is no matter of conversion
            notes.append(f"{path.name} is used as it is, which loads more slowly: {error}")
    progress("Converting models", len(names), len(names))
    return replace(there, **changed, notes=tuple(notes))  # type: ignore[arg-type]
