"""The files of the EX-4D model: where each is expected, whether it is whole, and where to fetch it. Needs no torch."""

import hashlib
import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ex4d.errors import InputError
from ex4d.progress import Progress, silent
from ex4d.storage import user_cache
from ex4d.weights.headers import check_file, check_table, header

VARIABLE = "EX4D_MODELS"
"""Environment variable that names the folder of all models."""

BASE, ADAPTER = "Wan2.1-I2V-14B-480P", "EX-4D"

DISTILLED = "Draft-LoRA"
"""Folder for a step-distilled LoRA of the user's, one .safetensors file, which drafts are made with."""

RANDOM = "RANDOM_WEIGHTS"
"""A file of this name says that the weights are made up, as benchmarks/random_weights.py makes them."""


@dataclass(frozen=True)
class Part:
    """One model.

    Attributes:
        name: for people.
        files: below the folder of all models.
        gigabytes: to fetch, about.
        licence: of the weights.
        hub: the repository on Hugging Face that has it.
        keys: `key_hash` of the file or files together; empty where names are checked in another way.
    """

    name: str
    files: tuple[str, ...]
    gigabytes: float
    licence: str
    hub: str
    keys: str = ""

    @property
    def folder(self) -> str:
        """Where the whole repository goes, below the folder of all models."""
        return self.files[0].partition("/")[0]


_WAN = ("Apache-2.0", "Wan-AI/Wan2.1-I2V-14B-480P")
# The hashes are those by which diffsynth recognises the published files (its configs/model_configs.py).
PARTS = (
    Part(
        "video model",
        tuple(f"{BASE}/diffusion_pytorch_model-{n:05d}-of-00007.safetensors" for n in range(1, 8)),
        66,
        *_WAN,
        "6bfcfb3b342cb286ce886889d519a77e",
    ),
    Part(
        "text encoder",
        (f"{BASE}/models_t5_umt5-xxl-enc-bf16.pth",),
        11.4,
        *_WAN,
        "9c8818c2cbea55eca56c7b447df170da",
    ),
    Part(
        "tokenizer",
        (f"{BASE}/google/umt5-xxl/tokenizer.json", f"{BASE}/google/umt5-xxl/tokenizer_config.json"),
        0.02,
        *_WAN,
    ),
    Part(
        "image encoder",
        (f"{BASE}/models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",),
        4.8,
        *_WAN,
        "5941c53e207d62f20f9025686193c40b",
    ),
    Part("VAE", (f"{BASE}/Wan2.1_VAE.pth",), 0.5, *_WAN, "ccc42284ea13e1ad04693284c7a09be6"),
    Part("EX-4D adapter", (f"{ADAPTER}/ex4d.ckpt",), 0.4, "Apache-2.0", "yihouxiang/EX-4D"),
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
    if missing := [part.name for part in PARTS if not is_there(part, root)]:
        raise InputError(
            f"Files of the EX-4D model are missing ({', '.join(missing)}): `ex4d models` says how to fetch them."
        )
    distilled = distilled_lora(root)
    notes = []
    if (root / RANDOM).exists():
        notes.append("Made with random weights, to try the machine: the pictures mean nothing.")
    return Files(
        dit=tuple(located(file, root) for file in VIDEO_MODEL.files),
        vae=located(VAE.files[0], root),
        image_encoder=located(IMAGE_ENCODER.files[0], root),
        adapter=located(EX4D.files[0], root),
        text_encoder=located(TEXT_ENCODER.files[0], root),
        tokenizer=located(TOKENIZER.files[0], root).parent,
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
    for package in ("torch", "safetensors"):
        if find_spec(package) is None:
            raise InputError(
                f"Converting needs the Python package {package}: install it with pip install '.[wan]' -c"
                " constraints.txt in a checkout."
            )
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


def folder() -> Path:
    """The folder of all models: `EX4D_MODELS`, or one in the cache."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return user_cache.folder("models")


def located(file: str, root: Path) -> Path:
    """Where a file lies; one that was converted to .safetensors stands in for one that is gone."""
    path = root / file
    other = path.with_suffix(".safetensors")
    return other if not path.is_file() and other.is_file() and path.suffix in {".pth", ".ckpt"} else path


def is_there(part: Part, root: Path) -> bool:
    """Whether all its files are there, whatever is in them."""
    return all(located(file, root).is_file() for file in part.files)


def state(part: Part, root: Path) -> str:
    """ "ready", "missing", how many files are missing, or what is wrong with one of them."""
    paths = [located(file, root) for file in part.files]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        return "missing" if len(missing) == len(paths) else f"{len(missing)} of {len(paths)} files missing"
    try:
        for path in paths:
            (check_table if path.suffix == ".json" else check_file)(path, part.name)
        if part.keys:
            _check_keys(part, paths)
        if part.name == "EX-4D adapter" and find_spec("torch") and find_spec("safetensors"):
            from ex4d.generate.wan.adapter import read_adapter

            read_adapter(paths[0])
    except InputError as error:
        return str(error)
    return "ready"


def fetch_commands(parts: list[Part], root: Path) -> list[str]:
    """Shell commands that fetch these parts, and nothing else, from their repositories."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        inside = [file.removeprefix(part.folder + "/") for file in part.files]
        wanted.setdefault((part.hub, part.folder), []).extend(inside)
    return [
        f'hf download {hub} {" ".join(files)} --local-dir "{root / folder}"' for (hub, folder), files in wanted.items()
    ]


def key_hash(shapes: dict[str, tuple[int, ...]]) -> str:
    """Hash of the names and shapes of tensors, as diffsynth makes it (core/loader/file.py, hash_model_file)."""
    words = [f"{name}:{'_'.join(map(str, shape))}" for name, shape in shapes.items()]
    return hashlib.md5(",".join(sorted([*words, *shapes])).encode(), usedforsecurity=False).hexdigest()


def _check_keys(part: Part, paths: list[Path]) -> None:
    """Raise InputError unless the files together hold the tensors of the published model, by name and shape."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        if path.suffix == ".safetensors":
            found |= header(path, part.name)
        elif find_spec("torch"):
            from ex4d.weights.tensors import read_tensors

            found |= {name: tuple(tensor.shape) for name, tensor in read_tensors(path, part.name).items()}
        else:
            return  # what is in a file of torch's is only known to torch
    if key_hash(found) != part.keys:
        files = f"all {len(paths)} files" if len(paths) > 1 else paths[0].name
        raise InputError(
            f"The {part.name} in {paths[0].parent} is another model: its {len(found)} tensors do not have the names and"
            f" shapes of {BASE}'s; fetch {files} anew."
        )
