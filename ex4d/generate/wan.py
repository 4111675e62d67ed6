"""Wan2.1-I2V-14B with EX-4D's adapter, run by diffsynth: the one module that knows that library.

diffsynth is used as it is. The camera latent is added by a forward hook on the model's patch embedding, and the loop
over the steps is ours, so that it can tell where it stands and stop between two steps.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ex4d.errors import InputError
from ex4d.generate import Generated
from ex4d.generate.camera_encoder import CameraEncoder
from ex4d.generate.checkpoint import Adapter, ModelShape, read_adapter
from ex4d.generate.preparation import MULTIPLE, Prepared
from ex4d.generate.weight_files import check_file
from ex4d.progress import Progress, silent

Precision = Literal["reference", "fast"]
"""`reference` computes as the release does: bfloat16 products, everything between them in float32. `fast` rounds
noise, time steps and everything in between to bfloat16 too, as diffsynth does by itself."""

PROMPT = "4K ultra HD, surround motion, realistic tone, panoramic shot, wide-angle view, cinematic quality"
NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall"
    " gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands,"
    " poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three"
    " legs, many people in the background, walking backwards"
)


@dataclass(frozen=True)
class Settings:
    """How the model is run; the defaults are the release's.

    Attributes:
        steps: of sampling.
        guidance: how far to go from the negative prompt's prediction towards, and past, the prompt's; 1 saves half.
        shift: of the flow-matching schedule towards noise.
        prompt: what is wanted.
        negative_prompt: what is not.
    """

    steps: int = 25
    guidance: float = 5.0
    shift: float = 5.0
    prompt: str = PROMPT
    negative_prompt: str = NEGATIVE_PROMPT


@dataclass(frozen=True)
class Files:
    """Where the weights lie; `text_encoder` and `tokenizer` are not needed where prompts come embedded."""

    dit: tuple[Path, ...]
    vae: Path
    image_encoder: Path
    adapter: Path
    text_encoder: Path | None = None
    tokenizer: Path | None = None


@dataclass(frozen=True)
class Models:
    """What is loaded: diffsynth's pipeline with the LoRA in it, and the camera encoder."""

    pipe: Any
    encoder: CameraEncoder
    precision: Precision


@dataclass(frozen=True)
class Prompts:
    """Embedded prompts, (1,512,text_dim) each."""

    positive: Tensor
    negative: Tensor


@cache
def library() -> SimpleNamespace:
    """The parts of diffsynth that are used; importing it takes ten seconds, so it happens here and only once.

    Raises:
        InputError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it imports; nobody here can act on them
        try:
            _import_torchvision()
            from diffsynth.core import ModelConfig
            from diffsynth.pipelines import wan_video
        except ModuleNotFoundError as error:
            raise InputError(
                f"The EX-4D model needs the Python package {error.name}: install it with pip install '.[wan]' -c"
                " constraints.txt in a checkout."
            ) from error
    return SimpleNamespace(ModelConfig=ModelConfig, wan_video=wan_video)


def _import_torchvision() -> None:
    """Import torchvision, which PyPI builds for CUDA, beside a torch for the CPU as well.

    That build cannot find its own operators then; only their declarations are missed, as nothing calls them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision._ex4d_declared = declared  # the declarations live as long as this object


def load(files: Files, precision: Precision = "reference", device: str = "cuda", hidden: int = 1024) -> Models:
    """Load all models, put the LoRA into the video model, and set up the precision.

    Args:
        files: where they lie.
        precision: how it is to be computed.
        device: where.
        hidden: width of the camera encoder.

    Raises:
        InputError: a file is missing or is not what it should be, or diffsynth is not installed.
    """
    lib = library()
    parts = [files.vae, files.image_encoder, *([files.text_encoder] if files.text_encoder else [])]
    for path in (*files.dit, *parts):
        check_file(path, "model file")
    configs = [[str(path) for path in files.dit] if len(files.dit) > 1 else str(files.dit[0]), *map(str, parts)]
    try:
        with redirect_stdout(StringIO()):  # it prints what it loads
            pipe = lib.wan_video.WanVideoPipeline.from_pretrained(
                torch_dtype=torch.bfloat16,
                device=device,
                model_configs=[lib.ModelConfig(path=path) for path in configs],
                tokenizer_config=lib.ModelConfig(path=str(files.tokenizer)) if files.tokenizer else None,
                redirect_common_files=False,
            )
    except ValueError as error:
        if "Cannot detect the model type" not in str(error):
            raise
        file = next((path for path in (*files.dit, *parts) if str(path) in str(error)), files.dit[0])
        raise InputError(
            f"diffsynth does not know the model in {file}: it is another model or not all of its files are there;"
            " `ex4d models` says which are needed."
        ) from error
    missing = [name for name in ("dit", "vae", "image_encoder") if getattr(pipe, name) is None]
    if missing:
        raise InputError(
            f"Among the model files is no {missing[0]} that diffsynth knows: one of them is of another model; `ex4d"
            " models` says which are needed."
        )
    return assemble(pipe, read_adapter(files.adapter, shape_of(pipe.dit), hidden), precision)


