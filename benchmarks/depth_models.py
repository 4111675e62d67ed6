"""Time and memory of the depth models at full size: `python benchmarks/depth_models.py`.

EX4D_MODELS names a folder. Models that are missing there are created with random weights, under their published names
and at full size, which shows speed and size but not quality. The clip has 49 frames of 1024x576.
"""

import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from ex4d.depth import registry
from ex4d.depth.estimators import depthcrafter, moge, video_depth_anything
from ex4d.depth.estimators import depthcrafter_network as depthcrafter_net
from ex4d.depth.estimators import moge_network as moge_net
from ex4d.depth.estimators import video_depth_anything_network as vda
from ex4d.depth.scaling import key_frames
from ex4d.geometry.intrinsics import fit_frame
from ex4d.media.clip import Clip
from ex4d.torchvision_for_cpu import import_torchvision
from ex4d.weights import store

FRAMES, WIDTH, HEIGHT = 49, 1024, 576

WIDTHS = [1024, 256, 128, 64, 32]
RESAMPLED = {
    **{"res_block_in_norm": "none", "res_block_hidden_norm": "none"},
    "resamplers": ["conv_transpose", "conv_transpose", "conv_transpose", "bilinear"],
}
HEAD = {"dim_in": WIDTHS, "dim_res_blocks": WIDTHS, "num_res_blocks": [0, 1, 1, 1, 0], **RESAMPLED}
MOGE_VITL = {
    "encoder": {"backbone": "dinov2_vitl14", "intermediate_layers": [5, 11, 17, 23], "dim_out": 1024},
    "neck": {
        **{"dim_in": [1026, 2, 2, 2, 2], "dim_res_blocks": WIDTHS, "dim_out": None},
        **{"num_res_blocks": [0, 2, 2, 2, 0], **RESAMPLED},
    },
    "points_head": {**HEAD, "dim_out": [None, None, None, None, 3]},
    "mask_head": {**HEAD, "dim_out": [None, None, None, None, 1]},
    "scale_head": {"dims": [1024, 1024, 1024, 1]},
    **{"remap_output": "exp", "num_tokens_range": [1200, 3600]},
}
"""`model_config` of the published file."""

