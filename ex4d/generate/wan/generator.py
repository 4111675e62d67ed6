"""The EX-4D model as a generator of whole shots: any length, any size, kept in memory between jobs."""

import ctypes
import gc
import hashlib
import sys
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.generate import Generated
from ex4d.generate.wan import model_files
from ex4d.generate.wan.quality import QUALITIES, ModelSize, Quality, QualityName
from ex4d.progress import Progress, silent
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning
from ex4d.storage import user_cache
from ex4d.weights import store

if TYPE_CHECKING:
    from ex4d.generate.runtime.resume import Unfinished
    from ex4d.generate.wan import video_model

DEVICE = "cuda"
"""Where it runs."""

BYTES_A_TOKEN, BYTES_BESIDE = 220_000, 1_500_000_000
"""What is set aside on the GPU for sampling, encoding and decoding: 4.4 GB for 49 frames of 512x512, of which
`benchmarks/memory.py` shows 2.5 to 3.5 GB beside the weights."""


@dataclass(frozen=True)
class _Loaded:
    """Models that are in memory, and what they were loaded for."""

    key: tuple[Any, ...]
    rest: int
    models: "video_model.Models"


_loaded: _Loaded | None = None


def why_not(ask_torch: bool = True) -> str | None:
    """One sentence why the EX-4D model cannot run on this machine, None where it can.

    Args:
        ask_torch: also import torch, which takes seconds, and ask whether it can use the GPU.
    """
    for package in ("torch", "diffsynth", "safetensors"):
        if find_spec(package) is None:
            return (
                f"The EX-4D model needs the Python package {package}, which is not installed here: pip install '.[wan]'"
                " -c constraints.txt in a checkout."
            )
    root = store.folder()
    if missing := [part.name for part in model_files.PARTS if not store.is_there(part, root)]:
        return f"Files of the EX-4D model are missing ({', '.join(missing)}): `ex4d models` says how to fetch them."
    if DEVICE == "cuda" and not _gpus():
        return "The EX-4D model needs an NVIDIA GPU, and this machine has none that its driver knows."
    if DEVICE == "cuda" and ask_torch:
        import torch

        if not torch.cuda.is_available():
            return (
                "The EX-4D model needs a torch that can use the GPU, but the one installed cannot: install it for CUDA."
            )
    return None


