"""A video model as a generator of whole shots of any length and size, kept in memory between requests."""

import gc
import hashlib
import sys
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.generate.base import Generated, Memory, Request
from ex4d.generate.diffsynth.files import Files
from ex4d.generate.diffsynth.quality import Quality
from ex4d.progress import SAMPLING, Progress
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning
from ex4d.storage import user_cache

if TYPE_CHECKING:
    from ex4d.generate.diffsynth.library import Prompts
    from ex4d.generate.diffsynth.video_model import Models, Prepared, Settings
    from ex4d.generate.runtime.resume import Checkpoint

TEXT_ENCODER_BYTES = 14e9
"""Memory that must be free on the GPU for the text encoder to run there; otherwise it runs on the CPU."""

WORTHWHILE = 0.95
"""If memory ran out, settings that need at most this fraction of it are worth suggesting."""


@dataclass(frozen=True)
class Job:
    """What a request means for a model.

    Attributes:
        files: of the model.
        level: of quality.
        final: the model's best, which the level is compared with.
        settings: for sampling.
        size: width and height of the pictures inside the model.
        windows: the frames of each, in order.
        rest: bytes that everything except weights may take on the GPU.
        key: changes when other models have to be loaded.
        begun: number of finished frames from the previous window that a later window begins with.
        keeps_size: whether the result has the model's size and number of frames, with a single window.
        notes: sentences for the user.
    """

    files: Files
    level: Quality
    final: Quality
    settings: "Settings"
    size: tuple[int, int]
    windows: tuple[range, ...]
    rest: int
    key: tuple[Any, ...]
    begun: int = 1
    keeps_size: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Loaded:
    """Models in memory, and what they were loaded for."""

    key: tuple[Any, ...]
    rest: int
    models: "Models"