UNET = {
    **{"in_channels": 8, "out_channels": 4, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2},
    "down_block_types": [*["CrossAttnDownBlockSpatioTemporal"] * 3, "DownBlockSpatioTemporal"],
    "up_block_types": ["UpBlockSpatioTemporal", *["CrossAttnUpBlockSpatioTemporal"] * 3],
    **{"addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 768, "cross_attention_dim": 1024},
    **{"num_attention_heads": [5, 10, 20, 20], "transformer_layers_per_block": 1},
}
VAE = {
    **{"block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4},
    **{"layers_per_block": 2, "latent_channels": 4, "scaling_factor": 0.18215, "force_upcast": True},
}
IMAGE_ENCODER = {
    **{"hidden_size": 1280, "projection_dim": 1024, "intermediate_size": 5120, "num_hidden_layers": 32},
    **{"num_attention_heads": 16, "image_size": 224, "patch_size": 14, "hidden_act": "gelu"},
}
SCHEDULER = {
    **{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000},
    **{"prediction_type": "v_prediction", "sigma_max": 700.0, "sigma_min": 0.002, "steps_offset": 1},
    **{"timestep_spacing": "leading", "timestep_type": "continuous", "use_karras_sigmas": True},
}


def main(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Model: video, moge or depthcrafter; repeatable. Default: all.")
    ] = None,
) -> None:
    """Print a line for each model, cold and warm."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(torch.cuda.get_device_name() if device == "cuda" else "CPU", f"torch {torch.__version__}", flush=True)
    clip = moving_picture()
    root = store.folder()
    wanted = set(only or ("video", "moge", "depthcrafter"))
    if "video" in wanted:
        made_random(video_depth_anything.PART, random_video)
        path = store.located(video_depth_anything.PART.files[0], root)
        measure("Video-Depth-Anything small", lambda: np.stack(list(vda.disparity(clip.frames, path, device))))
    if "moge" in wanted:
        made_random(moge.PARTS[0], random_moge)
        path = store.located(moge.PARTS[0].files[0], root)
        numbers = key_frames(FRAMES)
        measure(
            f"MoGe-2 vitl, {len(numbers)} key frames",
            lambda: moge_net.field_of_view_and_scale(clip.frames[numbers], path, device).depth,
        )
    if "depthcrafter" in wanted:
        made_random(depthcrafter.UNET, random_depthcrafter)
        measure(
            "DepthCrafter, 5 steps",
            lambda: depthcrafter_net.disparity(clip.frames, root, device, accept_licence=True),
        )
    if wanted >= {"video", "moge"}:
        made = registry.estimate("video-depth-anything", clip, again=True)
        print(f"the whole way: depth {made.depth.depth.shape}; {' '.join(made.depth.notes)}")


def moving_picture() -> Clip:
    """A smooth picture that drifts, as a clip."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / 64
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for t in range(FRAMES):
        waves = [np.sin(columns * a + rows * b + t / 9) for a, b in ((1, 0.3), (0.4, 1.1), (0.9, 0.8))]
        frames[t] = (np.stack(waves, -1) * 100 + 128).astype(np.uint8)
    return Clip(frames, Fraction(24), "moving.mp4", 0, fit_frame(WIDTH, HEIGHT))


def measure(name: str, run: Callable[[], NDArray[np.float32]]) -> None:
    """Run twice, loading each time, and print a line about both."""
    seconds = []
    for _ in range(2):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        start = time.monotonic()
        found = run()
        seconds.append(time.monotonic() - start)
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else float("nan")
    finite = f"{np.isfinite(found).mean():.0%} of values finite"
    print(f"{name:28} {seconds[0]:6.2f} s, again {seconds[1]:6.2f} s; peak {peak:.2f} GB; {finite}", flush=True)


# -- random weights ---------------------------------------------------------------------------------


def made_random(part: store.Part, write: Callable[[Path], None]) -> None:
    """Write random files if a part is missing."""
    root = store.folder()
    if store.state(part, root) == "missing":
        write(root)
        (root / store.RANDOM).touch()
    if (state := store.state(part, root)) != "ready":
        raise typer.BadParameter(f"{part.name}: {state}")


def random_video(root: Path) -> None:
    """Write a Video-Depth-Anything whose disparity is not zero everywhere."""
    torch.manual_seed(0)
    model = vda.VideoDepthAnything(vda.SMALL)
    with torch.no_grad():
        model.head.scratch.output_conv2[2].bias += 2
    _save({name: tensor for name, tensor in model.state_dict().items()}, root / video_depth_anything.PART.files[0])


def random_moge(root: Path) -> None:
    """Write MoGe-2 with the largest image encoder."""
    torch.manual_seed(0)
    state = moge_net.MoGe(moge_net.Shape.from_config(MOGE_VITL)).state_dict()
    state["encoder.image_mean"] = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    state["encoder.image_std"] = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    _save({"model_config": MOGE_VITL, "model": state}, root / moge.PARTS[0].files[0])


def random_depthcrafter(root: Path) -> None:
    """Write DepthCrafter's UNet, and VAE, image encoder and scheduler of Stable Video Diffusion, as float16."""
    import_torchvision()
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    base = root / depthcrafter_net.BASE
    for folder, config, make, name in (
        (root / depthcrafter_net.UNET, UNET, UNetSpatioTemporalConditionModel.from_config, "diffusion_pytorch_model"),
        (base / "vae", VAE, AutoencoderKLTemporalDecoder.from_config, "diffusion_pytorch_model.fp16"),
        (
            base / "image_encoder",
            IMAGE_ENCODER,
            lambda config: CLIPVisionModelWithProjection(CLIPVisionConfig(**config)),
            "model.fp16",
        ),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        state: dict[str, Tensor] = make(config).half().state_dict()
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / f"{name}.safetensors")
    (base / "scheduler").mkdir(parents=True, exist_ok=True)
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))


def _save(content: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


if __name__ == "__main__":
    typer.run(main)
