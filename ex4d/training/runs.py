"""A whole training: model files, encoding the dataset, the loop, and the resulting adapter."""

import gc
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from ex4d.errors import InputError
from ex4d.generate.diffsynth.library import embed, pipeline
from ex4d.generate.diffsynth.pictures import STRIDE
from ex4d.generate.diffsynth.quality import AREAS, NEGATIVE_PROMPT
from ex4d.generate.wan import model_files
from ex4d.generate.wan.adapter import Adapter, ModelShape, read_adapter
from ex4d.progress import Progress, silent
from ex4d.storage.atomic import replacing
from ex4d.training import order, result
from ex4d.training.distillation import Distillation
from ex4d.training.latents import Latents
from ex4d.training.loop import train
from ex4d.training.network import Encoded, Network, training_library
from ex4d.training.reserved import reserved
from ex4d.training.sample import Samples
from ex4d.training.settings import DistilSettings, LoopSettings, TrainSettings
from ex4d.weights import store
from ex4d.weights.headers import REMEDY, header

P = ParamSpec("P")
R = TypeVar("R")

LATENTS = "latents"
"""Folder of encoded samples, in the folder of a training."""

MADE_FROM = "made_from.txt"
"""File in that folder with a hash of what was encoded."""

HIDDEN = 1024
"""Width of the camera encoder."""


@dataclass(frozen=True)
class FromLatents:
    """`ex4d.training.loop.Material` of encoded samples.

    Attributes:
        latents: the encoded samples.
        train, held_back: names of clips.
        masks: number of masks per clip.
        seed: of order and noise.
    """

    latents: Latents
    train: tuple[str, ...]
    held_back: tuple[str, ...]
    masks: int
    seed: int

    def training(self, number: int) -> tuple[Encoded, int]:
        """A sample, and the seed of its noise."""
        clip, mask = order.pick(number, len(self.train), self.masks, self.seed)
        return self.latents.read(self.train[clip], mask), order.noise_seed(number, self.seed)

    def validation(self) -> Iterator[tuple[Encoded, int]]:
        """The held-back clips with their first mask, always with the same noise."""
        for number, clip in enumerate(self.held_back):
            yield self.latents.read(clip, 0), order.noise_seed(number, self.seed)


