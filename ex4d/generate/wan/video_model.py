"""Wan2.1-I2V-14B with EX-4D's adapter, run by diffsynth: the one module that knows that library.

diffsynth is used as it is: its models, their files, its schedule, and its function for one prediction. The camera
latent is added by a forward hook on the model's patch embedding; the blocks are run by
`ex4d.generate.runtime.offload`; and the loop over the steps is ours, so that it can tell where it stands and stop
between two steps.
"""

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
from ex4d.generate.base import Generated
from ex4d.generate.runtime import blocks, latent_pictures, offload, sampling
from ex4d.generate.runtime.resume import Checkpoint
from ex4d.generate.wan.adapter import Adapter, ModelShape, read_adapter
from ex4d.generate.wan.camera_encoder import LATENT_CHANNELS, CameraEncoder
from ex4d.generate.wan.model_files import Files
from ex4d.generate.wan.preparation import MULTIPLE, STRIDE, Prepared
from ex4d.generate.wan.settings import NEGATIVE_PROMPT, PROMPT
from ex4d.progress import Progress, silent
from ex4d.torchvision_for_cpu import import_torchvision
from ex4d.weights.headers import check_file, check_table
from ex4d.weights.tensors import read_tensors

Precision = Literal["reference", "fast"]
"""`reference` computes as the release does: products in bfloat16, everything between them in float32. `fast` keeps the
weights of the blocks in 8 bits, half the memory, and makes their products in 8 bits where the GPU can."""

IMAGE_TOKENS = 257
"""The first tokens of the context are those of the picture, the others those of the text."""

ADVICE = "take a lower quality or a smaller model size"
"""How the model takes less memory."""

KEPT_EVERY = 5
"""After so many steps the latents are kept, so that an interrupted job can go on."""


@dataclass(frozen=True)
class Settings:
    """How the model is run; the defaults are the release's.

    Attributes:
        steps: of sampling.
        guidance: how far to go from the negative prompt's prediction towards, and past, the prompt's; 1 saves half.
        guided: part of the steps, from the first, that is guided.
        reuse: how much a prediction may be expected to change and not be computed; 0 computes all (`StepCache`).
        shift: of the flow-matching schedule towards noise.
        prompt: what is wanted.
        negative_prompt: what is not.
    """

    steps: int = 25
    guidance: float = 5.0
    guided: float = 1.0
    reuse: float = 0.0
    shift: float = 5.0
    prompt: str = PROMPT
    negative_prompt: str = NEGATIVE_PROMPT


@dataclass(frozen=True)
class Models:
    """What is loaded.

    Attributes:
        pipe: diffsynth's pipeline; the blocks of its video model are `OffloadedBlocks`, with the LoRA in them.
        encoder: the camera encoder.
        precision: of the products.
        dtype: of the weights outside of the blocks.
        layout: where the blocks lie.
        notes: sentences for the user.
    """

    pipe: Any
    encoder: CameraEncoder
    precision: Precision
    dtype: torch.dtype
    layout: offload.Plan
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return torch.device(self.pipe.device)

    def enough_beside(self, rest: int) -> bool:
        """Whether so many bytes are free on the GPU beside what is loaded, and what streamed blocks take again."""
        slots = offload.SLOTS * self.pipe.dit.blocks.slot_bytes
        return self.device.type != "cuda" or offload.free_bytes(self.device) >= rest + slots


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
            import_torchvision()
            from diffsynth.core import ModelConfig
            from diffsynth.pipelines import wan_video
            from diffsynth.utils.lora import GeneralLoRALoader
        except ModuleNotFoundError as error:
            raise InputError(
                f"The EX-4D model needs the Python package {error.name}: install it with pip install '.[wan]' -c"
                " constraints.txt in a checkout."
            ) from error
    return SimpleNamespace(ModelConfig=ModelConfig, wan_video=wan_video, GeneralLoRALoader=GeneralLoRALoader)


# -- loading ----------------------------------------------------------------------------------------


