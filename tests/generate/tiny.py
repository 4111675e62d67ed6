"""The real model classes with few channels and random weights, and adapters that fit them."""

import math
from functools import partial
from unittest.mock import patch

import torch

from ex4d.generate import wan
from ex4d.generate.camera_encoder import CameraEncoder
from ex4d.generate.checkpoint import ModelShape

SHAPE = ModelShape(dim=96, ffn_dim=256, layers=2)
HIDDEN, RANK, TEXT = 32, 4, 64


def pipeline(seed=0):
    """diffsynth's pipeline without a text encoder, float32 on the CPU."""
    library = wan.library().wan_video
    from diffsynth.models import wan_video_image_encoder, wan_video_vae

    torch.manual_seed(seed)
    pipe = library.WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    pipe.dit = library.WanModel(
        **{"dim": SHAPE.dim, "in_dim": 36, "ffn_dim": SHAPE.ffn_dim, "out_dim": 16, "text_dim": TEXT, "freq_dim": 256},
        **{"eps": 1e-6, "patch_size": (1, 2, 2), "num_heads": 4, "num_layers": SHAPE.layers, "has_image_input": True},
    )
    small_vae = partial(wan_video_vae.VideoVAE_, dim=16)
    with patch.object(wan_video_vae, "VideoVAE_", small_vae):
        pipe.vae = library.WanVideoVAE()
    small_clip = partial(wan_video_image_encoder.clip_xlm_roberta_vit_h_14, vision_layers=2)
    with patch.object(wan_video_image_encoder, "clip_xlm_roberta_vit_h_14", small_clip):
        pipe.image_encoder = library.WanImageEncoder()
    return pipe.requires_grad_(False)


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


def prompts(seed=2):
    generator = torch.Generator().manual_seed(seed)
    return wan.Prompts(*(torch.randn(1, 512, TEXT, generator=generator) for _ in range(2)))
