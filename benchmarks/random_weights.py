"""Random weights of a model, full size, real names: `python benchmarks/random_weights.py DIR --model vace`.

They show speed and size, not quality: results are noise, and are marked as such. In bfloat16: 48 GB for the EX-4D model
(the published video model has 66 GB, in float32), 16 GB for VACE 1.3B, 46 GB for 14B.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from ex4d.generate.diffsynth.library import library
from ex4d.generate.vace.model_files import LARGE, SMALL, Model
from ex4d.generate.wan import model_files
from ex4d.generate.wan.adapter import ModelShape
from ex4d.generate.wan.camera_encoder import CameraEncoder
from ex4d.weights import store

VACE = {model.name: model for model in (SMALL, LARGE)}

WORDS = ("4K", "ultra", "HD", "surround", "motion", "wide", "angle", "view", "static", "blurred", "details")


def shapes(model: str = "wan") -> dict[store.Part, dict[str, tuple[int, ...]]]:
    """Names and shapes of all tensors of each part of a generator, taken from the model classes themselves."""
    return shapes_of_vace(VACE[model]) if model in VACE else shapes_of_wan()


def shapes_of_vace(model: Model) -> dict[store.Part, dict[str, tuple[int, ...]]]:
    """Shapes for VACE in one of its sizes; the control blocks are in the video model's file."""
    pipelines, (count, controls) = library().wan_video, model.blocks
    block = {"dim": model.dim, "ffn_dim": model.ffn_dim, "num_heads": model.dim // 128, "eps": 1e-6}
    block["has_image_input"] = False
    with torch.device("meta"):
        dit = pipelines.WanModel(
            **{"in_dim": 16, "out_dim": 16, "text_dim": 4096, "freq_dim": 256, "patch_size": (1, 2, 2)},
            **block,
            num_layers=count,
        )
        vace = pipelines.VaceWanModel(vace_layers=tuple(range(0, count, count // controls)), vace_in_dim=96, **block)
        models = {
            model.video_model: (dit, vace),
            model.shared.vae: (pipelines.WanVideoVAE(),),
            model.shared.text_encoder: (pipelines.WanTextEncoder(),),
        }
    return {
        part: {name.removeprefix("model."): tuple(t.shape) for m in each for name, t in m.state_dict().items()}
        for part, each in models.items()
    }


def shapes_of_wan() -> dict[store.Part, dict[str, tuple[int, ...]]]:
    """Shapes for the EX-4D model."""
    pipelines = library().wan_video
    with torch.device("meta"):
        video = pipelines.WanModel(
            **{"dim": 5120, "in_dim": 36, "ffn_dim": 13824, "out_dim": 16, "text_dim": 4096, "freq_dim": 256},
            **{"eps": 1e-6, "patch_size": (1, 2, 2), "num_heads": 40, "num_layers": 40, "has_image_input": True},
        )
        models = {
            model_files.VIDEO_MODEL: video,
            model_files.VAE: pipelines.WanVideoVAE(),
            model_files.IMAGE_ENCODER: pipelines.WanImageEncoder(),
            model_files.TEXT_ENCODER: pipelines.WanTextEncoder(),
        }
        found = {
            part: {name.removeprefix("model."): tuple(t.shape) for name, t in model.state_dict().items()}
            for part, model in models.items()
        }
        found[model_files.IMAGE_ENCODER] |= _unused_text_model()
        adapter = {name: tuple(t.shape) for name, t in CameraEncoder().state_dict().items()}
    for name, (outputs, inputs) in ModelShape().lora_modules().items():
        adapter[f"{name}.lora_A.default.weight"] = (16, inputs)
        adapter[f"{name}.lora_B.default.weight"] = (outputs, 16)
    found[model_files.EX4D] = adapter
    return found


def _unused_text_model() -> dict[str, tuple[int, ...]]:
    """Shapes of the XLM-RoBERTa that is in the image encoder's file and is not loaded."""
    d = 1024
    sizes: dict[str, tuple[int, ...]] = {"token_embedding.weight": (250002, d), "type_embedding.weight": (1, d)}
    sizes |= {"pos_embedding.weight": (514, d), "norm.weight": (d,), "norm.bias": (d,)}
    sizes |= {"head.0.weight": (d, d), "head.2.weight": (d, d)}
    for n in range(24):
        for layer, (outputs, inputs) in {
            **{f"attn.{name}": (d, d) for name in "qkvo"},
            "ffn.0": (4 * d, d),
            "ffn.2": (d, 4 * d),
        }.items():
            sizes |= {f"blocks.{n}.{layer}.weight": (outputs, inputs), f"blocks.{n}.{layer}.bias": (outputs,)}
        for norm in ("norm1", "norm2"):
            sizes |= {f"blocks.{n}.{norm}.weight": (d,), f"blocks.{n}.{norm}.bias": (d,)}
    return {f"textual.{name}": size for name, size in sizes.items()}


def weights(sizes: dict[str, tuple[int, ...]], dtype: torch.dtype, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors that keep activations of order one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(seed)
    for name, size in sizes.items():
        tensor = torch.zeros(size, dtype=torch.float32, device=device)
        if name.endswith(".gamma") or "norm_" in name or (len(size) == 1 and name.endswith("weight")):
            tensor += 1
        elif len(size) > 1:
            inputs = size[-1:] if "modulation" in name or len(size) == 2 else size[1:]
            tensor.normal_(0, torch.Size(inputs).numel() ** -0.5, generator=generator)
            if ".lora_B." in name:
                tensor *= 0.1
        yield name, tensor.to(dtype).cpu()


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for all models, to be used as EX4D_MODELS.")],
    model: Annotated[str, typer.Option("--model", help=f"Model: wan, {', '.join(VACE)}.")] = "wan",
) -> None:
    """Write all missing files."""
    for number, (part, sizes) in enumerate(shapes(model).items()):
        if store.is_there(part, folder):
            continue
        if part.keys:
            assert store.key_hash(sizes) == part.keys, f"{part.name} does not have the published names"
        dtype = torch.float32 if part == model_files.EX4D else torch.bfloat16
        names = list(sizes)
        step = -(-len(names) // len(part.files))
        for n, file in enumerate(part.files):
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            chosen = {name: sizes[name] for name in names[n * step : (n + 1) * step]}
            tensors = dict(weights(chosen, dtype, 100 * number + n))
            save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
            print(f"{path.stat().st_size / 1e9:6.2f} GB {file}", flush=True)
    tokenizer = VACE[model].shared.tokenizer if model in VACE else model_files.TOKENIZER
    if not store.is_there(tokenizer, folder):
        write_tokenizer((folder / tokenizer.files[0]).parent)
    (folder / store.RANDOM).touch()


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer that knows a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    ).save_pretrained(folder)


if __name__ == "__main__":
    typer.run(main)