def _gpus() -> int:
    """How many NVIDIA GPUs there are; asks the driver itself, which takes no seconds and no memory."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int()
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    return 0


def generate(
    conditioning: Conditioning,
    seed: int = 0,
    quality: QualityName = "final",
    progress: Progress = silent,
    *,
    size: ModelSize = "512x512",
    steps: int | None = None,
    as_released: bool = False,
) -> Generated:
    """Generate the shot; source pixels are not put back. The models stay in memory for the next one.

    More frames than the model makes at once are made in windows, each beginning with a finished frame of the one
    before; whatever the length, the GPU holds one window.

    Args:
        conditioning: T frames as rendered, their mask not eroded.
        seed: of everything that is drawn.
        quality: see `ex4d.generate.wan.quality`.
        progress: told after each step; raises `Cancelled` to stop. The same job then goes on from there.
        size: of the pictures in the model; the result is brought back to the conditioning's size.
        steps: of sampling; None takes the quality's.
        as_released: prepare as the release does: squeezed to 512x512, 49 frames, which is then the result's size.

    Raises:
        InputError: the model cannot run here, or the GPU's memory is not enough.
    """
    if reason := why_not():
        raise InputError(reason)
    import torch

    level = QUALITIES[quality] if steps is None else replace(QUALITIES[quality], steps=steps)
    try:
        return _generate(conditioning, seed, level, progress, size, as_released)
    except torch.OutOfMemoryError as error:
        out_of_memory = error
    # Outside of the handler, which would keep what the failed frames hold.
    used = torch.cuda.get_device_properties(0).total_memory / 1e9 if DEVICE == "cuda" else 0
    del out_of_memory
    unload()
    smaller = ""
    if size != "512x512":
        smaller = "take the model size 512x512, or "
    elif not level.fp8:
        smaller = "take balanced or draft quality, which need half the memory, or "
    raise InputError(
        f"The GPU ran out of memory ({used:.0f} GB in all): {smaller}close other programs that use the GPU."
    )


def unload() -> None:
    """Give back all memory that the models hold."""
    global _loaded
    if _loaded is not None:
        _loaded.models.pipe.dit.blocks.release()
        _loaded = None
    if "torch" not in sys.modules:
        return
    import torch

    gc.collect()  # also what a load that was broken off left
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


def _generate(
    conditioning: Conditioning, seed: int, level: Quality, progress: Progress, size: ModelSize, as_released: bool
) -> Generated:
    from ex4d.generate.runtime import windows
    from ex4d.generate.wan import preparation, video_model

    files = model_files.files(store.folder())
    count, height, width = conditioning.mask.shape
    plan = (range(count),) if as_released else windows.plan(count)
    picture = preparation.RELEASE_SIZE
    if not as_released:
        picture = preparation.fitting_size(width, height, preparation.AREAS[size])
    frames = windows.LENGTH if as_released else preparation.padded_length(len(plan[0]))
    prompts = _prompts(files, progress)
    models = _warm(files, level, _tokens(frames, *picture), progress)
    settings = video_model.Settings(steps=level.steps, guidance=level.guidance, guided=level.guided, reuse=level.reuse)
    result = np.empty((count, height, width, 3), np.uint8)
    asked, done, places = 0, 0, []
    for number, window in enumerate(plan):
        part = _part(conditioning, window, result if number else None)
        if as_released:
            prepared = preparation.as_released(part, seed)
        else:
            prepared = preparation.own_aspect(part, seed, preparation.AREAS[size])
        share = _Share(progress, number, len(plan))
        made, predictions, place = _window(models, prepared, prompts, seed + number, settings, files, share)
        places.append(place)
        asked += predictions
        if as_released:
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
    return Generated(result, "wan", seed, facts, tuple(dict.fromkeys(said)))


def _window(
    models: "video_model.Models",
    prepared: Any,
    prompts: "video_model.Prompts",
    seed: int,
    settings: "video_model.Settings",
    files: model_files.Files,
    progress: Progress,
) -> "tuple[NDArray[np.uint8], int, Unfinished]":
    """Frames of one window, how many predictions they took, and where they are kept until all windows are done: an
    interrupted job does not make them again."""
    import torch

    from ex4d.generate.runtime.resume import unfinished
    from ex4d.generate.wan import video_model

    texts = prompts.positive, prompts.negative
    depends_on = (prepared.colour, prepared.mask, *texts, seed, settings, models.precision, files.identity())
    whole, latents = unfinished("frames", *depends_on), unfinished("latents", *depends_on)
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


def _warm(files: model_files.Files, level: Quality, tokens: int, progress: Progress) -> "video_model.Models":
    """The models for this quality, loaded unless they are there already."""
    global _loaded
    from ex4d.generate.wan import video_model

    rest = tokens * BYTES_A_TOKEN + BYTES_BESIDE
    distilled = level.name == "draft" and files.distilled is not None
    key = (files.identity(), level.fp8, distilled)
    if _loaded and _loaded.key == key and (rest <= _loaded.rest or _loaded.models.enough_beside(rest)):
        return _loaded.models
    unload()
    precision: video_model.Precision = "fast" if level.fp8 else "reference"
    light = model_files.converted(files, progress)
    models = video_model.load(light, precision, DEVICE, rest=rest, distilled=distilled, progress=progress)
    _loaded = _Loaded(key, rest, models)
    return models


def _prompts(files: model_files.Files, progress: Progress) -> "video_model.Prompts":
    """Both prompts as the text encoder sees them: kept on disk, as they never change and the encoder has 11 GB."""
    import torch

    from ex4d.generate.wan import video_model
    from ex4d.storage.atomic import replacing
    from ex4d.weights.tensors import read_tensors

    texts = (video_model.PROMPT, video_model.NEGATIVE_PROMPT)
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
    roomy = DEVICE == "cuda" and torch.cuda.mem_get_info()[0] > 14e9
    prompts = video_model.embed_prompts(files, texts, DEVICE if roomy else "cpu")
    gc.collect()
    with replacing(path) as temporary:
        save_file({"positive": prompts.positive.cpu(), "negative": prompts.negative.cpu()}, temporary)
    progress("Reading the prompt", 1, 1)
    return video_model.Prompts(prompts.positive.cpu(), prompts.negative.cpu())


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
