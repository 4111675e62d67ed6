"""Wan2.1-VACE: loading, conditioning, and the hints that its control blocks give to the other blocks.

diffsynth computes the hints of all control blocks before the first block of the video model and holds them: 3 GB for 81
frames of 832x480. Here each hint is computed right before the block that uses it, so only one is held at a time, and
the blocks of both kinds are streamed in one pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ex4d.errors import InputError
from ex4d.generate.base import Generated
from ex4d.generate.diffsynth import video_model as common
from ex4d.generate.diffsynth.files import Files
from ex4d.generate.diffsynth.frame_by_frame import decode, encode
from ex4d.generate.diffsynth.library import Prompts, library, pipeline
from ex4d.generate.diffsynth.pictures import STRIDE
from ex4d.generate.diffsynth.quality import NEGATIVE_PROMPT
from ex4d.generate.diffsynth.video_model import Models, Placed, Precision
from ex4d.generate.runtime import latent_pictures, offload
from ex4d.generate.runtime.resume import Checkpoint
from ex4d.generate.runtime.sequence_parallel import Member
from ex4d.generate.vace.preparation import Prepared
from ex4d.progress import LOADING, Progress, silent
from ex4d.weights.headers import check_file

CELL = 8
"""Side in pixels of the cell that one latent pixel stands for; the mask's pixels in a cell are its channels."""


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    """How the model is run.

    Attributes:
        scale: factor for the hints.
    """

    steps: int = 50
    prompt: str = ""
    negative_prompt: str = NEGATIVE_PROMPT
    scale: float = 1.0


class ControlledBlocks:
    """The video model's blocks as it iterates over them, each with its hint.

    Args:
        placed: the blocks of both kinds, with a control block before the block that uses its hint.
        layers: numbers of the video model's blocks that use a hint; the first is 0.
        blocks: of the video model.
        control: the parts of the control model outside its blocks: `embed`, `before`, and `after` for each hint.
    """

    def __init__(
        self, placed: offload.OffloadedBlocks, layers: tuple[int, ...], blocks: int, control: nn.ModuleDict
    ) -> None:
        self._placed, self._layers, self._blocks, self._control = placed, layers, blocks, control
        self._tokens: Tensor | None = None
        self._scale = 1.0
        self.slot_bytes, self.make_room, self.release = placed.slot_bytes, placed.make_room, placed.release

    def __len__(self) -> int:
        return self._blocks

    @contextmanager
    def by(self, context: Tensor, scale: float) -> Iterator[None]:
        """Context in which every pass is controlled by `context` (1,96,T',H',W'), with hints multiplied by `scale`."""
        self._tokens, self._scale = self._control["embed"](context).flatten(2).transpose(1, 2), scale
        try:
            yield
        finally:
            self._tokens = None

    def __iter__(self) -> Iterator[Callable[..., Tensor]]:
        """Yield the blocks of one pass, from the first to the last; passes must not overlap."""
        if self._tokens is None:
            raise ValueError("no context controls the blocks")
        placed, control, tokens = iter(self._placed), self._control, self._tokens
        state = tokens

        def controlled(x: Tensor, context: Tensor, t_mod: Tensor, freqs: Tensor, *member: Member) -> Tensor:
            nonlocal state
            inputs = (context, t_mod, freqs, *member)
            if number == 0:
                x = x.float()  # as between all blocks; the product of the patch embedding may be in bfloat16
                own = member[0].own(tokens, 1) if member else tokens
                state = control["before"](own).float() + x
            state = next(placed)(state, *inputs)
            hint = control["after"][self._layers.index(number)](state)
            return next(placed)(x, *inputs) + hint * self._scale

        for number in range(self._blocks):
            yield controlled if number in self._layers else next(placed)


# -- loading ----------------------------------------------------------------------------------------


def load(
    files: Files,
    precision: Precision = "reference",
    device: str = "cuda",
    rest: int = 0,
    progress: Progress = silent,
) -> Models:
    """Load all models except the text encoder, and set up the precision.

    Args:
        files: where the weights are.
        precision: of the computation.
        device: the device that computes.
        rest: bytes that must stay free on the GPU for everything except weights.
        progress: called after each block; raises `Cancelled` to stop.

    Raises:
        InputError: a file is missing or is not what it should be, diffsynth is not installed, or the GPU is too small.
    """
    for path in (*files.dit, files.vae):
        check_file(path, "model file")
    progress(LOADING, 0, 1)
    pipe = pipeline({"vae": files.vae}, device)
    # The whole model may pass through the GPU if it fits there; otherwise block by block.
    whole = sum(path.stat().st_size for path in files.dit)
    roomy = device != "cpu" and offload.free_bytes(torch.device(device)) > whole + rest
    loaded = pipeline({"dit": files.dit}, device if roomy else "cpu")
    if loaded.vace is None:
        raise InputError(
            f"The video model in {files.dit[0].parent} has no control blocks, so it is not VACE: download VACE."
        )
    pipe.dit, pipe.vace = loaded.dit, loaded.vace
    return assemble(pipe, precision, rest, files.notes, progress)