def _in_the_gpus_memory(work: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that it says what to do if the GPU's memory is not enough."""

    @wraps(work)
    def said(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except torch.OutOfMemoryError as error:
            raise InputError(
                "The GPU ran out of memory: 80 GB are enough as it is and 24 GB with --quant nf4; --offload takes less"
                " still. Close other programs that use the GPU."
            ) from error

    return said


@_in_the_gpus_memory
def train_adapter(
    samples: Samples,
    out: Path,
    settings: TrainSettings,
    *,
    start: Path | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
) -> tuple[Path, ...]:
    """Train an adapter, or resume the training in a folder.

    Args:
        samples: to learn from.
        out: folder of the training.
        settings: of the training.
        start: an adapter to start from; None starts from one that changes nothing.
        progress: called for samples encoded and steps done; raises `Cancelled` to stop.
        say: called with sentences.

    Returns:
        `ex4d.ckpt` and `ex4d.safetensors`; empty in all processes except the first.

    Raises:
        InputError: model files or samples are missing or damaged, another training is working in the folder, or memory
            or disk space is not enough.
    """
    accelerator = _accelerator()
    if not accelerator.is_main_process:
        say, progress = _nothing, silent
    _check_length(samples)
    files = model_files.files(store.folder(), with_adapter=False)
    begin = None if start is None else _adapter(start, files, settings.rank)
    training, held_back = order.held_back(samples.clips, settings.held_back, settings.seed)
    say(f"{len(training)} clips to train on, {len(held_back)} held back, {samples.masks} masks each.")
    with _alone(out, accelerator):
        latents = _encoded(samples, out / LATENTS, settings, files, accelerator, progress)
        network = Network(
            _video_model(files, settings, accelerator.device),
            rank=settings.rank,
            seed=settings.seed,
            quant=settings.quant,
            offload=settings.offload,
            device=accelerator.device,
            hidden=HIDDEN,
        )
        if begin is not None:
            begin_with(network, begin)
        say(network.share())

        def write(weights: Mapping[str, Tensor]) -> None:
            result.write_adapter(out, weights)

        material = FromLatents(latents, training, held_back, samples.masks, settings.seed)
        every = settings.validate_every if held_back else 0
        train(network, material, settings, out, accelerator, write, validate_every=every, progress=progress, say=say)
        return result.adapter_files(out) if accelerator.is_main_process else ()


@_in_the_gpus_memory
def distil_adapter(
    samples: Samples,
    out: Path,
    settings: DistilSettings,
    *,
    adapter: Path | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
) -> tuple[Path, ...]:
    """Distil an adapter to the four steps of a draft, or resume that in a folder.

    Args:
        samples: to learn from.
        out: folder of the distillation.
        settings: of the distillation.
        adapter: to distil; None uses the one among the model files.
        progress: called for samples encoded and steps done; raises `Cancelled` to stop.
        say: called with sentences.

    Returns:
        The LoRA for drafts.

    Raises:
        InputError: model files or samples are missing or damaged, another training is working in the folder, or memory
            or disk space is not enough.
    """
    accelerator = _accelerator()
    if accelerator.num_processes > 1:
        raise InputError("Distilling runs on one GPU: start it without accelerate.")
    _check_length(samples)
    files = model_files.files(store.folder(), with_adapter=adapter is None)
    teacher = _adapter(adapter or files.adapter, files, settings.rank)
    with _alone(out, accelerator):
        latents = _encoded(samples, out / LATENTS, settings, files, accelerator, progress, (NEGATIVE_PROMPT,))
        network = Network(
            _video_model(files, settings, accelerator.device),
            rank=settings.rank,
            quant=settings.quant,
            offload=settings.offload,
            device=accelerator.device,
            hidden=HIDDEN,
        )
        begin_with(network, teacher)
        learner = Distillation(network, latents.prompt(NEGATIVE_PROMPT), settings)
        say(learner.share())

        def write(weights: Mapping[str, Tensor]) -> None:
            result.write_lora(out, learner.student(weights))

        material = FromLatents(latents, samples.clips, (), samples.masks, settings.seed)
        train(learner, material, settings, out, accelerator, write, progress=progress, say=say)
        return (out / result.LORA,)


@contextmanager
def _alone(out: Path, accelerator: Any) -> Iterator[None]:
    """Reserve the folder for all processes of this training; the first one holds the lock."""
    with reserved(out) if accelerator.is_main_process else nullcontext():
        accelerator.wait_for_everyone()  # no other process writes before the lock is held
        yield


@torch.no_grad()
def begin_with(network: Network, adapter: Adapter) -> None:
    """Set a network's trained weights to an adapter's."""
    for name, weight in network.trained().items():
        weight.copy_(adapter.encoder[name] if name in adapter.encoder else adapter.lora[name])


def _adapter(path: Path, files: model_files.Files, own: int) -> Adapter:
    """An adapter from a file, which must fit the video model and have our rank; checked before anything is encoded."""
    found = read_adapter(path, _shape(files.dit), HIDDEN)
    lora = {name.replace(".default", "").replace(".weight", ".default.weight"): t for name, t in found.lora.items()}
    if found.rank != own:
        raise InputError(f"The adapter {path} has rank {found.rank}, not {own}: give --rank {found.rank}.")
    return Adapter(found.encoder, lora, found.rank, found.modules)


def _shape(files: tuple[Path, ...]) -> ModelShape:
    """The shape of a video model, from the headers of its files; raises InputError if they are of another model."""
    tensors = {name: shape for file in files for name, shape in header(file, "video model").items()}
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    first = tensors.get("blocks.0.ffn.0.weight", ())
    if len(first) != 2:
        raise InputError(f"The video model {files[0]} lacks its layers: {REMEDY}")
    inner, outer = first
    return ModelShape(outer, inner, len(blocks))


def _video_model(files: model_files.Files, settings: LoopSettings, device: torch.device) -> Any:
    # For 4 bits, the weights go through main memory layer by layer, because a GPU that needs 4 bits cannot hold all of
    # them.
    return pipeline({"dit": files.dit}, str(device) if settings.quant == "none" else "cpu").dit


def _encoded(
    samples: Samples,
    folder: Path,
    settings: LoopSettings,
    files: model_files.Files,
    accelerator: Any,
    progress: Progress,
    prompts: tuple[str, ...] = (),
) -> Latents:
    """All samples encoded, with each process encoding its share."""
    latents = Latents(folder, samples, AREAS[settings.model_size])
    _check_the_same(samples, folder, settings, accelerator.is_main_process)
    device = str(accelerator.device)
    own = samples.clips[accelerator.process_index :: accelerator.num_processes]

    def load() -> Any:
        return pipeline({"vae": files.vae, "image_encoder": files.image_encoder}, device)

    latents.encode(latents.missing(own), load, progress)
    _free()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        texts = [*latents.captions(samples.clips).values(), *prompts]
        latents.embed(texts, lambda todo: embed(files, todo, device))
        _free()
    accelerator.wait_for_everyone()
    return latents


def _check_length(samples: Samples) -> None:
    """Refuse a dataset whose clips the model cannot take, before a folder is begun with it."""
    about = getattr(samples, "about", None)
    if about and about.settings.frames % STRIDE != 1:
        raise InputError(
            f"The dataset has clips of {about.settings.frames} frames, and the model takes 4k+1: make it with 49."
        )


def _check_the_same(samples: Samples, folder: Path, settings: LoopSettings, write: bool) -> None:
    """Refuse clips or masks other than those of the training in this folder, whose encoded samples would not match."""
    about = getattr(samples, "about", None)  # of a dataset on disk, whose masks follow from its settings
    facts = (samples.clips, samples.masks, settings.model_size, about.settings if about else None)
    made_from, file = hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest(), folder / MADE_FROM
    if file.is_file() and file.read_text("utf-8") != made_from:
        raise InputError(
            f"{folder.parent} has a training with other clips, masks or another --model_size: train in another folder."
        )
    if write:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(made_from, "utf-8")


def _accelerator() -> Any:
    for variable, name in _REFUSED.items():
        if os.environ.get(variable, "").lower() == "true":  # without a GPU, accelerate would leave it out silently
            raise _unsupported(name)
    accelerate = training_library().accelerate
    # A process may wait for another one that encodes for hours.
    patient = accelerate.InitProcessGroupKwargs(timeout=timedelta(days=2))
    accelerator = accelerate.Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[patient])
    if accelerator.distributed_type not in (accelerate.DistributedType.NO, *_DATA_PARALLEL):
        raise _unsupported(accelerator.distributed_type.value)
    return accelerator


def _unsupported(name: str) -> InputError:
    return InputError(
        f"Training with {name} is not supported: configure accelerate for several GPUs without it; --quant nf4 is the"
        " way to less memory."
    )


_REFUSED = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_FSDP": "FSDP"}
"""What `accelerate launch` sets for each kind of sharding, refused for the reasons in docs/training.md."""

_DATA_PARALLEL = ("MULTI_GPU", "MULTI_CPU")


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _nothing(sentence: str) -> None:
    """Say nothing, in all processes except the first."""
