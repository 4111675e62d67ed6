"""DepthCrafter (arXiv 2409.02095): the depth that EX-4D's release was made with, for research only.

A diffusion model that generates the disparity of a video, built from the Stable Video Diffusion parts of diffusers.
Settings and windows are the release's (DepthCrafter's pipeline, EX-4D's recon.py).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ex4d.depth.estimators.depthcrafter import EXTRA, TERMS
from ex4d.errors import InputError
from ex4d.extras import extra_to_install
from ex4d.progress import Progress, silent
from ex4d.storage.atomic import check_there
from ex4d.torchvision_for_cpu import import_torchvision
from ex4d.weights.headers import header, readable

UNET, BASE = "DepthCrafter", "stable-video-diffusion-img2vid-xt"
"""Subfolders of the folder of all models, with the published repositories of these names."""

STEPS, SEED = 5, 42
WINDOW, OVERLAP = 110, 25
CHUNK = 8
"""Number of frames encoded or decoded at once."""

LONGEST_SIDE, MULTIPLE = 1024, 64
NOISE = 0.02
"""Strength of the noise added to the frames that the model sees."""

_FPS, _MOTION = 7, 127
_CLIP_SIDE = 224
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_CONFIG_LIMIT = 1 << 16
_POSITIONS = "vision_model.embeddings.position_ids"


@dataclass(frozen=True)
class Models:
    """The model's parts, on one device and of one dtype, from diffusers; the image encoder is from transformers."""

    unet: Any
    vae: Any
    image_encoder: Any
    scheduler: Any


