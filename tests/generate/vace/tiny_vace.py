"""VACE's real model classes with few channels and random weights."""

from pathlib import Path

import torch
from family import TEXT, prompts, text_encoder, tokenizer, vae  # noqa: F401 - for modules that import this one
from safetensors.torch import save_file

from ex4d.generate.diffsynth.library import library
from ex4d.generate.vace.model_files import SMALL

BLOCK = {"dim": 96, "ffn_dim": 256, "num_heads": 4, "eps": 1e-6, "has_image_input": False}
LAYERS, CONTROLLED = 4, (0, 2)


def dit():
    return library().wan_video.WanModel(
        **{"in_dim": 16, "out_dim": 16, "text_dim": TEXT, "freq_dim": 256, "patch_size": (1, 2, 2)},
        **BLOCK,
        num_layers=LAYERS,
    )


def vace():
    return library().wan_video.VaceWanModel(vace_layers=CONTROLLED, vace_in_dim=96, **BLOCK)


def pipeline(seed=0):
    """diffsynth's pipeline without a text encoder, float32 on the CPU."""
    torch.manual_seed(seed)
    pipe = library().wan_video.WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    pipe.dit, pipe.vace, pipe.vae = dit(), vace(), vae()
    return pipe.requires_grad_(False)


def tree(root):
    """Write a folder of tiny models with the real layout; return how diffsynth recognises them."""
    from diffsynth.core.loader.file import hash_model_file

    torch.manual_seed(0)
    of_dit, of_vace = "wan_video_dit.WanVideoDiTStateDictConverter", "wan_video_vace.VaceWanModelDictConverter"
    files = {
        SMALL.video_model: (
            dit().state_dict() | vace().state_dict(),
            {"wan_video_dit": (dit, of_dit), "wan_video_vace": (vace, of_vace)},
        ),
        SMALL.shared.vae: (vae().state_dict(), {"wan_video_vae": (vae, "")}),
        SMALL.shared.text_encoder: (text_encoder().state_dict(), {"wan_video_text_encoder": (text_encoder, "")}),
    }
    known = []
    for part, (tensors, models) in files.items():
        place = root / part.files[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
        save_file(tensors, place) if place.suffix == ".safetensors" else torch.save(tensors, place)
        for name, (make, converter) in models.items():
            config = {"model_hash": hash_model_file(str(place)), "model_name": name}
            config["model_class"] = f"tiny_vace.{make.__name__}"
            if converter:
                config["state_dict_converter"] = f"diffsynth.utils.state_dict_converters.{converter}"
            known.append(config)
    tokenizer(Path(root / SMALL.shared.tokenizer.files[0]).parent)
    return known