class VideoGenerator(ABC):
    """A video model on one device; what it has loaded stays in memory for the next request.

    Args:
        device: "cuda", "cuda:1"; "cpu" for tests with small models. "cuda:0,cuda:1" are two GPUs that share the work of
            each sampling step; there may be more. The first does everything else.
    """

    def __init__(self, device: str) -> None:
        self.device, *self._other_devices = device.split(",")
        self._helpers: dict[int, VideoGenerator] = {}  # on the other GPUs, by number; the first GPU is 0
        self._loaded: _Loaded | None = None

    # Specific to each model:

    @abstractmethod
    def missing(self) -> str:
        """Why it cannot run here; "" if it can."""

    @abstractmethod
    def plan(self, request: Request) -> Job:
        """Work out what a request needs."""

    @abstractmethod
    def load(self, job: Job, progress: Progress) -> "Models":
        """Load all models except the text encoder."""

    @abstractmethod
    def prepare(self, job: Job, request: Request, part: Conditioning) -> "Prepared":
        """Convert pictures and masks of one window to the model's input."""

    @abstractmethod
    def make(
        self,
        models: "Models",
        prepared: Any,
        prompts: "Prompts",
        seed: int,
        settings: Any,
        progress: Progress,
        checkpoint: "Checkpoint",
    ) -> Generated:
        """Make the frames of one window."""

    @abstractmethod
    def memory(self, settings: Any) -> Memory:
        """How much GPU memory the model needs with these settings."""

    @abstractmethod
    def lighter(self, settings: Any) -> dict[str, Any]:
        """Settings that may take less memory than these, best first, by what the user would choose: "draft quality"."""

    # Common to all models:

    def generate(self, request: Request, progress: Progress) -> Generated:
        """Generate the shot; the source's pixels are not put back. See `ex4d.generate.base.Generator`.

        If there are more frames than the model makes at once, they are made in windows, each beginning with finished
        frames of the one before; the GPU holds one window, whatever the length. If an interrupted request is submitted
        again, it resumes where it was.

        Args:
            request: with settings of the model's own class.
            progress: called after each step; raises `Cancelled` to stop.

        Raises:
            InputError: the model cannot run here, or the GPU does not have enough memory.
        """
        if reason := self.missing():
            raise InputError(reason)
        import torch

        try:
            with self._current():
                return self._generate(request, progress)
        except torch.OutOfMemoryError as error:
            out_of_memory = error
        # Outside the handler, which would keep alive what the failed frames hold.
        del out_of_memory
        self.unload()
        raise InputError(self._too_little_memory(request.settings))

    def _too_little_memory(self, settings: Any) -> str:
        """Explain what memory a failed job needed, and what to do."""
        import torch

        from ex4d.generate.runtime import offload

        need, free = self.memory(settings).least, ""
        if self._on_gpu:
            free = f", and {offload.free_bytes(torch.device(self.device)) / 1e9:.1f} GB are free now"
        others = {words: self.memory(lighter).least for words, lighter in self.lighter(settings).items()}
        ways = [
            f"take {words} ({gigabytes:g} GB), or "
            for words, gigabytes in others.items()
            if gigabytes < WORTHWHILE * need
        ]
        return (
            f"The GPU ran out of memory. With these settings {need:g} GB are needed at least{free}:"
            f" {''.join(ways)}close other programs that use the GPU."
        )

    def unload(self) -> None:
        """Release all memory that the models hold."""
        for helper in self._helpers.values():
            helper.unload()
        if self._loaded is not None:
            self._loaded.models.pipe.dit.blocks.release()
            self._loaded = None
        if "torch" not in sys.modules:
            return
        import torch

        gc.collect()  # including the remains of an interrupted load
        torch.cuda.empty_cache()  # no effect if no GPU was used

    @property
    def _on_gpu(self) -> bool:
        return self.device != "cpu"

    def _current(self) -> AbstractContextManager[Any]:
        """Context in which libraries that ask torch for the current GPU get this one."""
        import torch

        return torch.cuda.device(self.device) if self._on_gpu else nullcontext()

    def _generate(self, request: Request, progress: Progress) -> Generated:
        from ex4d.generate.diffsynth import pictures
        from ex4d.generate.runtime import windows
        from ex4d.generate.runtime.several_gpus import GpuError

        conditioning, job = request.conditioning, self.plan(request)
        count, height, width = conditioning.mask.shape
        prompts = self._prompts(job, progress)
        models = self._warm(job, progress)
        helping, missed = self._on_other_gpus(job, progress)
        result = np.empty((count, height, width, 3), np.uint8)
        asked, done, places = 0, 0, []
        for number, window in enumerate(job.windows):
            part = window_part(conditioning, window, result if number else None, min(job.begun, done - window.start))
            prepared = self.prepare(job, request, part)
            share, seed = _Share(progress, number, len(job.windows)), request.seed + number
            while True:  # until no GPU fails; if only the first is left, its errors propagate
                try:
                    made, predictions, place = self._window(job, models, helping, prepared, prompts, seed, share)
                    break
                except GpuError as error:
                    failed = list(helping)[error.number - 1], str(error)
                # Outside the handler, which would keep alive what the failed frames hold.
                missed += (self._without(helping, *failed),)
            places.append(place)
            asked += predictions
            if job.keeps_size:
                result = made
            else:
                windows.join(result, window, pictures.all_resized(made, width, height), done)
            done = window.stop
        for place in places:
            place.forget()
        facts = {**asdict(job.settings), "precision": models.precision, "predictions": asked}
        facts |= {
            "quality": job.level.name,
            "windows": len(job.windows),
            "model_size": list(job.size),
            "blocks_on_gpu": models.layout.blocks - len(models.layout.streamed),
        }
        if helping:
            facts["gpus"] = 1 + len(helping)
        says = job.level.says(job.final)
        said = (*job.files.notes, *job.notes, *((says,) if says else ()), *models.notes, *missed, *prepared.notes)
        return Generated(result, facts, tuple(dict.fromkeys(said)))

    def _warm(self, job: Job, progress: Progress) -> "Models":
        """The models for this job, loaded unless they are in memory already."""
        there = self._loaded
        if there and there.key == job.key and (job.rest <= there.rest or there.models.enough_beside(job.rest)):
            return there.models
        del there  # otherwise its models would stay alive while the others are loaded
        self.unload()
        models = self.load(job, progress)
        self._loaded = _Loaded(job.key, job.rest, models)
        return models

    def _on_other_gpus(self, job: Job, progress: Progress) -> "tuple[dict[int, Models], tuple[str, ...]]":
        """The models on each of the other GPUs, by number, and sentences about those that cannot help."""
        helping: dict[int, Models] = {}
        said: tuple[str, ...] = ()
        if not self._other_devices:
            return helping, said
        there = 1 + len(self._other_devices)
        count = self._useful_gpus(job.settings, there)
        if count < there:
            said = (
                f"{count} of {there} GPUs made this video, as many as its steps can use: start the server with more"
                " workers to use the rest.",
            )
        for number in range(1, count):
            if number not in self._helpers:
                helper = copy(self)
                helper.device, helper._other_devices = self._other_devices[number - 1], []
                helper._helpers, helper._loaded = {}, None
                self._helpers[number] = helper
            failed = ""
            try:
                with self._helpers[number]._current():
                    helping[number] = self._helpers[number]._warm(job, progress)
            except (InputError, RuntimeError) as error:  # CUDA raises the latter, also when memory runs out
                failed = str(error).split("\n")[0]
            if failed:
                said += (self._without(helping, number, failed),)
        return helping, said

    @staticmethod
    def _useful_gpus(settings: "Settings", there: int) -> int:
        """How many of the GPUs have work in any step."""
        from ex4d.generate.runtime.several_gpus import groups

        guided = round(settings.guided * settings.steps) if settings.guidance != 1 else 0
        predictions = {2} if guided >= settings.steps else {1, 2} if guided else {1}
        return max(sum(map(len, groups(there, count))) for count in predictions)

    def _without(self, helping: "dict[int, Models]", number: int, why: str) -> str:
        """Continue without a GPU, and return a note; the next job tries it again."""
        helping.pop(number, None)
        with suppress(RuntimeError):  # even releasing it may fail
            self._helpers.pop(number).unload()
        return (
            f"GPU {number + 1} of {1 + len(self._other_devices)} could not take part ({why}): this take was made"
            " without it."
        )

    def _prompts(self, job: Job, progress: Progress) -> "Prompts":
        """Embed the prompt and the negative prompt with the text encoder.

        Embeddings are cached on disk by their text, because the encoder is 11 GB: each prompt is embedded only once.
        """
        import torch

        from ex4d.generate.diffsynth import library
        from ex4d.storage.atomic import replacing
        from ex4d.weights.tensors import read_tensors

        texts = (job.settings.prompt, job.settings.negative_prompt)
        key = hashlib.sha256(repr((texts, job.files.identity_of_text())).encode()).hexdigest()[:32]
        path = user_cache.folder("prompts") / f"{key}.safetensors"
        if path.is_file():
            try:
                kept = read_tensors(path, "embedded prompt")
                return library.Prompts(kept["positive"], kept["negative"])
            except (InputError, KeyError):
                path.unlink(missing_ok=True)  # damaged: it is made again
        from safetensors.torch import save_file

        progress("Reading the prompt", 0, 1)
        roomy = self._on_gpu and torch.cuda.mem_get_info(self.device)[0] > TEXT_ENCODER_BYTES
        prompts = library.embed_prompts(job.files, texts, self.device if roomy else "cpu")
        gc.collect()
        with replacing(path) as temporary:
            save_file({"positive": prompts.positive.cpu(), "negative": prompts.negative.cpu()}, temporary)
        progress("Reading the prompt", 1, 1)
        return library.Prompts(prompts.positive.cpu(), prompts.negative.cpu())

    def _window(
        self,
        job: Job,
        models: "Models",
        helping: "dict[int, Models]",
        prepared: "Prepared",
        prompts: "Prompts",
        seed: int,
        progress: Progress,
    ) -> "tuple[NDArray[np.uint8], int, Checkpoint]":
        """Make the frames of one window.

        Returns:
            The frames, the number of predictions they took, and the checkpoint that keeps them until all windows are
            done, so that an interrupted job does not make them again.

        Raises:
            GpuError: one of the helping GPUs failed; 1 is the first of them.
        """
        import torch

        from ex4d.generate.runtime.resume import checkpoint_for, digest_of

        texts, settings = (prompts.positive, prompts.negative), job.settings
        identity = job.files.identity()
        all_of_it = digest_of(*prepared.depends_on, *texts, seed, settings, models.precision, identity)
        whole, latents = checkpoint_for("frames", all_of_it), checkpoint_for("latents", all_of_it)
        if kept := whole.read():
            progress(SAMPLING, settings.steps, settings.steps)
            return kept["frames"].numpy(), int(kept["predictions"]), whole
        all_of_them = replace(models, others=tuple(helping.values()))
        made = self.make(all_of_them, prepared, prompts, seed, settings, progress, latents)
        predictions = made.settings["predictions"]
        whole.keep(frames=torch.from_numpy(made.frames), predictions=torch.tensor(predictions))
        return made.frames, predictions, whole


