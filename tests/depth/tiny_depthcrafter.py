"""DepthCrafter's classes with few channels and random weights, and their files in the layout of the hub."""

import json

from ex4d.torchvision_for_cpu import import_torchvision

import_torchvision()

import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ex4d.depth.estimators import depthcrafter_network as depthcrafter

UNET = {
    **{"in_channels": 8, "out_channels": 4, "block_out_channels": [32, 64], "layers_per_block": 1},
    "down_block_types": ["CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"],
    "up_block_types": ["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"],
    **{"addition_time_embed_dim": 32, "projection_class_embeddings_input_dim": 96, "cross_attention_dim": 32},
    **{"num_attention_heads": [2, 4], "transformer_layers_per_block": 1},
}
VAE = {
    **{"block_out_channels": [32] * 4, "down_block_types": ["DownEncoderBlock2D"] * 4, "layers_per_block": 1},
    **{"latent_channels": 4, "scaling_factor": 0.18215, "force_upcast": True},
}
IMAGE_ENCODER = {
    **{"hidden_size": 32, "projection_dim": 32, "intermediate_size": 37, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "image_size": 224, "patch_size": 32},
}
SCHEDULER = {
    **{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000},
    **{"prediction_type": "v_prediction", "sigma_max": 700.0, "sigma_min": 0.002, "steps_offset": 1},
    **{"timestep_spacing": "leading", "timestep_type": "continuous", "use_karras_sigmas": True},
}


def models(seed=0):
    torch.manual_seed(seed)
    made = (
        UNetSpatioTemporalConditionModel.from_config(UNET),
        AutoencoderKLTemporalDecoder.from_config(VAE),
        CLIPVisionModelWithProjection(CLIPVisionConfig(**IMAGE_ENCODER)),
    )
    return depthcrafter.Models(*(model.eval() for model in made), EulerDiscreteScheduler.from_config(SCHEDULER))


def files(root):
    """Write the files of `models()` below the folder of all models."""
    made = models()
    base = root / depthcrafter.BASE
    for folder, config, model, name in (
        (root / depthcrafter.UNET, UNET, made.unet, "diffusion_pytorch_model"),
        (base / "vae", VAE, made.vae, "diffusion_pytorch_model.fp16"),
        (base / "image_encoder", IMAGE_ENCODER, made.image_encoder, "model.fp16"),
    ):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        save_file(
            {key: tensor.contiguous() for key, tensor in model.state_dict().items()}, folder / f"{name}.safetensors"
        )
    (base / "scheduler").mkdir()
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    return made