def disparity(
    frames: NDArray[np.uint8],
    weights: Path,
    device: str = "cpu",
    *,
    accept_licence: bool,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Estimate the relative disparity of a clip, normalised once for the whole clip.

    Args:
        frames: (T,H,W,3) uint8.
        weights: the folder of all models.
        device: a torch device; at 1024x576 a GPU with about 24 GB.
        accept_licence: the user has read `TERMS` and keeps to them.
        progress: called after each step.

    Returns:
        (T,H,W) float32, 0 (farthest) to 1 (nearest); `ex4d.depth.alignment` maps it to distances.

    Raises:
        InputError: the licence is not accepted, diffusers is missing, or a file is missing or bad.
    """
    if not accept_licence:
        raise InputError(f"{TERMS}: accept this first, or choose another estimator.")
    return painted(frames, load(weights, device), progress)


def working_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which the release works: multiples of 64, the longest side at most 1024."""
    sides = [round(side / MULTIPLE) * MULTIPLE for side in (height, width)]
    if max(sides) > LONGEST_SIDE:
        scale = LONGEST_SIDE / max(height, width)
        sides = [round(side * scale / MULTIPLE) * MULTIPLE for side in (height, width)]
    return max(sides[0], MULTIPLE), max(sides[1], MULTIPLE)


def painted(frames: NDArray[np.uint8], models: Models, progress: Progress = silent) -> NDArray[np.float32]:
    """Like `disparity`, with models that are already loaded.

    Raises:
        InputError: the model sees no depth in the clip.
    """
    import cv2

    height, width = frames.shape[1:3]
    size = working_size(height, width)
    # Drawn on the CPU, so that a seed means the same on every machine.
    generator = torch.Generator().manual_seed(SEED)
    with torch.inference_mode():
        embeddings, conditions = _encoded(frames, size, models, generator, progress)
        latents = _denoised(embeddings, conditions, models, generator, progress)
        small = np.concatenate(list(_decoded(latents, models, progress)))
    low, high = small.min(), small.max()
    if not low < high:
        raise InputError("DepthCrafter sees no depth in this clip: choose another estimator.")
    small = (small - low) / (high - low)
    if size == (height, width):
        return small
    result = np.empty(frames.shape[:3], np.float32)
    for frame, into in zip(small, result, strict=True):
        cv2.resize(frame, (width, height), dst=into, interpolation=cv2.INTER_LINEAR)
    return result


def _encoded(
    frames: NDArray[np.uint8], size: tuple[int, int], models: Models, generator: torch.Generator, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Condition the model on each frame: embeddings (T,C) and latents (T,4,h/8,w/8)."""
    import cv2

    kind, device = models.unet.dtype, models.unet.device
    # In half precision this VAE's encoder overflows. (Its own `to` warns about something that is fine here.)
    nn.Module.to(models.vae, torch.float32 if models.vae.config.force_upcast else kind)
    embeddings, latents = [], []
    for start in range(0, len(frames), CHUNK):
        chunk = np.stack([cv2.resize(f, size[::-1], interpolation=cv2.INTER_LINEAR) for f in frames[start:][:CHUNK]])
        pictures = torch.from_numpy(chunk).permute(0, 3, 1, 2).float() / 255 * 2 - 1
        noise = torch.randn(pictures.shape, generator=generator)
        pictures, noise = pictures.to(device, kind), noise.to(device, kind)
        embeddings.append(models.image_encoder(_for_clip(pictures).to(kind)).image_embeds)
        noisy = (pictures + NOISE * noise).to(models.vae.dtype)
        latents.append(models.vae.encode(noisy).latent_dist.mode().to(kind))
        progress("DepthCrafter: encoding", min(start + CHUNK, len(frames)), len(frames))
    nn.Module.to(models.vae, kind)
    return torch.cat(embeddings), torch.cat(latents)


def _denoised(
    embeddings: Tensor, conditions: Tensor, models: Models, generator: torch.Generator, progress: Progress
) -> Tensor:
    """Denoise the latents of the disparity (T,4,h/8,w/8) by windows; each starts from the end of the one before."""
    scheduler, kind, device = models.scheduler, models.unet.dtype, models.unet.device
    count = len(conditions)
    window, overlap = (WINDOW, OVERLAP) if count > WINDOW else (count, 0)
    stride = window - overlap
    noise = torch.randn((window, *conditions.shape[1:]), generator=generator).to(device, kind)
    rising = torch.linspace(0, 1, overlap, device=device)[:, None, None, None]
    time_ids = torch.tensor([[_FPS, _MOTION, NOISE]], dtype=kind, device=device)
    starts = range(0, count - overlap, stride)
    done: Tensor | None = None
    for number, start in enumerate(starts):
        stop = min(start + window, count)
        scheduler.set_timesteps(STEPS, device=device)
        latents = noise[: stop - start] * scheduler.init_noise_sigma
        if done is not None:
            latents[:overlap] = done[-overlap:] + noise[:overlap] * scheduler.sigmas[0]
        noise = noise.roll(overlap, 0)
        with _seeing(models.unet, embeddings[start:stop]) as unet:
            for step, time in enumerate(scheduler.timesteps):
                shown = torch.cat([scheduler.scale_model_input(latents, time), conditions[start:stop]], 1)
                predicted = unet(shown[None].to(kind), time, time_ids)
                latents = scheduler.step(predicted[0], time, latents).prev_sample
                progress("DepthCrafter: denoising", number * STEPS + step + 1, len(starts) * STEPS)
        if done is None:
            done = latents
        else:
            blended = latents[:overlap] * rising + done[-overlap:] * (1 - rising)
            done = torch.cat([done[:-overlap], blended.to(kind), latents[overlap:]])
    assert done is not None
    return done


def _decoded(latents: Tensor, models: Models, progress: Progress) -> Iterator[NDArray[np.float32]]:
    """Decode disparity (n,h,w) in [0, 1], a few frames at a time, as the mean of the three channels."""
    for start in range(0, len(latents), CHUNK):
        chunk = latents[start : start + CHUNK] / models.vae.config.scaling_factor
        pictures = models.vae.decode(chunk, num_frames=len(chunk)).sample.float()
        yield (pictures / 2 + 0.5).clamp(0, 1).mean(1).cpu().numpy()
        progress("DepthCrafter: decoding", min(start + CHUNK, len(latents)), len(latents))


class _seeing:  # noqa: N801 - used as a statement
    """The UNet with a separate embedding for every frame, although diffusers' UNet takes one for the whole clip."""

    def __init__(self, unet: Any, embeddings: Tensor) -> None:
        self.unet, self.embeddings = unet, embeddings[:, None]

    def __enter__(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        blocks = (*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks)
        self.hooks = [block.register_forward_pre_hook(self._replace, with_kwargs=True) for block in blocks]
        return self._predict

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _replace(self, _: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        if "encoder_hidden_states" in named:
            named = named | {"encoder_hidden_states": self.embeddings}
        return arguments, named

    def _predict(self, sample: Tensor, time: Tensor, time_ids: Tensor) -> Tensor:
        return self.unet(sample, time, self.embeddings[:1], time_ids, return_dict=False)[0]


def _for_clip(pictures: Tensor) -> Tensor:
    """Prepare pictures (n,3,H,W) in [-1, 1] for CLIP: blurred against aliasing, 224x224, normalised; float32.

    The blur is that of Stable Video Diffusion in diffusers, which the weights were trained with.
    """
    pictures = pictures.float()
    for axis in (3, 2):
        sigma = max((pictures.shape[axis] / _CLIP_SIDE - 1) / 2, 0.001)
        reach = int(max(4 * sigma, 3)) // 2
        weights = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma**2)).to(pictures)
        kernel = (weights / weights.sum()).view(1, 1, 1, -1).expand(3, -1, -1, -1)
        kernel, padding = (kernel, (reach, reach, 0, 0)) if axis == 3 else (kernel.mT, (0, 0, reach, reach))
        pictures = functional.conv2d(functional.pad(pictures, padding, mode="reflect"), kernel, groups=3)
    pictures = functional.interpolate(pictures, (_CLIP_SIDE, _CLIP_SIDE), mode="bicubic", align_corners=True)
    mean, std = (torch.tensor(values).to(pictures)[:, None, None] for values in (_CLIP_MEAN, _CLIP_STD))
    return ((pictures + 1) / 2 - mean) / std


# --- files ---


def load(weights: Path, device: str = "cpu") -> Models:
    """Load the parts from the folder of all models, in half precision on a GPU.

    Raises:
        InputError: diffusers is missing, or a file is missing, damaged, or of another model.
    """
    import_torchvision()
    try:
        from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    except ImportError as error:
        raise InputError(
            f"DepthCrafter needs the Python packages diffusers and transformers ({error}): {extra_to_install(EXTRA)}."
        ) from None
    kind = torch.float16 if torch.device(device).type == "cuda" else torch.float32

    def model(make: Callable[[dict[str, Any]], Any], folder: str, names: Sequence[str], what: str) -> Any:
        loaded = _strictly(make, Path(weights) / folder / "config.json", Path(weights) / folder, names, what)
        return nn.Module.to(loaded.eval().requires_grad_(False), device, kind)

    scheduler = _config(Path(weights) / BASE / "scheduler" / "scheduler_config.json", "scheduler of DepthCrafter")
    diffusers_file = "diffusion_pytorch_model"
    return Models(
        model(UNetSpatioTemporalConditionModel.from_config, UNET, [diffusers_file], "UNet of DepthCrafter"),
        model(
            AutoencoderKLTemporalDecoder.from_config,
            f"{BASE}/vae",
            [f"{diffusers_file}.fp16", diffusers_file],
            "VAE of Stable Video Diffusion",
        ),
        model(
            lambda config: CLIPVisionModelWithProjection(CLIPVisionConfig(**config)),
            f"{BASE}/image_encoder",
            ["model.fp16", "model"],
            "image encoder of Stable Video Diffusion",
        ),
        EulerDiscreteScheduler.from_config(scheduler),
    )


def _strictly(
    make: Callable[[dict[str, Any]], Any], config: Path, folder: Path, names: Sequence[str], what: str
) -> Any:
    """Make the model that the config describes, with exactly the tensors of the first of `names` that exists."""
    from safetensors.torch import load_file

    paths = [folder / f"{name}.safetensors" for name in names]
    path = next((path for path in paths if path.is_file()), paths[0])
    found = header(path, what)
    values = _config(config, what)
    with readable(config, what), torch.device("meta"):
        model = make(values)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found.pop(_POSITIONS, None)  # written by older versions of transformers
    if found != expected:
        name = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise InputError(
            f"The {what} {path} has {name} {found.get(name, 'not')} where its config has it"
            f" {expected.get(name, 'not')}: it is another model; download it again."
        )
    tensors = load_file(path)
    tensors.pop(_POSITIONS, None)
    model.load_state_dict(tensors, assign=True)
    for owner, name in [(m, n) for m in model.modules() for n, b in m.named_buffers(recurse=False) if b.is_meta]:
        if name != "position_ids":
            raise InputError(f"The {what} {path} lacks {name}: another version of transformers is needed.")
        owner.position_ids = torch.arange(owner.num_positions)[None]
    return model


def _config(path: Path, what: str) -> dict[str, Any]:
    path = check_there(path, f"config of the {what}")
    with readable(path, what):
        if path.stat().st_size > _CONFIG_LIMIT:
            raise ValueError("it is too long for a config")
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is not a table")
        return values