def assemble(pipe: Any, adapter: Adapter, precision: Precision) -> Models:
    """Make one generator of diffsynth's pipeline and EX-4D's adapter; the pipeline is changed.

    Raises:
        InputError: the adapter does not fit the pipeline's model.
    """
    weight = adapter.encoder["latent_patch_embedding.weight"]
    encoder = CameraEncoder(weight.shape[0], weight.shape[1])
    encoder.load_state_dict(adapter.encoder)
    encoder.to(device=pipe.device, dtype=torch.float32 if precision == "reference" else pipe.torch_dtype)
    if precision == "reference":
        pipe.torch_dtype = torch.float32  # of what is between the products; the weights stay as they were loaded
    add_lora(pipe, adapter)
    if precision == "reference":
        _keep_in_float32(pipe.dit)
    pipe.eval()
    return Models(pipe, encoder.eval().requires_grad_(False), precision)


def shape_of(dit: Any) -> ModelShape:
    """The sizes that the adapter has to fit."""
    return ModelShape(dit.dim, dit.blocks[0].ffn_dim, len(dit.blocks))


def add_lora(pipe: Any, adapter: Adapter) -> None:
    """Put the LoRA into the video model and make sure that every layer took it.

    diffsynth skips what it does not find, so each layer is asked whether it has changed.

    Raises:
        InputError: some layers did not take it.
    """
    layers = dict(pipe.dit.named_modules())
    before = {name: _state(layers[name]) for name in adapter.modules if name in layers}
    with redirect_stdout(StringIO()):
        pipe.load_lora(pipe.dit, state_dict=adapter.lora, alpha=1)  # alpha 16 over rank 16
    layers = dict(pipe.dit.named_modules())
    patched = [name for name, state in before.items() if _state(layers[name]) != state]
    if len(patched) != len(adapter.modules):
        left = next(name for name in adapter.modules if name not in patched)
        raise InputError(
            f"Only {len(patched)} of {len(adapter.modules)} layers took the adapter (not: {left}): this version of"
            " diffsynth names them differently; install one that constraints.txt names."
        )


def _state(layer: Any) -> tuple[int, int, int]:
    """Something that changes whenever a LoRA is merged into a layer's weight or hung beside it."""
    weight = getattr(layer, "weight", None)
    return id(weight), getattr(weight, "_version", 0), len(getattr(layer, "lora_A_weights", ()))


def _keep_in_float32(dit: Any) -> None:
    """Let the layers that the release computes in float32 do so even where everything around is bfloat16."""
    if dit.blocks[0].self_attn.q.weight.dtype == torch.float32:
        return
    for layer in (dit.time_embedding, dit.time_projection, dit.head.head):
        layer.float()
        layer.forward = _outside_autocast(layer.forward)
    for layer in dit.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.float()  # as autocast has it on a GPU; on the CPU it leaves them alone


