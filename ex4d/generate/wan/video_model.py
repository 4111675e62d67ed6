"""Wan2.1-I2V-14B with EX-4D's adapter: loading, and the conditioning of its predictions.

A forward hook on the model's patch embedding adds the camera latent; everything else is as in
`ex4d.generate.diffsynth.video_model`.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ex4d.errors import InputError
from ex4d.generate.base import Generated
from ex4d.generate.diffsynth import video_model as common
from ex4d.generate.diffsynth.library import Prompts, library, pipeline
from ex4d.generate.diffsynth.pictures import STRIDE
from ex4d.generate.diffsynth.quality import NEGATIVE_PROMPT
from ex4d.generate.diffsynth.video_model import LATENT_CHANNELS, Placed, Precision, dtype_of, encode
from ex4d.generate.runtime import blocks, latent_pictures, offload
from ex4d.generate.runtime.resume import Checkpoint
from ex4d.generate.wan import hold
from ex4d.generate.wan.adapter import Adapter, ModelShape, read_adapter
from ex4d.generate.wan.camera_encoder import CameraEncoder, camera_latent
from ex4d.generate.wan.model_files import Files
from ex4d.generate.wan.preparation import Prepared
from ex4d.generate.wan.settings import PROMPT
from ex4d.progress import LOADING, Progress, silent
from ex4d.weights.headers import check_file
from ex4d.weights.tensors import read_tensors

IMAGE_TOKENS = 257
"""Number of tokens, from the first, of the context that are the picture's; the others are the text's."""


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    """How the model is run; the defaults are the release's.

    Attributes:
        hold: whether what is real is held; see `ex4d.generate.wan.hold`.
    """

    steps: int = 25
    hold: bool = False
    prompt: str = PROMPT
    negative_prompt: str = NEGATIVE_PROMPT


@dataclass(frozen=True, kw_only=True)
class Models(common.Models):
    """What is loaded; the LoRA is in the blocks.

    Attributes:
        encoder: the camera encoder.
    """

    encoder: CameraEncoder


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
    """Load all models except the text encoder, merge the LoRA into the video model, and set up the precision.

    Args:
        files: where the weights are.
        precision: of the computation.
        device: the device that computes.
        hidden: width of the camera encoder.
        rest: bytes that must stay free on the GPU for everything except the video model's blocks.
        distilled: whether to merge the user's step-distilled LoRA into the video model too.
        progress: called after each block of the video model; raises `Cancelled` to stop.

    Raises:
        InputError: a file is missing or is not what it should be, or diffsynth is not installed.
    """
    for path in (*files.dit, files.vae, files.image_encoder):
        check_file(path, "model file")
    progress(LOADING, 0, 1)
    small = pipeline({"vae": files.vae, "image_encoder": files.image_encoder}, device)
    # The whole model may pass through the GPU if it fits there; otherwise block by block.
    whole = sum(path.stat().st_size for path in files.dit)
    roomy = device != "cpu" and offload.free_bytes(torch.device(device)) > whole + rest
    small.dit = pipeline({"dit": files.dit}, device if roomy else "cpu").dit
    adapter = read_adapter(files.adapter, shape_of(small.dit), hidden)
    loras = [adapter.lora_layers()]
    notes = files.notes
    if distilled and files.distilled is not None:
        more, said = read_distilled(files.distilled, small.dit)
        loras.append(more)
        notes += said
    return assemble(small, adapter, precision, loras, rest, notes, progress)


def assemble(
    pipe: Any,
    adapter: Adapter,
    precision: Precision,
    loras: list[blocks.Lora] | None = None,
    rest: int = 0,
    notes: tuple[str, ...] = (),
    progress: Progress = silent,
) -> Models:
    """Combine diffsynth's pipeline and EX-4D's adapter into a generator; the pipeline is changed.

    Args:
        pipe: with its models.
        adapter: EX-4D's.
        precision: of the computation.
        loras: for the video model, by the names of its layers; None is the adapter's.
        rest: bytes that must stay free on the GPU for everything except the video model's blocks.
        notes: sentences for the user.
        progress: called after each block; raises `Cancelled` to stop.

    Raises:
        InputError: the adapter does not fit the pipeline's model, or the GPU is too small.
    """
    device, dit = torch.device(pipe.device), pipe.dit
    weight = adapter.encoder["latent_patch_embedding.weight"]
    encoder = CameraEncoder(weight.shape[0], weight.shape[1])
    encoder.load_state_dict(adapter.encoder)
    encoder.to(device=device, dtype=torch.float32)
    pipe.torch_dtype = torch.float32  # between the products; the weights stay as they were loaded
    pipe.eval().requires_grad_(False)

    stacked, heads, dtype = dit.blocks, dit.blocks[0].num_heads, dit.patch_embedding.weight.dtype
    loras = [adapter.lora_layers()] if loras is None else loras
    for name, (a, b) in ((name, ab) for lora in loras for name, ab in lora.items()):
        layer = dit.get_submodule(name)  # raises if it does not exist
        if not name.startswith("blocks."):
            layer.weight.data = blocks.merged(layer.weight, a, b)

    def own(number: int) -> tuple[blocks.Lora, ...]:
        start = f"blocks.{number}."
        return tuple({n.removeprefix(start): ab for n, ab in lora.items() if n.startswith(start)} for lora in loras)

    stack = [Placed(stacked, number, own(number)) for number in range(len(stacked))]
    placed, said = common.place(stack, [dit], precision, device, dtype, rest, IMAGE_TOKENS, progress)
    del dit.blocks
    dit.blocks = placed
    common.settle(pipe, [dit], dtype)
    return Models(
        pipe=pipe,
        encoder=encoder.eval().requires_grad_(False),
        precision=precision,
        dtype=dtype,
        layout=placed.layout,
        heads=heads,
        notes=notes + said,
    )


def shape_of(dit: Any) -> ModelShape:
    """The sizes that the adapter has to fit, from a model as it was loaded."""
    return ModelShape(dit.dim, dit.blocks[0].ffn_dim, len(dit.blocks))


def read_distilled(path: Path, dit: Any) -> tuple[blocks.Lora, tuple[str, ...]]:
    """Read a third-party LoRA for the video model as it was loaded, with notes for the user.

    Raises:
        InputError: damaged, or it has layers that the model does not have.
    """
    tensors = read_tensors(path, "distilled LoRA")

    def wrong(where: str = "") -> InputError:
        return InputError(
            f"The distilled LoRA {path} does not fit Wan2.1-I2V-14B{where}: use one that was made for it, or remove"
            " the file."
        )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it scales by alpha, as the file requires
            named = library().GeneralLoRALoader().convert_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError, AttributeError) as error:  # for example one matrix of a pair is missing
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
        raise InputError(f"The distilled LoRA {path} has no layer that EX-4D knows: use another file, or remove it.")
    unused = len(tensors) - sum(".lora_" in name or name.endswith(".alpha") for name in tensors)
    note = f"The distilled LoRA {path.name} changes {len(layers)} layers" + (
        f"; {unused} of its tensors are not part of a LoRA and were left out." if unused else "."
    )
    return {n: (named[f"{n}.lora_A.weight"], named[f"{n}.lora_B.weight"]) for n in layers}, (note,)


# -- running ----------------------------------------------------------------------------------------


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
        prepared: T = 4k+1 frames whose sides are multiples of 16.
        prompts: embedded.
        seed: of the noise, which is drawn on the CPU so that it does not depend on the GPU.
        settings: how the model is run; None is as released.
        progress: called after each step; raises `Cancelled` to stop.
        checkpoint: where latents are saved every few steps, and resumed from.

    Returns:
        `prepared.frames` frames of the prepared size.

    Raises:
        InputError: the model cannot take these sizes.
    """
    settings = settings or Settings()
    common.check(prepared, settings)
    inputs = _encode(models, prepared, progress)
    steer = _holding(models, prepared) if settings.hold else None
    latents, asked = _sample(models, inputs, prompts, seed, settings, progress, checkpoint, steer)
    return common.finish(models, prepared, latents, asked, settings, progress)


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
    colour = encode(pipe, prepared.colour)
    progress(stage, 1, 4)
    mask = encode(pipe, prepared.mask[:, None].expand(-1, 3, -1, -1))
    progress(stage, 2, 4)
    image = encode(pipe, first)
    progress(stage, 3, 4)
    known = torch.zeros(1, 4, *image.shape[2:], dtype=image.dtype, device=image.device)
    known[:, :, 0] = 1  # the first latent frame is the given picture; all others are to be generated
    y = torch.cat([known, image], dim=1).float()
    picture = prepared.first[None].to(device=pipe.device, dtype=dtype_of(pipe.image_encoder))
    feature = pipe.image_encoder.encode_image([picture.clone()]).float()
    camera = models.encoder(colour.float(), mask.float())
    colours = latent_pictures.fit(colour, prepared.colour, STRIDE)
    progress(stage, 4, 4)
    return _Inputs(y, feature, camera, colours)


