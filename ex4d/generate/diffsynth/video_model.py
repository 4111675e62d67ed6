"""A video model loaded by diffsynth: placing its blocks, sampling, encoding and decoding.

`ex4d.generate.runtime.offload` runs the blocks. The loop over the steps is ours, so that it can report progress and
stop between two steps. The conditioning of a step is specific to each model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ex4d.errors import InputError
from ex4d.generate.base import Generated
from ex4d.generate.diffsynth.library import Prompts
from ex4d.generate.diffsynth.pictures import MULTIPLE, STRIDE
from ex4d.generate.runtime import blocks, latent_pictures, offload, sampling
from ex4d.generate.runtime.resume import Checkpoint
from ex4d.generate.runtime.runner import native_8bit, runner
from ex4d.generate.runtime.sequence_parallel import Member, split
from ex4d.generate.runtime.several_gpus import Gpu, GpuError, together
from ex4d.progress import DECODING, LOADING, SAMPLING, Progress, silent

Precision = Literal["reference", "fast"]
"""`reference` computes as the release does: products in bfloat16, everything between them in float32. `fast` keeps the
blocks' weights in 8 bits, which halves their memory, and computes their products in 8 bits if the GPU supports it."""

LATENT_CHANNELS = 16
"""Channels of the VAE's latents."""

ADVICE = "take a lower quality or a smaller model size"
"""How to make a model take less memory."""

KEPT_EVERY = 5
"""Latents are saved after this many steps, so that an interrupted job can resume."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is run.

    Attributes:
        steps: of sampling.
        guidance: how far to go from the negative prompt's prediction towards, and past, the prompt's; 1 halves the
            work.
        guided: fraction of the steps, from the first, that are guided.
        reuse: how much a prediction may be expected to change without being computed again; 0 computes all
            (`StepCache`).
        shift: of the flow-matching schedule towards noise.
        prompt: what is wanted.
        negative_prompt: what is not.
    """

    steps: int
    guidance: float = 5.0
    guided: float = 1.0
    reuse: float = 0.0
    shift: float = 5.0
    prompt: str
    negative_prompt: str


Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""One prediction of a model for (latents, time (1), context)."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """What is loaded; models with more parts add them.

    Attributes:
        pipe: diffsynth's pipeline; the blocks of its video model are `OffloadedBlocks`, or iterate over them.
        precision: of the products.
        dtype: of the weights outside the blocks.
        layout: where the blocks are kept.
        heads: of the video model's self-attention.
        notes: sentences for the user.
        others: the same on other GPUs, which share the work of each step.
    """

    pipe: Any
    precision: Precision
    dtype: torch.dtype
    layout: offload.Plan
    heads: int
    notes: tuple[str, ...] = ()
    others: tuple["Models", ...] = ()

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return torch.device(self.pipe.device)

    def as_current(self) -> AbstractContextManager[Any]:
        """Context in which libraries that ask torch for the current GPU get this one."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def enough_beside(self, rest: int) -> bool:
        """Whether `rest` bytes are free on the GPU besides what is loaded and what streamed blocks will take again."""
        slots = offload.SLOTS * self.pipe.dit.blocks.slot_bytes
        return self.device.type != "cuda" or offload.free_bytes(self.device) >= rest + slots


M = TypeVar("M", bound=Models)