def _outside_autocast(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def in_float32(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    return in_float32


@contextmanager
def camera_latent(dit: Any, latent: Tensor) -> Iterator[None]:
    """Within, `latent` (1,dim,T',h,w) is added to the tokens of every forward of `dit`, before its first block."""

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if output.shape[1:] != latent.shape[1:]:
            raise ValueError(f"the camera latent {tuple(latent.shape)} does not fit the tokens {tuple(output.shape)}")
        return output + latent

    handle = dit.patch_embedding.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def embed_prompts(pipe: Any, settings: Settings) -> Prompts:
    """Both prompts through the text encoder.

    Raises:
        InputError: the text encoder is not loaded.
    """
    if pipe.text_encoder is None or pipe.tokenizer is None:
        raise InputError("The text encoder is not loaded: give its file and the tokenizer's folder, or kept prompts.")
    pipe.load_models_to_device(("text_encoder",))
    unit = library().wan_video.WanVideoUnit_PromptEmbedder()
    positive, negative = (unit.encode_prompt(pipe, text) for text in (settings.prompt, settings.negative_prompt))
    return Prompts(positive, negative)


@torch.no_grad()
def generate(
    models: Models,
    prepared: Prepared,
    seed: int = 0,
    settings: Settings | None = None,
    prompts: Prompts | None = None,
    progress: Progress = silent,
) -> Generated:
    """Make the video. The same seed gives the same bytes on the same machine.

    Args:
        models: from `load`.
        prepared: T = 4k+1 frames with sides of multiples of 16.
        seed: of the noise, which is drawn on the CPU so that the GPU does not matter.
        settings: how the model is run; default: as released.
        prompts: embedded; None embeds those of the settings.
        progress: told after each step; raises `Cancelled` to stop.

    Returns:
        `prepared.frames` frames of the prepared size.

    Raises:
        InputError: the sizes are none that the model can take.
    """
    settings = settings or Settings()
    pipe = models.pipe
    count, _, height, width = prepared.colour.shape
    if count % 4 != 1 or height % MULTIPLE or width % MULTIPLE:
        raise InputError(
            f"The model takes 4k+1 frames with sides of multiples of 16, not {count} of {width}x{height}: prepare them"
            " with ex4d.generate.preparation."
        )
    if settings.steps < 1:
        raise InputError(f"Sampling takes at least one step, not {settings.steps}.")
    progress("Reading the prompt", 0, 1)
    prompts = prompts or embed_prompts(pipe, settings)
    progress("Reading the prompt", 1, 1)
    inputs = _encode(models, prepared, progress)
    latents = _sample(models, inputs, prompts, seed, settings, progress)
    progress("Decoding", 0, 1)
    frames = _decode(pipe, latents)[: prepared.frames]
    progress("Decoding", 1, 1)
    facts = {**asdict(settings), "precision": models.precision}
    return Generated(frames, "wan", seed, facts, prepared.notes)


@dataclass(frozen=True)
class _Inputs:
    """What conditions every step: the image latent (1,20,T',H',W'), the image feature, the camera latent."""

    y: Tensor
    clip_feature: Tensor
    camera: Tensor


def _encode(models: Models, prepared: Prepared, progress: Progress) -> _Inputs:
    pipe, stage = models.pipe, "Encoding pictures"
    progress(stage, 0, 4)
    pipe.load_models_to_device(("vae",))
    first = torch.zeros_like(prepared.colour)
    first[0] = prepared.first
    colour = _latents(pipe, prepared.colour)
    progress(stage, 1, 4)
    mask = _latents(pipe, prepared.mask[:, None].expand(-1, 3, -1, -1))
    progress(stage, 2, 4)
    image = _latents(pipe, first)
    progress(stage, 3, 4)
    known = torch.zeros(1, 4, *image.shape[2:], dtype=image.dtype, device=image.device)
    known[:, :, 0] = 1  # the first latent frame is the given picture, all the others are to be made
    y = torch.cat([known, image], dim=1).to(pipe.torch_dtype)
    pipe.load_models_to_device(("image_encoder",))
    picture = prepared.first[None].to(device=pipe.device, dtype=_dtype(pipe.image_encoder))
    feature = pipe.image_encoder.encode_image([picture.clone()]).to(pipe.torch_dtype)
    camera = models.encoder(colour, mask).to(pipe.torch_dtype)
    progress(stage, 4, 4)
    return _Inputs(y, feature, camera)


def _sample(
    models: Models, inputs: _Inputs, prompts: Prompts, seed: int, settings: Settings, progress: Progress
) -> Tensor:
    """Latents (1,16,T',H',W') of the finished video."""
    pipe, stage = models.pipe, "Sampling"
    run = library().wan_video.model_fn_wan_video
    pipe.scheduler.set_timesteps(settings.steps, denoising_strength=1.0, shift=settings.shift)
    shape = (1, 16, *inputs.y.shape[2:])
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
    latents = noise.to(device=pipe.device, dtype=pipe.torch_dtype)
    contexts = [prompts.positive] if settings.guidance == 1 else [prompts.positive, prompts.negative]
    contexts = [context.to(device=pipe.device, dtype=pipe.torch_dtype) for context in contexts]

    pipe.load_models_to_device(("dit",))
    progress(stage, 0, settings.steps)
    for step, time in enumerate(pipe.scheduler.timesteps):
        with camera_latent(pipe.dit, inputs.camera), _autocast(models):
            guesses = [
                run(
                    dit=pipe.dit,
                    latents=latents,
                    timestep=time[None].to(device=pipe.device, dtype=pipe.torch_dtype),
                    context=context,
                    clip_feature=inputs.clip_feature,
                    y=inputs.y,
                )
                for context in contexts
            ]
        guess = guesses[0] if len(guesses) == 1 else guesses[1] + settings.guidance * (guesses[0] - guesses[1])
        latents = pipe.scheduler.step(guess, time, latents)
        progress(stage, step + 1, settings.steps)
    return latents


def _decode(pipe: Any, latents: Tensor) -> NDArray[np.uint8]:
    """Frames (T,H,W,3) of latents."""
    pipe.load_models_to_device(("vae",))
    video = pipe.vae.decode(latents.to(_dtype(pipe.vae)), device=pipe.device, tiled=False)
    pipe.load_models_to_device(())
    pictures = ((video[0].float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    return pictures.permute(1, 2, 3, 0).cpu().numpy()


def _latents(pipe: Any, video: Tensor) -> Tensor:
    """(1,16,T',H',W') of a video (T,3,H,W)."""
    frames = video.transpose(0, 1).to(dtype=_dtype(pipe.vae))
    return pipe.vae.encode([frames], device=pipe.device, tiled=False)


def _autocast(models: Models) -> AbstractContextManager[Any]:
    """Products in bfloat16 where the weights are; nothing to do where all is one dtype."""
    dtype = _dtype(models.pipe.dit.blocks)
    if models.precision == "fast" or dtype == torch.float32:
        return nullcontext()
    return torch.autocast(torch.device(models.pipe.device).type, dtype=dtype)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