def load(
    files: Files,
    precision: Precision = "reference",
    device: str = "cuda",
    hidden: int = 1024,
    rest: int = 0,
    distilled: bool = False,
    progress: Progress = silent,
) -> Models:
    """Load all models but the text encoder, put the LoRA into the video model, and set up the precision.

    Args:
        files: where they lie.
        precision: how it is to be computed.
        device: where.
        hidden: width of the camera encoder.
        rest: bytes that must stay free on the GPU for everything but the video model's blocks.
        distilled: also put the user's step-distilled LoRA into the video model.
        progress: told after each block of the video model; raises `Cancelled` to stop.

    Raises:
        InputError: a file is missing or is not what it should be, or diffsynth is not installed.
    """
    for path in (*files.dit, files.vae, files.image_encoder):
        check_file(path, "model file")
    progress("Loading the model", 0, 1)
    small = _pipeline(files, {"vae": files.vae, "image_encoder": files.image_encoder}, device)
    # The whole model may pass through the GPU where it fits there; block by block otherwise.
    whole = sum(path.stat().st_size for path in files.dit)
    roomy = device != "cpu" and offload.free_bytes(torch.device(device)) > whole + rest
    small.dit = _pipeline(files, {"dit": files.dit}, device if roomy else "cpu").dit
    adapter = read_adapter(files.adapter, shape_of(small.dit), hidden)
    loras = [adapter.lora_layers()]
    notes = files.notes
    if distilled and files.distilled is not None:
        more, said = read_distilled(files.distilled, small.dit)
        loras.append(more)
        notes += said
    return assemble(small, adapter, precision, loras, rest, notes, progress)


def _pipeline(files: Files, parts: dict[str, Any], device: str) -> Any:
    """diffsynth's pipeline with some of its models."""
    lib = library()
    configs = [
        lib.ModelConfig(path=[str(p) for p in path] if isinstance(path, tuple) and len(path) > 1 else _only(path))
        for path in parts.values()
    ]
    tokenizer = files.tokenizer if "text_encoder" in parts else None
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
            " `ex4d models` says which are needed."
        ) from error
    if missing := [name for name in parts if getattr(pipe, name) is None]:
        raise InputError(
            f"Among the model files is no {missing[0]} that diffsynth knows: one of them is of another model; `ex4d"
            " models` says which are needed."
        )
    return pipe


def _only(path: Path | tuple[Path, ...]) -> str:
    return str(path[0] if isinstance(path, tuple) else path)


def assemble(
    pipe: Any,
    adapter: Adapter,
    precision: Precision,
    loras: list[blocks.Lora] | None = None,
    rest: int = 0,
    notes: tuple[str, ...] = (),
    progress: Progress = silent,
) -> Models:
    """Make one generator of diffsynth's pipeline and EX-4D's adapter; the pipeline is changed.

    Args:
        pipe: with its models.
        adapter: EX-4D's.
        precision: how it is to be computed.
        loras: for the video model, by the names of its layers; default: the adapter's.
        rest: bytes that must stay free on the GPU for everything but the video model's blocks.
        notes: sentences for the user.
        progress: told after each block; raises `Cancelled` to stop.

    Raises:
        InputError: the adapter does not fit the pipeline's model, or the GPU is too small.
    """
    device, dit = torch.device(pipe.device), pipe.dit
    weight = adapter.encoder["latent_patch_embedding.weight"]
    encoder = CameraEncoder(weight.shape[0], weight.shape[1])
    encoder.load_state_dict(adapter.encoder)
    encoder.to(device=device, dtype=torch.float32)
    pipe.torch_dtype = torch.float32  # of what is between the products; the weights stay as they were loaded
    pipe.eval().requires_grad_(False)

    stacked, dtype = dit.blocks, dit.patch_embedding.weight.dtype
    loras = [adapter.lora_layers()] if loras is None else loras
    for name, (a, b) in ((name, ab) for lora in loras for name, ab in lora.items()):
        layer = dit.get_submodule(name)  # each must be there
        if not name.startswith("blocks."):
            layer.weight.data = blocks.merged(layer.weight, a, b)
    size = sum(p.numel() for p in stacked[0].parameters()) * (1 if precision == "fast" else dtype.itemsize)
    layout = offload.Plan(len(stacked))
    if device.type == "cuda":
        others = [p.nbytes for name, p in dit.named_parameters() if not name.startswith("blocks.") and not p.is_cuda]
        taken = sum(p.nbytes for p in stacked.parameters() if p.is_cuda)  # what is loaded there is let go again
        layout = offload.plan(offload.free_bytes(device) + taken - sum(others), size, len(stacked), rest, ADVICE)
    run, why_slow = blocks.runner(device, dit.dim // stacked[0].num_heads, IMAGE_TOKENS)

    def gathered() -> Iterator[blocks.BlockWeights]:
        for number in range(len(stacked)):
            start = f"blocks.{number}."
            own = [{n.removeprefix(start): ab for n, ab in lora.items() if n.startswith(start)} for lora in loras]
            weights = blocks.gather(stacked[number].to(device), own, precision == "fast")
            stacked[number] = nn.Identity()
            progress("Loading the model", number + 1, len(stacked))
            yield weights

    del dit.blocks
    dit.blocks = offload.OffloadedBlocks(gathered(), layout, device, run)
    dit.to(device)
    if dtype != torch.float32:
        _keep_in_float32(dit)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what gathering left is in pieces of other sizes than sampling needs
    if precision == "fast" and not blocks.native_8bit(device):
        notes += ("This device cannot multiply in 8 bits: weights are kept so, which saves memory but no time.",)
    notes += tuple(note for note in (layout.says, why_slow) if note)
    return Models(pipe, encoder.eval().requires_grad_(False), precision, dtype, layout, notes)


def shape_of(dit: Any) -> ModelShape:
    """The sizes that the adapter has to fit; of a model as it was loaded."""
    return ModelShape(dit.dim, dit.blocks[0].ffn_dim, len(dit.blocks))


def read_distilled(path: Path, dit: Any) -> tuple[blocks.Lora, tuple[str, ...]]:
    """A LoRA of somebody else for the video model as it was loaded, and what to tell the user about it.

    Raises:
        InputError: damaged, or it has layers that the model does not have.
    """
    tensors = read_tensors(path, "distilled LoRA")

    def wrong(where: str = "") -> InputError:
        return InputError(
            f"The distilled LoRA {path} does not fit Wan2.1-I2V-14B{where}: take one that was made for it, or remove"
            " the file."
        )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it scales by alpha, as the file wants it
            named = library().GeneralLoRALoader().convert_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError, AttributeError) as error:  # such as one matrix of a pair is missing
        raise wrong() from error
    layers = {name.removesuffix(".lora_A.weight") for name in named if name.endswith(".lora_A.weight")}
    sizes = {name: layer.weight.shape for name, layer in dit.named_modules() if isinstance(layer, nn.Linear)}
    for name in sorted(layers):
        a, b = named[f"{name}.lora_A.weight"], named.get(f"{name}.lora_B.weight")
        if a.ndim != 2 or b is None or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise wrong(f" (layer {name})")
        if (b.shape[0], a.shape[1]) != sizes.get(name):
            raise wrong(f" (layer {name})")
    if not layers:
        raise InputError(f"The distilled LoRA {path} has no layer that EX-4D knows: take another file, or remove it.")
    unused = len(tensors) - sum(".lora_" in name or name.endswith(".alpha") for name in tensors)
    note = f"The distilled LoRA {path.name} changes {len(layers)} layers" + (
        f"; {unused} of its tensors are no LoRA and were left out." if unused else "."
    )
    return {n: (named[f"{n}.lora_A.weight"], named[f"{n}.lora_B.weight"]) for n in layers}, (note,)