def assemble(
    pipe: Any, precision: Precision, rest: int = 0, notes: tuple[str, ...] = (), progress: Progress = silent
) -> Models:
    """Turn diffsynth's pipeline into a generator; the pipeline is changed.

    Args:
        pipe: with its models.
        precision: of the computation.
        rest: bytes that must stay free on the GPU for everything except weights.
        notes: sentences for the user.
        progress: called after each block; raises `Cancelled` to stop.

    Raises:
        InputError: the GPU is too small.
    """
    device, dit, vace = torch.device(pipe.device), pipe.dit, pipe.vace
    pipe.torch_dtype = torch.float32  # between the products; the weights stay as they were loaded
    pipe.eval().requires_grad_(False)
    dtype, blocks, controls = dit.patch_embedding.weight.dtype, dit.blocks, vace.vace_blocks
    heads = blocks[0].num_heads
    control = nn.ModuleDict(
        {
            "embed": vace.vace_patch_embedding,
            "before": controls[0].before_proj,
            "after": nn.ModuleList(block.after_proj for block in controls),
        }
    )
    del controls[0].before_proj
    for block in controls:
        del block.after_proj
    layers, stack = vace.vace_layers_mapping, []
    for number in range(len(blocks)):
        stack += [Placed(controls, layers[number])] if number in layers else []
        stack.append(Placed(blocks, number))
    placed, said = common.place(stack, [dit, control], precision, device, dtype, rest, 0, progress)
    del dit.blocks
    dit.blocks, pipe.vace = ControlledBlocks(placed, tuple(layers), len(blocks), control), None
    common.settle(pipe, [dit, control], dtype)
    return Models(pipe=pipe, precision=precision, dtype=dtype, layout=placed.layout, heads=heads, notes=notes + said)


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
        settings: how the model is run.
        progress: called after each step; raises `Cancelled` to stop.
        checkpoint: where latents are saved every few steps, and resumed from.

    Returns:
        `prepared.frames` frames of the prepared size.

    Raises:
        InputError: the model cannot take these sizes.
    """
    settings = settings or Settings()
    common.check(prepared, settings)
    context, colours = _encode(models, prepared, progress)
    latents, asked = _sample(models, prepared, context, colours, prompts, seed, settings, progress, checkpoint)
    return common.finish(models, prepared, latents, asked, settings, progress, decode)


def _encode(models: Models, prepared: Prepared, progress: Progress) -> tuple[Tensor, Tensor]:
    """Encode what controls every step, and fit the map that shows latents.

    Returns:
        The control (1,96,T',H',W'): latents of what is real and of what is not, and the mask, with a reference before
        the first frame; and the map, see `latent_pictures`.
    """
    pipe, stage = models.pipe, "Encoding pictures"
    progress(stage, 0, 3)
    pipe.dit.blocks.make_room()
    real = encode(pipe, prepared.colour)
    progress(stage, 1, 3)
    context = torch.cat([real, encode(pipe, torch.zeros_like(prepared.colour))], dim=1)  # holes are grey, which is 0
    progress(stage, 2, 3)
    mask = _cells(prepared.mask).to(context)
    if prepared.reference is not None:
        shown = encode(pipe, prepared.reference[None])
        context = torch.cat([torch.cat([shown, torch.zeros_like(shown)], dim=1), context], dim=2)
        mask = torch.cat([torch.zeros_like(mask[:, :, :1]), mask], dim=2)
    colours = latent_pictures.fit(real, prepared.colour, STRIDE)
    progress(stage, 3, 3)
    return torch.cat([context, mask], dim=1).float(), colours


def _cells(mask: Tensor) -> Tensor:
    """The mask (T,H,W) in the model's layout (1,64,T',H/8,W/8), which keeps every pixel, but not every frame."""
    count, height, width = mask.shape
    cells = mask.view(count, height // CELL, CELL, width // CELL, CELL).permute(2, 4, 0, 1, 3).flatten(0, 1)
    size = ((count + STRIDE - 1) // STRIDE, height // CELL, width // CELL)
    return functional.interpolate(cells[None], size=size, mode="nearest-exact")


def _sample(
    models: Models,
    prepared: Prepared,
    context: Tensor,
    colours: Tensor,
    prompts: Prompts,
    seed: int,
    settings: Settings,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> tuple[Tensor, int]:
    """Sample latents (1,16,T',H',W') of the finished video; also return the number of predictions computed."""
    shown = 0 if prepared.reference is None else 1
    start = common.noise((1, common.LATENT_CHANNELS, *context.shape[2:]), seed).roll(shown, dims=2)
    predictor = partial(_predictor, context=context, scale=settings.scale)
    with common.computing(models), common.everywhere(models, predictor) as (predict, *others):
        latents, asked = common.sample(
            models, predict, start, prompts, colours, settings, progress, checkpoint, others=others
        )
    return latents[:, :, shown:], asked


@contextmanager
def _predictor(models: Models, context: Tensor, scale: float) -> Iterator[common.Predict]:
    """Context that provides the prediction function on the device of these models, controlled by a context."""
    run, dit = library().wan_video.model_fn_wan_video, models.pipe.dit

    def predict(latents: Tensor, time: Tensor, text: Tensor) -> Tensor:
        return run(dit=dit, latents=latents, timestep=time, context=text)

    with dit.blocks.by(context.to(models.device), scale):
        yield predict
