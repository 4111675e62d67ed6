"""The real model classes with few channels and random weights, and adapters that fit them."""

import math
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from family import TEXT, prompts, text_encoder, tokenizer, vae  # noqa: F401 - for modules that import this one
from safetensors.torch import load_file, save_file

from ex4d.generate.wan import model_files, video_model
from ex4d.generate.wan.adapter import ModelShape
from ex4d.generate.wan.camera_encoder import CameraEncoder

SHAPE = ModelShape(dim=96, ffn_dim=256, layers=2)
HIDDEN, RANK = 32, 4


def dit():
    return video_model.library().wan_video.WanModel(
        **{"dim": SHAPE.dim, "in_dim": 36, "ffn_dim": SHAPE.ffn_dim, "out_dim": 16, "text_dim": TEXT, "freq_dim": 256},
        **{"eps": 1e-6, "patch_size": (1, 2, 2), "num_heads": 4, "num_layers": SHAPE.layers, "has_image_input": True},
    )


def image_encoder():
    library = video_model.library().wan_video
    from diffsynth.models import wan_video_image_encoder

    small = partial(wan_video_image_encoder.clip_xlm_roberta_vit_h_14, vision_layers=2)
    with patch.object(wan_video_image_encoder, "clip_xlm_roberta_vit_h_14", small):
        return library.WanImageEncoder()


MODELS = {
    "wan_video_dit": dit,
    "wan_video_vae": vae,
    "wan_video_image_encoder": image_encoder,
    "wan_video_text_encoder": text_encoder,
}
"""How to make each model, by the names under which diffsynth looks for it."""


def pipeline(seed=0):
    """diffsynth's pipeline without a text encoder, float32 on the CPU."""
    torch.manual_seed(seed)
    pipe = video_model.library().wan_video.WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    pipe.dit, pipe.vae, pipe.image_encoder = dit(), vae(), image_encoder()
    return pipe.requires_grad_(False)


def files(folder):
    """Write files of all models in the real layout, the video model in two; return how diffsynth recognises them."""
    from diffsynth.core.loader.file import hash_model_file

    torch.manual_seed(0)
    paths, known = {}, []
    for name, make in MODELS.items():
        state = {key: tensor.to(torch.bfloat16) for key, tensor in make().state_dict().items()}
        if name == "wan_video_dit":
            paths[name] = [folder / f"{name}-{part}.safetensors" for part in (1, 2)]
            keys = list(state)
            for path, half in zip(paths[name], (keys[::2], keys[1::2]), strict=True):
                save_file({key: state[key] for key in half}, path)
        else:
            paths[name] = [folder / f"{name}.pth"]
            torch.save(state, paths[name][0])
        text = [str(path) for path in paths[name]]
        known.append(
            {
                "model_hash": hash_model_file(text if len(text) > 1 else text[0]),
                "model_name": name,
                "model_class": f"tiny.{make.__name__}",
            }
        )
    tokenizer(folder / "tokenizer")
    torch.save(adapter_tensors(), folder / "ex4d.ckpt")
    return video_model.Files(
        dit=tuple(paths["wan_video_dit"]),
        vae=paths["wan_video_vae"][0],
        image_encoder=paths["wan_video_image_encoder"][0],
        adapter=Path(folder / "ex4d.ckpt"),
        text_encoder=paths["wan_video_text_encoder"][0],
        tokenizer=folder / "tokenizer",
    ), known


def tree(root):
    """Write a folder of tiny models with the real layout; return how diffsynth recognises them."""
    made = root / "made"
    made.mkdir()
    there, known = files(made)
    state = {}
    for path in there.dit:
        state |= load_file(path)
    names = list(state)
    moves = {
        model_files.VAE: there.vae,
        model_files.IMAGE_ENCODER: there.image_encoder,
        model_files.TEXT_ENCODER: there.text_encoder,
        model_files.EX4D: there.adapter,
        model_files.TOKENIZER: there.tokenizer / "tokenizer.json",
    }
    for part, path in moves.items():
        place = root / part.files[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    for path in there.tokenizer.iterdir():
        path.rename((root / model_files.TOKENIZER.files[0]).parent / path.name)
    for n, file in enumerate(model_files.VIDEO_MODEL.files):
        save_file({name: state[name] for name in names[n::7]}, root / file)
    return known


def adapter_tensors(shape=SHAPE, hidden=HIDDEN, rank=RANK, seed=1):
    """Random weights by the names of the released file."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in CameraEncoder(shape.dim, hidden).state_dict().items():
        fan_in = math.prod(tensor.shape[1:]) or 1
        tensors[name] = torch.randn(tensor.shape, generator=generator) / fan_in**0.5
    for name, (outputs, inputs) in shape.lora_modules().items():
        tensors[f"{name}.lora_A.default.weight"] = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        tensors[f"{name}.lora_B.default.weight"] = torch.randn(outputs, rank, generator=generator) / rank**0.5
    return tensors