def _keep_in_float32(dit: Any) -> None:
    """Let the layers that the release computes in float32 do so even where everything around is bfloat16."""
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


# -- running ----------------------------------------------------------------------------------------


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
def embed_prompts(files: Files, texts: tuple[str, str], device: str) -> Prompts:
    """Both prompts through the text encoder, which is loaded for this and let go again.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    if files.text_encoder is None or files.tokenizer is None:
        raise InputError("The text encoder or its tokenizer is not there; `ex4d models` says how to fetch them.")
    check_file(files.text_encoder, "model file")
    for path in files.tokenizer.glob("*.json"):
        check_table(path, "tokenizer file")
    pipe = _pipeline(files, {"text_encoder": files.text_encoder}, device)
    unit = library().wan_video.WanVideoUnit_PromptEmbedder()
    positive, negative = (unit.encode_prompt(pipe, text) for text in texts)
    return Prompts(positive, negative)


@torch.no_grad()
def generate(
    models: Models,
    prepared: Prepared,
    prompts: Prompts,
    seed: int = 0,
    settings: Settings | None = None,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
) -> Generated:
    """Make the video. The same seed gives the same bytes on the same machine.

    Args:
        models: from `load`.
        prepared: T = 4k+1 frames with sides of multiples of 16.
        prompts: embedded.
        seed: of the noise, which is drawn on the CPU so that the GPU does not matter.
        settings: how the model is run; default: as released.
        progress: told after each step; raises `Cancelled` to stop.
        checkpoint: where latents are kept every few steps, and gone on from.

    Returns:
        `prepared.frames` frames of the prepared size.

    Raises:
        InputError: the sizes are none that the model can take.
    """
    settings = settings or Settings()
    pipe = models.pipe
    count, _, height, width = prepared.colour.shape
    if count % STRIDE != 1 or height % MULTIPLE or width % MULTIPLE:
        raise InputError(
            f"The model takes 4k+1 frames with sides of multiples of 16, not {count} of {width}x{height}: prepare them"
            " with ex4d.generate.wan.preparation."
        )
    if settings.steps < 1:
        raise InputError(f"Sampling takes at least one step, not {settings.steps}.")
    inputs = _encode(models, prepared, progress)
    latents, asked = _sample(models, inputs, prompts, seed, settings, progress, checkpoint)
    progress("Decoding", 0, 1)
    pipe.dit.blocks.make_room()
    frames = _decode(pipe, latents)[: prepared.frames]
    progress("Decoding", 1, 1)
    facts = {**asdict(settings), "precision": models.precision, "predictions": asked}
    return Generated(frames, facts, (*prepared.notes, *models.notes))


@dataclass(frozen=True)
class _Inputs:
    """What conditions every step, and how to show latents.

    Attributes:
        y: the image latent (1,20,T',H',W').
        clip_feature: the image feature.
        camera: the camera latent.
        colours: see `latent_pictures`.
    """

    y: Tensor
    clip_feature: Tensor
    camera: Tensor
    colours: Tensor


def _encode(models: Models, prepared: Prepared, progress: Progress) -> _Inputs:
    pipe, stage = models.pipe, "Encoding pictures"
    progress(stage, 0, 4)
    pipe.dit.blocks.make_room()
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
    y = torch.cat([known, image], dim=1).float()
    picture = prepared.first[None].to(device=pipe.device, dtype=_dtype(pipe.image_encoder))
    feature = pipe.image_encoder.encode_image([picture.clone()]).float()
    camera = models.encoder(colour.float(), mask.float())
    colours = latent_pictures.fit(colour, prepared.colour, STRIDE)
    progress(stage, 4, 4)
    return _Inputs(y, feature, camera, colours)


def _sample(
    models: Models,
    inputs: _Inputs,
    prompts: Prompts,
    seed: int,
    settings: Settings,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> tuple[Tensor, int]:
    """Latents (1,16,T',H',W') of the finished video, and how many predictions that took."""
    pipe, stage = models.pipe, "Sampling"
    run = library().wan_video.model_fn_wan_video
    pipe.scheduler.set_timesteps(settings.steps, denoising_strength=1.0, shift=settings.shift)
    schedule = sampling.Schedule(
        sigmas=(*(float(sigma) for sigma in pipe.scheduler.sigmas), 0.0),
        times=pipe.scheduler.timesteps,
        guidance=settings.guidance,
        guided=round(settings.guided * settings.steps),
        reuse=settings.reuse,
    )
    shape = (1, LATENT_CHANNELS, *inputs.y.shape[2:])
    if settings.reuse:
        checkpoint = None  # which predictions are left out depends on all steps before
    kept = checkpoint.read() if checkpoint else {}
    first, before = (int(kept["step"]), int(kept["predictions"])) if kept else (0, 0)
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
    latents = kept["latents"] if kept else noise
    contexts = [context.to(models.device, torch.float32) for context in (prompts.positive, prompts.negative)]

    def guess(latents: Tensor, time: Tensor, prompt: int) -> Tensor:
        return run(
            dit=pipe.dit,
            latents=latents,
            timestep=time[None].to(models.device, torch.float32),
            context=contexts[prompt],
            clip_feature=inputs.clip_feature,
            y=inputs.y,
        ).float()

    def after(step: int, latents: Tensor, finished: Tensor, asked: int) -> None:
        if checkpoint and step % KEPT_EVERY == 0 and step < settings.steps:
            checkpoint.keep(latents=latents, step=torch.tensor(step), predictions=torch.tensor(before + asked))
        progress(stage, step, settings.steps, latent_pictures.picture(finished, inputs.colours))

    progress(stage, first, settings.steps)
    with camera_latent(pipe.dit, inputs.camera), _autocast(models), _attention(models.device):
        result, asked = sampling.sample(guess, latents.to(models.device), schedule, after, first)
    if checkpoint:
        checkpoint.forget()
    return result, before + asked


def _decode(pipe: Any, latents: Tensor) -> NDArray[np.uint8]:
    """Frames (T,H,W,3) of latents."""
    video = pipe.vae.decode(latents.to(_dtype(pipe.vae)), device=pipe.device, tiled=False)
    pictures = ((video[0].float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    return pictures.permute(1, 2, 3, 0).cpu().numpy()


def _latents(pipe: Any, video: Tensor) -> Tensor:
    """(1,16,T',H',W') of a video (T,3,H,W)."""
    frames = video.transpose(0, 1).to(dtype=_dtype(pipe.vae))
    return pipe.vae.encode([frames], device=pipe.device, tiled=False)


def _autocast(models: Models) -> AbstractContextManager[Any]:
    """Products in bfloat16 where the weights are; nothing to do where all is one dtype."""
    if models.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(models.device.type, dtype=models.dtype)


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """The fastest attention kernel that the GPU has."""
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fastest_first = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    return sdpa_kernel([*fastest_first, SDPBackend.MATH], set_priority=True)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