@dataclass(frozen=True)
class _Share:
    """Progress of one window as a part of the whole."""

    progress: Progress
    number: int
    count: int

    def __call__(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        self.progress(stage, self.number * steps + step, self.count * steps, picture)


def window_part(
    conditioning: Conditioning, window: range, finished: NDArray[np.uint8] | None, begun: int = 1
) -> Conditioning:
    """The conditioning of a window; a later window begins with finished frames, as the first begins with the source.

    Args:
        conditioning: of the whole shot.
        window: frame numbers.
        finished: frames (T,h,w,3) of the whole shot, finished up to the overlap with this window; None for the first
            window.
        begun: number of frames taken from `finished`.
    """
    kept = slice(window.start, window.stop)
    colour, mask = conditioning.colour[kept], conditioning.mask[kept]
    borrowed = None if conditioning.borrowed is None else conditioning.borrowed[kept]
    if finished is not None:
        colour, mask = colour.copy(), mask.copy()
        lent = None if borrowed is None else borrowed[:begun]
        sure = mask_edges.certain(mask[:begun], lent, mask_edges.DEFAULT_KERNELS, 0)
        done = finished[window.start : window.start + begun]
        # With source pixels where they are known, so that the model's changes do not accumulate from window to window.
        colour[:begun] = mask_edges.composite(colour[:begun], done, mask_edges.soft_edge(mask[:begun], sure))
        mask[:begun] = 255
    return replace(conditioning, colour=colour, mask=mask, borrowed=borrowed)
