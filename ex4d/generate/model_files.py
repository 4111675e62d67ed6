"""The files of the EX-4D model: where each is expected, whether it is whole, and where to fetch it. Needs no torch."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ex4d.errors import InputError
from ex4d.generate.weight_files import check_file, header

VARIABLE = "EX4D_MODELS"
"""Environment variable that names the folder of all models."""

BASE, ADAPTER = "Wan2.1-I2V-14B-480P", "EX-4D"


@dataclass(frozen=True)
class Part:
    """One model.

    Attributes:
        name: for people.
        files: below the folder of all models.
        gigabytes: to fetch, about.
        licence: of the weights.
        hub: the repository on Hugging Face that has it.
    """

    name: str
    files: tuple[str, ...]
    gigabytes: float
    licence: str
    hub: str

    @property
    def folder(self) -> str:
        """Where the whole repository goes, below the folder of all models."""
        return self.files[0].partition("/")[0]


_WAN = ("Apache-2.0", "Wan-AI/Wan2.1-I2V-14B-480P")
PARTS = (
    Part(
        "video model",
        tuple(f"{BASE}/diffusion_pytorch_model-{n:05d}-of-00007.safetensors" for n in range(1, 8)),
        66,
        *_WAN,
    ),
    Part("text encoder", (f"{BASE}/models_t5_umt5-xxl-enc-bf16.pth",), 11.4, *_WAN),
    Part("tokenizer", (f"{BASE}/google/umt5-xxl/tokenizer.json",), 0.02, *_WAN),
    Part("image encoder", (f"{BASE}/models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",), 4.8, *_WAN),
    Part("VAE", (f"{BASE}/Wan2.1_VAE.pth",), 0.5, *_WAN),
    Part("EX-4D adapter", (f"{ADAPTER}/ex4d.ckpt",), 0.4, "Apache-2.0", "yihouxiang/EX-4D"),
)
"""Everything that the model needs."""


def folder() -> Path:
    """The folder of all models: `EX4D_MODELS`, or one in the user's cache."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("ex4d", appauthor=False) / "models"


def located(file: str, root: Path) -> Path:
    """Where a file lies; one that was converted to .safetensors stands in for it."""
    path = root / file
    converted = path.with_suffix(".safetensors")
    return converted if converted.is_file() and path.suffix in {".pth", ".ckpt"} else path


def state(part: Part, root: Path) -> str:
    """ "ready", "missing", how many files are missing, or what is wrong with one of them."""
    paths = [located(file, root) for file in part.files]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        return "missing" if len(missing) == len(paths) else f"{len(missing)} of {len(paths)} files missing"
    try:
        for path in paths:
            if path.suffix != ".json":
                check_file(path, part.name)
        if part.name == "video model":
            _check_video_model(paths)
        if part.name == "EX-4D adapter" and find_spec("torch") and find_spec("safetensors"):
            from ex4d.generate.checkpoint import read_adapter

            read_adapter(paths[0])
    except InputError as error:
        return str(error)
    return "ready"


def fetch_commands(parts: list[Part], root: Path) -> list[str]:
    """Shell commands that fetch the repositories of these parts."""
    wanted = dict.fromkeys((part.hub, root / part.folder) for part in parts)
    return [f'hf download {hub} --local-dir "{place}"' for hub, place in wanted]


def _check_video_model(paths: list[Path]) -> None:
    """Raise InputError unless the files together are the image-to-video model with 14B parameters."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        found |= header(path, "video model")
    expected = {"patch_embedding.weight": (5120, 36, 1, 2, 2), "head.head.weight": (64, 5120)}
    for block in range(40):
        expected[f"blocks.{block}.self_attn.q.weight"] = (5120, 5120)
        expected[f"blocks.{block}.cross_attn.k_img.weight"] = (5120, 5120)
        expected[f"blocks.{block}.ffn.0.weight"] = (13824, 5120)
    for name, shape in expected.items():
        if found.get(name) != shape:
            what = f"has {name} of the shape {found[name]} instead of {shape}" if name in found else f"lacks {name}"
            raise InputError(f"The video model in {paths[0].parent} {what}: fetch {BASE} anew, all seven files.")