class Prepared(Protocol):
    """One shot as input of the model."""

    @property
    def colour(self) -> Tensor:
        """(T,3,H,W) float32 in [-1,1]; T is 4k+1, H and W are multiples of 16."""
        ...

    @property
    def frames(self) -> int:
        """Number of frames wanted, from the first."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        ...

    @property
    def depends_on(self) -> tuple[Tensor, ...]:
        """Everything that conditions the model."""
        ...


@dataclass(frozen=True)
class Placed:
    """A block at its place in diffsynth's model, and what is merged into it.

    Attributes:
        group: the blocks that it is one of; it is replaced there once its weights are taken.
        number: its index in the group.
        loras: with this block's layers only.
    """

    group: nn.ModuleList
    number: int
    loras: tuple[blocks.Lora, ...] = ()

    @property
    def block(self) -> Any:
        """The block."""
        return self.group[self.number]


def place(
    stack: Sequence[Placed],
    whole: Iterable[nn.Module],
    precision: Precision,
    device: torch.device,
    dtype: torch.dtype,
    rest: int,
    image_tokens: int,
    progress: Progress = silent,
) -> tuple[offload.OffloadedBlocks, tuple[str, ...]]:
    """Take the weights of all blocks and keep them on the GPU if there is room, otherwise in main memory.

    Args:
        stack: the blocks in execution order.
        whole: the models that they are parts of.
        precision: how they are computed.
        device: the device that computes.
        dtype: of the weights.
        rest: bytes that must stay free on the GPU for everything except weights.
        image_tokens: see `blocks.run`.
        progress: called after each block; raises `Cancelled` to stop.

    Returns:
        The blocks, and sentences for the user.

    Raises:
        InputError: the GPU is too small.
    """
    own = {id(p): p for one in stack for p in one.block.parameters()}
    size = sum(p.numel() for p in stack[0].block.parameters()) * (1 if precision == "fast" else dtype.itemsize)
    layout = offload.Plan(len(stack))
    if device.type == "cuda":
        others = [p.nbytes for model in whole for p in model.parameters() if id(p) not in own and not p.is_cuda]
        taken = sum(p.nbytes for p in own.values() if p.is_cuda)  # these are released again
        layout = offload.plan(offload.free_bytes(device) + taken - sum(others), size, len(stack), rest, ADVICE)
    del own
    first = stack[0].block
    run, why_slow = runner(device, first.dim // first.num_heads, image_tokens)

    def gathered() -> Iterator[blocks.BlockWeights]:
        for count, one in enumerate(stack):
            weights = blocks.gather(one.block.to(device), list(one.loras), precision == "fast")
            one.group[one.number] = nn.Identity()
            progress(LOADING, count + 1, len(stack))
            yield weights

    placed = offload.OffloadedBlocks(gathered(), layout, device, run)
    kept_only = precision == "fast" and not native_8bit(device)
    said = (
        "This device cannot multiply in 8 bits. The weights are stored in 8 bits all the same, which saves"
        " memory but no time.",
    )
    return placed, ((said if kept_only else ()) + tuple(note for note in (layout.says, why_slow) if note))


def settle(pipe: Any, whole: Sequence[nn.Module], dtype: torch.dtype, *, in_float32: bool = True) -> None:
    """Prepare what is left of models whose blocks were taken, on the pipeline's device.

    With bfloat16 weights, norms compute in float32, as in the release; its other float32 layers do so only if
    `in_float32`.
    """
    for model in whole:
        model.to(pipe.device)
    if dtype != torch.float32:
        dit = pipe.dit
        for layer in (dit.time_embedding, dit.time_projection, dit.head.head) if in_float32 else ():
            layer.float()
            layer.forward = _outside_autocast(layer.forward)
        for model in whole:
            for layer in model.modules():
                if isinstance(layer, nn.LayerNorm):
                    layer.float()  # as autocast does on a GPU; on the CPU it leaves norms alone
    if torch.device(pipe.device).type == "cuda":
        torch.cuda.empty_cache()  # memory cached while gathering is in pieces of other sizes than sampling needs


def _outside_autocast(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def in_float32(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    return in_float32


def check(prepared: Prepared, settings: Settings) -> None:
    """Refuse what the model cannot take.

    Raises:
        InputError: the model cannot take these sizes, or there are no steps.
    """
    count, _, height, width = prepared.colour.shape
    if count % STRIDE != 1 or height % MULTIPLE or width % MULTIPLE:
        raise InputError(
            f"The model takes 4k+1 frames with sides of multiples of 16, not {count} of {width}x{height}: prepare them"
            " with the model's own `preparation`."
        )
    if settings.steps < 1:
        raise InputError(f"Sampling takes at least one step, not {settings.steps}.")


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Initial noise of this shape, float32, drawn on the CPU so that it does not depend on the GPU."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


def sample(
    models: Models,
    predict: Predict,
    start: Tensor,
    prompts: Prompts,
    colours: Tensor,
    settings: Settings,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    steer: Callable[[Tensor, float], Tensor] | None = None,
    others: Sequence[Predict] = (),
) -> tuple[Tensor, int]:
    """Sample the latents of the finished video; also return the number of predictions computed.

    Args:
        models: what is loaded.
        predict: the model.
        start: initial noise (1,16,T',H',W').
        prompts: embedded.
        colours: how to show latents, see `latent_pictures`.
        settings: how the model is run.
        progress: called after each step; raises `Cancelled` to stop.
        checkpoint: where latents are saved every few steps, and resumed from.
        steer: see `sampling.sample`.
        others: the model on the GPUs of `models.others`.
    """
    pipe, stage = models.pipe, SAMPLING
    pipe.scheduler.set_timesteps(settings.steps, denoising_strength=1.0, shift=settings.shift)
    schedule = sampling.Schedule(
        sigmas=(*(float(sigma) for sigma in pipe.scheduler.sigmas), 0.0),
        times=pipe.scheduler.timesteps,
        guidance=settings.guidance,
        guided=round(settings.guided * settings.steps),
        reuse=settings.reuse,
    )
    if settings.reuse:
        checkpoint = None  # which predictions are skipped depends on all steps before
    kept = checkpoint.read() if checkpoint else {}
    first, before = (int(kept["step"]), int(kept["predictions"])) if kept else (0, 0)
    latents = kept["latents"] if kept else start
    guess = _guess(models, predict, prompts)

    def after(step: int, latents: Tensor, finished: Tensor, asked: int) -> None:
        if checkpoint and step % KEPT_EVERY == 0 and step < settings.steps:
            checkpoint.keep(latents=latents, step=torch.tensor(step), predictions=torch.tensor(before + asked))
        progress(stage, step, settings.steps, latent_pictures.picture(finished, colours))

    progress(stage, first, settings.steps)
    everywhere = zip((models, *models.others), (predict, *others), strict=True)
    gpus = [Gpu(each.device, _guess_there(each, predicts, prompts)) for each, predicts in everywhere]
    with computing(models), together(gpus, models.heads) if others else nullcontext() as several:
        result, asked = sampling.sample(guess, latents.to(models.device), schedule, after, first, steer, several)
    if checkpoint:
        checkpoint.forget()
    return result, before + asked


@contextmanager
def everywhere(models: M, predictor: Callable[[M], AbstractContextManager[Predict]]) -> Iterator[list[Predict]]:
    """Context that provides a prediction function on each GPU, the first GPU first.

    Args:
        models: what is loaded, on all GPUs.
        predictor: makes the prediction function for the models of one GPU.

    Raises:
        GpuError: a GPU other than the first failed.
    """
    with ExitStack() as stack:
        found: list[Predict] = []
        for number, each in enumerate((models, *models.others)):
            try:
                found.append(stack.enter_context(predictor(each)))  # type: ignore[arg-type]
            except RuntimeError as error:
                if number == 0:
                    raise
                raise GpuError(number, error) from error
        yield found


def _guess(models: Models, predict: Predict, prompts: Prompts) -> sampling.Guess:
    """A model's predictions by prompt, on its device."""
    contexts = [context.to(models.device, torch.float32) for context in (prompts.positive, prompts.negative)]

    def guess(latents: Tensor, time: Tensor, prompt: int) -> Tensor:
        return predict(latents, time[None].to(models.device, torch.float32), contexts[prompt]).float()

    return guess


def _guess_there(models: Models, predict: Predict, prompts: Prompts) -> Callable[..., Tensor]:
    """The same in a thread of its own, or as a member of a group of GPUs."""
    guess = _guess(models, predict, prompts)

    def work(latents: Tensor, time: Tensor, prompt: int, member: Member | None) -> Tensor:
        # Of the settings in `computing`, attention kernels apply to all threads, the rest only to the thread that sets
        # them.
        with torch.no_grad(), models.as_current(), autocast(models), split(models.pipe.dit, member):
            return guess(latents, time, prompt)

    return work


def finish(
    models: Models,
    prepared: Prepared,
    latents: Tensor,
    asked: int,
    settings: Settings,
    progress: Progress,
    decoder: Callable[[Any, Tensor, Progress], NDArray[np.uint8]] | None = None,
) -> Generated:
    """Decode finished latents to the video, and record what made it.

    Args:
        models: what is loaded.
        prepared: what it was made for.
        latents: finished.
        asked: number of predictions computed.
        settings: that they were made with.
        progress: called before and after.
        decoder: decodes latents to frames; None uses `decode`.
    """
    progress(DECODING, 0, 1)
    models.pipe.dit.blocks.make_room()
    frames = (decoder or decode)(models.pipe, latents, progress)[: prepared.frames]
    facts = {**asdict(settings), "precision": models.precision, "predictions": asked}
    return Generated(frames, facts, (*prepared.notes, *models.notes))


def decode(pipe: Any, latents: Tensor, progress: Progress = silent) -> NDArray[np.uint8]:
    """Decode latents to frames (T,H,W,3), all at once."""
    video = pipe.vae.decode(latents.to(dtype_of(pipe.vae)), device=pipe.device, tiled=False)
    pictures = ((video[0].float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    frames = pictures.permute(1, 2, 3, 0).cpu().numpy()
    progress(DECODING, 1, 1)
    return frames


def encode(pipe: Any, video: Tensor) -> Tensor:
    """Encode a video (T,3,H,W) to latents (1,16,T',H',W')."""
    frames = video.transpose(0, 1).to(dtype=dtype_of(pipe.vae))
    return pipe.vae.encode([frames], device=pipe.device, tiled=False)


@contextmanager
def computing(models: Models) -> Iterator[None]:
    """Context in which products are in bfloat16 if the weights are, and attention uses the GPU's fastest kernel."""
    with autocast(models), attention(models.device):
        yield


def autocast(models: Models) -> AbstractContextManager[Any]:
    """Context in which products are in bfloat16 if the weights are."""
    return nullcontext() if models.dtype == torch.float32 else torch.autocast(models.device.type, dtype=models.dtype)


def attention(device: torch.device) -> AbstractContextManager[Any]:
    """Context in which attention uses the GPU's fastest kernel."""
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fastest_first = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    return sdpa_kernel([*fastest_first, SDPBackend.MATH], set_priority=True)


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype of a model's weights."""
    return next(module.parameters()).dtype
