"""The EX-4D model as a generator of whole shots: any length, any size, kept in memory between requests."""

import gc
import hashlib
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.generate.base import Generated, Request
from ex4d.generate.wan import model_files
from ex4d.generate.wan.quality import QUALITIES, Quality
from ex4d.generate.wan.settings import NEGATIVE_PROMPT, WanSettings
from ex4d.generate.wan.spec import missing
from ex4d.progress import Progress
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning
from ex4d.storage import user_cache
from ex4d.weights import store

if TYPE_CHECKING:
    from ex4d.generate.runtime.resume import Checkpoint
    from ex4d.generate.wan import video_model

BYTES_A_TOKEN, BYTES_BESIDE = 220_000, 1_500_000_000
"""What is set aside on the GPU for sampling, encoding and decoding: 4.4 GB for 49 frames of 512x512, of which
`benchmarks/memory.py` shows 2.5 to 3.5 GB beside the weights."""

TEXT_ENCODER_BYTES = 14e9
"""What must be free on the GPU for the text encoder to run there; the CPU takes it otherwise."""


@dataclass(frozen=True)
class _Loaded:
    """Models that are in memory, and what they were loaded for."""

    key: tuple[Any, ...]
    rest: int
    models: "video_model.Models"


class WanGenerator:
    """The EX-4D model on one device; what it has loaded stays in memory for the next request.

    Args:
        device: "cuda", "cuda:1"; "cpu" for tests with small models.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._loaded: _Loaded | None = None

    def generate(self, request: Request, progress: Progress) -> Generated:
        """Generate the shot; the source's pixels are not put back. See `ex4d.generate.base.Generator`.

        More frames than the model makes at once are made in windows, each beginning with a finished frame of the one
        before; whatever the length, the GPU holds one window. A request that was stopped goes on where it was when it
        comes again.

        As released, frames are squeezed to 512x512 and at most 49 are made: that is then the result's size.

        Args:
            request: with settings of the kind `WanSettings`.
            progress: told after each step; raises `Cancelled` to stop.

        Raises:
            InputError: the model cannot run here, or the GPU's memory is not enough.
        """
        if reason := missing(True, self.device):
            raise InputError(reason)
        import torch

        settings: WanSettings = request.settings
        try:
            with self._current():
                return self._generate(request, settings, progress)
        except torch.OutOfMemoryError as error:
            out_of_memory = error
        # Outside of the handler, which would keep what the failed frames hold.
        total = torch.cuda.get_device_properties(self.device).total_memory / 1e9 if self._on_gpu else 0
        del out_of_memory
        self.unload()
        smaller = ""
        if settings.model_size != "512x512":
            smaller = "take the model size 512x512, or "
        elif not QUALITIES[settings.quality].fp8:
            smaller = "take balanced or draft quality, which need half the memory, or "
        raise InputError(
            f"The GPU ran out of memory ({total:.0f} GB in all): {smaller}close other programs that use the GPU."
        )

    def unload(self) -> None:
        """Give back all memory that the models hold."""
        if self._loaded is not None:
            self._loaded.models.pipe.dit.blocks.release()
            self._loaded = None
        if "torch" not in sys.modules:
            return
        import torch

        gc.collect()  # also what a load that was broken off left
        torch.cuda.empty_cache()  # does nothing where no GPU was used

    @property
    def _on_gpu(self) -> bool:
        return self.device != "cpu"

    def _current(self) -> AbstractContextManager[Any]:
        """Within, libraries that ask torch for the current GPU get this one."""
        import torch

        return torch.cuda.device(self.device) if self._on_gpu else nullcontext()

    def _generate(self, request: Request, wanted: WanSettings, progress: Progress) -> Generated:
        from ex4d.generate.runtime import windows
        from ex4d.generate.wan import preparation, video_model

        conditioning, seed = request.conditioning, request.seed
        level = QUALITIES[wanted.quality]
        if wanted.steps is not None:
            level = replace(level, steps=wanted.steps)
        files = model_files.files(store.folder())
        count, height, width = conditioning.mask.shape
        plan = (range(count),) if request.as_released else windows.plan(count, preparation.LENGTH, preparation.STRIDE)
        picture = preparation.RELEASE_SIZE
        if not request.as_released:
            picture = preparation.fitting_size(width, height, preparation.AREAS[wanted.model_size])
        frames = preparation.LENGTH if request.as_released else preparation.padded_length(len(plan[0]))
        prompts = self._prompts(files, wanted.prompt, progress)
        models = self._warm(files, level, _tokens(frames, *picture), progress)
        settings = video_model.Settings(
            steps=level.steps,
            guidance=level.guidance,
            guided=level.guided,
            reuse=level.reuse,
            prompt=wanted.prompt,
        )
        result = np.empty((count, height, width, 3), np.uint8)
        asked, done, places = 0, 0, []
        for number, window in enumerate(plan):
            part = _part(conditioning, window, result if number else None)
            if request.as_released:
                prepared = preparation.as_released(part, seed)
            else:
                prepared = preparation.own_aspect(part, seed, preparation.AREAS[wanted.model_size])
            share = _Share(progress, number, len(plan))
            made, predictions, place = _window(models, prepared, prompts, seed + number, settings, files, share)
            places.append(place)
            asked += predictions
            if request.as_released:
                result = made
            else:
                windows.join(result, window, _resized(made, width, height), done)
            done = window.stop
        for place in places:
            place.forget()
        facts = {**asdict(settings), "precision": models.precision, "predictions": asked}
        facts |= {
            "quality": level.name,
            "windows": len(plan),
            "model_size": list(picture),
            "blocks_on_gpu": models.layout.blocks - len(models.layout.streamed),
        }
        said = (*files.notes, *((level.says,) if level.says else ()), *models.notes, *prepared.notes)
        return Generated(result, facts, tuple(dict.fromkeys(said)))

    def _warm(self, files: model_files.Files, level: Quality, tokens: int, progress: Progress) -> "video_model.Models":
        """The models for this quality, loaded unless they are there already."""
        from ex4d.generate.wan import video_model

        rest = tokens * BYTES_A_TOKEN + BYTES_BESIDE
        distilled = level.name == "draft" and files.distilled is not None
        key = (files.identity(), level.fp8, distilled)
        there = self._loaded
        if there and there.key == key and (rest <= there.rest or there.models.enough_beside(rest)):
            return there.models
        del there  # or its models would live on while the others are loaded
        self.unload()
        precision: video_model.Precision = "fast" if level.fp8 else "reference"
        light = model_files.converted(files, progress)
        models = video_model.load(light, precision, self.device, rest=rest, distilled=distilled, progress=progress)
        self._loaded = _Loaded(key, rest, models)
        return models

    def _prompts(self, files: model_files.Files, prompt: str, progress: Progress) -> "video_model.Prompts":
        """The prompt and the negative one as the text encoder sees them.

        They are kept on disk by what they say, as the encoder has 11 GB: each prompt is embedded once in a lifetime.
        """
        import torch

        from ex4d.generate.wan import video_model
        from ex4d.storage.atomic import replacing
        from ex4d.weights.tensors import read_tensors

        texts = (prompt, NEGATIVE_PROMPT)
        key = hashlib.sha256(repr((texts, files.identity_of_text())).encode()).hexdigest()[:32]
        path = user_cache.folder("prompts") / f"{key}.safetensors"
        if path.is_file():
            try:
                kept = read_tensors(path, "embedded prompt")
                return video_model.Prompts(kept["positive"], kept["negative"])
            except (InputError, KeyError):
                path.unlink(missing_ok=True)  # damaged: it is made again
        from safetensors.torch import save_file

        progress("Reading the prompt", 0, 1)
        roomy = self._on_gpu and torch.cuda.mem_get_info(self.device)[0] > TEXT_ENCODER_BYTES
        prompts = video_model.embed_prompts(files, texts, self.device if roomy else "cpu")
        gc.collect()
        with replacing(path) as temporary:
            save_file({"positive": prompts.positive.cpu(), "negative": prompts.negative.cpu()}, temporary)
        progress("Reading the prompt", 1, 1)
        return video_model.Prompts(prompts.positive.cpu(), prompts.negative.cpu())


def _window(
    models: "video_model.Models",
    prepared: Any,
    prompts: "video_model.Prompts",
    seed: int,
    settings: "video_model.Settings",
    files: model_files.Files,
    progress: Progress,
) -> "tuple[NDArray[np.uint8], int, Checkpoint]":
    """Frames of one window, how many predictions they took, and where they are kept until all windows are done: an
    interrupted job does not make them again."""
    import torch

    from ex4d.generate.runtime.resume import checkpoint_for
    from ex4d.generate.wan import video_model

    texts = prompts.positive, prompts.negative
    depends_on = (prepared.colour, prepared.mask, *texts, seed, settings, models.precision, files.identity())
    whole, latents = checkpoint_for("frames", *depends_on), checkpoint_for("latents", *depends_on)
    if kept := whole.read():
        progress("Sampling", settings.steps, settings.steps)
        return kept["frames"].numpy(), int(kept["predictions"]), whole
    made = video_model.generate(models, prepared, prompts, seed, settings, progress, latents)
    predictions = made.settings["predictions"]
    whole.keep(frames=torch.from_numpy(made.frames), predictions=torch.tensor(predictions))
    return made.frames, predictions, whole


@dataclass(frozen=True)
class _Share:
    """Progress of one window as a part of all."""

    progress: Progress
    number: int
    count: int

    def __call__(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        self.progress(stage, self.number * steps + step, self.count * steps, picture)


def _part(conditioning: Conditioning, window: range, finished: NDArray[np.uint8] | None) -> Conditioning:
    """The conditioning of a window; a later one begins with a finished frame, as the first begins with the source."""
    kept = slice(window.start, window.stop)
    colour, mask = conditioning.colour[kept], conditioning.mask[kept]
    if finished is not None:
        colour, mask = colour.copy(), mask.copy()
        sure = mask_edges.erode(mask[:1], mask_edges.DEFAULT_KERNELS, 0)
        begun = finished[window.start][None]
        # With the source where it is known, so that what the model changes does not add up from window to window.
        colour[:1] = mask_edges.composite(colour[:1], begun, mask_edges.soft_edge(mask[:1], sure))
        mask[0] = 255
    return replace(conditioning, colour=colour, mask=mask)


def _tokens(frames: int, width: int, height: int) -> int:
    """How many tokens the model works on: 4 frames and 16x16 pixels each."""
    return ((frames - 1) // 4 + 1) * (width // 16) * (height // 16)


def _resized(frames: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    import cv2

    if frames.shape[1:3] == (height, width):
        return frames
    larger = width * height > frames.shape[1] * frames.shape[2]
    method = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])