def _holding(models: Models, prepared: Prepared) -> Callable[[Tensor, float], Tensor]:
    """Make the function that pulls latents back to the warped clip, see `hold`; costs one more encoding of the clip."""
    warped = encode(models.pipe, hold.filled(prepared.colour, prepared.mask)).float()
    count, height, width = warped.shape[2:]
    return hold.towards(warped, hold.known_cells(prepared.mask, (count, height, width)))


def _sample(
    models: Models,
    inputs: _Inputs,
    prompts: Prompts,
    seed: int,
    settings: common.Settings,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    steer: Callable[[Tensor, float], Tensor] | None = None,
) -> tuple[Tensor, int]:
    """Sample latents (1,16,T',H',W') of the finished video; also return the number of predictions computed."""
    start = common.noise((1, LATENT_CHANNELS, *inputs.y.shape[2:]), seed)
    with common.everywhere(models, lambda each: _predictor(each, inputs)) as (predict, *others):
        return common.sample(
            models, predict, start, prompts, inputs.colours, settings, progress, checkpoint, steer, others
        )


@contextmanager
def _predictor(models: common.Models, inputs: _Inputs) -> Iterator[common.Predict]:
    """Context that provides the prediction function on the device of these models."""
    run, dit, device = library().wan_video.model_fn_wan_video, models.pipe.dit, models.device
    fixed = {"clip_feature": inputs.clip_feature.to(device), "y": inputs.y.to(device)}

    def predict(latents: Tensor, time: Tensor, context: Tensor) -> Tensor:
        return run(dit=dit, latents=latents, timestep=time, context=context, **fixed)

    with camera_latent(dit, inputs.camera.to(device)):
        yield predict
