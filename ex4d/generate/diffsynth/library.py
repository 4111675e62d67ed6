"""diffsynth itself: importing it, loading its models, embedding prompts. The library is used unmodified."""

import warnings
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ex4d.errors import InputError
from ex4d.extras import Package, models_to_get
from ex4d.generate.diffsynth.files import Files
from ex4d.generate.diffsynth.parts import EXTRA
from ex4d.torchvision_for_cpu import import_torchvision
from ex4d.weights.headers import check_file, check_table


@dataclass(frozen=True)
class Prompts:
    """Embedded prompts, (1,512,text_dim) each."""

    positive: Tensor
    negative: Tensor


@cache
def library() -> SimpleNamespace:
    """The parts of diffsynth that are used. Importing it takes ten seconds, so it happens here and only once.

    Raises:
        InputError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from packages it imports; nobody here can act on them
        try:
            import_torchvision()
            from diffsynth.core import ModelConfig
            from diffsynth.models import wan_video_vae
            from diffsynth.pipelines import wan_video
            from diffsynth.utils.lora import GeneralLoRALoader
        except ModuleNotFoundError as error:
            raise InputError(
                f"Video models need the Python package {error.name}: {Package(error.name or '', EXTRA).install}."
            ) from error
    return SimpleNamespace(
        ModelConfig=ModelConfig, wan_video=wan_video, wan_video_vae=wan_video_vae, GeneralLoRALoader=GeneralLoRALoader
    )


def pipeline(parts: dict[str, Any], device: str, tokenizer: Path | None = None) -> Any:
    """Make a diffsynth pipeline with some of its models.

    Args:
        parts: the file, or files, of each model, by the pipeline's name for it.
        device: to load them to.
        tokenizer: its folder, if the text encoder is one of the models.

    Raises:
        InputError: diffsynth does not recognise a file.
    """
    lib = library()
    configs = [
        lib.ModelConfig(path=[str(p) for p in path] if isinstance(path, tuple) and len(path) > 1 else _only(path))
        for path in parts.values()
    ]
    try:
        with redirect_stdout(StringIO()):  # it prints what it loads
            pipe = lib.wan_video.WanVideoPipeline.from_pretrained(
                torch_dtype=torch.bfloat16,
                device=device,
                model_configs=configs,
                tokenizer_config=lib.ModelConfig(path=str(tokenizer)) if tokenizer else None,
                redirect_common_files=False,
            )
    except ValueError as error:
        if "Cannot detect the model type" not in str(error):
            raise
        paths = [path for part in parts.values() for path in (part if isinstance(part, tuple) else (part,))]
        file = next((path for path in paths if str(path) in str(error)), paths[0])
        raise InputError(
            f"diffsynth does not know the model in {file}: it is another model or not all of its files are there;"
            f" {models_to_get()}."
        ) from error
    if missing := [name for name in parts if getattr(pipe, name) is None]:
        raise InputError(
            f"None of the model files is a {missing[0]} that diffsynth knows: one of them is of another model;"
            f" {models_to_get()}."
        )
    return pipe


def _only(path: Path | tuple[Path, ...]) -> str:
    return str(path[0] if isinstance(path, tuple) else path)


def embed_prompts(files: Files, texts: tuple[str, str], device: str) -> Prompts:
    """Embed both prompts with the text encoder, which is loaded for this and released again.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    positive, negative = embed(files, texts, device)
    return Prompts(positive, negative)


@torch.no_grad()
def embed(files: Files, texts: Iterable[str], device: str) -> list[Tensor]:
    """Embed texts with the text encoder, (1,512,text_dim) each; it is loaded for this and released again.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    if files.text_encoder is None or files.tokenizer is None:
        raise InputError(f"The text encoder or its tokenizer is not there: {models_to_get()}.")
    check_file(files.text_encoder, "model file")
    for path in files.tokenizer.glob("*.json"):
        check_table(path, "tokenizer file")
    pipe = pipeline({"text_encoder": files.text_encoder}, device, files.tokenizer)
    unit = library().wan_video.WanVideoUnit_PromptEmbedder()
    return [unit.encode_prompt(pipe, text) for text in texts]
