"""Samples as the frozen models see them, encoded once and stored as .safetensors.

clips/<clip>.safetensors            the clip's own latents, those of its first frame, and its image feature
masks/<clip>-<mask>.safetensors     the latents of a condition: its colours and its mask
prompts/<hash>.safetensors          an embedded caption

A clip is encoded once, whatever its number of masks. 49 frames of 512x512 take 5 MB, and 3.4 MB more for each mask.
"""

import gc
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ex4d.errors import InputError
from ex4d.generate.diffsynth.pictures import MULTIPLE, STRIDE, fitting_size, method, resized
from ex4d.generate.diffsynth.video_model import dtype_of, encode
from ex4d.generate.wan.settings import PROMPT
from ex4d.progress import ENCODING_SAMPLES, Progress, silent
from ex4d.storage.atomic import replacing
from ex4d.training.network import Encoded
from ex4d.training.sample import Sample, Samples
from ex4d.weights.headers import header


class Latents:
    """A folder of encoded samples.

    Args:
        folder: where they are stored.
        samples: the samples to encode.
        area: approximate number of pixels of a picture inside the model.
    """

    def __init__(self, folder: Path, samples: Samples, area: int) -> None:
        self._folder, self._samples, self._area = folder, samples, area

    def missing(self, clips: Iterable[str]) -> list[tuple[str, int]]:
        """Clips and numbers of their masks that are not encoded yet."""
        wanted = [(clip, mask) for clip in clips for mask in range(self._samples.masks)]
        return [one for one in wanted if not (self._clip(one[0]).is_file() and self._mask(*one).is_file())]

    def encode(self, todo: list[tuple[str, int]], load: Callable[[], Any], progress: Progress = silent) -> None:
        """Encode samples; a sample that was encoded meanwhile is left as it is.

        Args:
            todo: clips and numbers of their masks.
            load: returns diffsynth's pipeline with VAE and image encoder; called only if there is something to do.
            progress: called after each sample; raises `Cancelled` to stop.

        Raises:
            InputError: a sample is damaged or does not suit the model, or the disk is full.
        """
        pipe = load() if todo else None
        for count, (clip, mask) in enumerate(todo):
            progress(ENCODING_SAMPLES, count, len(todo))
            sample = self._samples.load(clip, mask)
            if not self._clip(clip).is_file():
                _write(self._clip(clip), {**encoded_clip(pipe, sample, self._area)}, {"caption": sample.caption})
            if not self._mask(clip, mask).is_file():
                _write(self._mask(clip, mask), encoded_mask(pipe, sample, self._area))
        progress(ENCODING_SAMPLES, len(todo), len(todo))
        del pipe
        gc.collect()

    def captions(self, clips: Iterable[str]) -> dict[str, str]:
        """The text encoder's input for each clip: its caption, or the release's prompt if it has none."""
        return {clip: _facts(self._clip(clip)).get("caption") or PROMPT for clip in clips}

    def embed(self, texts: Iterable[str], embed: Callable[[list[str]], list[Tensor]]) -> None:
        """Embed texts that are not embedded yet.

        Args:
            texts: captions and prompts.
            embed: returns (1,512,text_dim) for each; called only if there is something to do.
        """
        todo = [text for text in dict.fromkeys(texts) if not self._prompt(text).is_file()]
        for text, embedded in zip(todo, embed(todo) if todo else [], strict=True):
            _write(self._prompt(text), {"prompt": embedded})

    def prompt(self, text: str) -> Tensor:
        """An embedded text."""
        return _read(self._prompt(text))["prompt"]

    def read(self, clip: str, mask: int) -> Encoded:
        """An encoded sample.

        Raises:
            InputError: one of its files is missing or damaged.
        """
        text = _facts(self._clip(clip)).get("caption") or PROMPT
        return Encoded(**_read(self._clip(clip)), **_read(self._mask(clip, mask)), prompt=self.prompt(text))

    def _clip(self, clip: str) -> Path:
        return self._folder / "clips" / f"{_name(clip)}.safetensors"

    def _mask(self, clip: str, mask: int) -> Path:
        return self._folder / "masks" / f"{_name(clip)}-{mask}.safetensors"

    def _prompt(self, text: str) -> Path:
        return self._folder / "prompts" / f"{_name(text)}.safetensors"


@torch.no_grad()
def encoded_clip(pipe: Any, sample: Sample, area: int) -> dict[str, Tensor]:
    """What all samples of a clip share: `video`, `image` and `feature` of `Encoded`."""
    frames = _tensor(_fitted(sample.frames, area, sample.clip))
    first = torch.zeros_like(frames)
    first[0] = frames[0]
    picture = frames[:1].to(device=pipe.device, dtype=dtype_of(pipe.image_encoder))
    feature = pipe.image_encoder.encode_image([picture])
    return {"video": encode(pipe, frames), "image": encode(pipe, first), "feature": feature}


@torch.no_grad()
def encoded_mask(pipe: Any, sample: Sample, area: int) -> dict[str, Tensor]:
    """The condition: `colour` and `mask` of `Encoded`, with the same values that the generator passes to the VAE."""
    known = np.where(_fitted(sample.mask.astype(np.uint8) * 255, area, sample.clip) > 127, 255, 0).astype(np.uint8)
    colour = _fitted(sample.colour, area, sample.clip) * (known[..., None] > 0)
    mask = torch.from_numpy(known).float() / 255 * 4 - 3  # -3 in holes, 1 elsewhere
    # The rim of the dataset's masks is already eroded, so nothing more is eroded here.
    return {"colour": encode(pipe, _tensor(colour)), "mask": encode(pipe, mask[:, None].expand(-1, 3, -1, -1))}


def _fitted(pictures: NDArray[np.uint8], area: int, clip: str) -> NDArray[np.uint8]:
    """Pictures (T,...) at the size that the generator would use for them."""
    count, height, width = pictures.shape[:3]
    if count % STRIDE != 1:
        raise InputError(f"The clip {clip} has {count} frames, and the model takes 4k+1: make the dataset with 49.")
    if min(height, width) < MULTIPLE:
        raise InputError(f"The clip {clip} has pictures of {width}x{height}, which is too small.")
    size = fitting_size(width, height, area)
    how = method(width, height, size) if pictures.ndim == 4 else cv2.INTER_LINEAR
    return np.stack([resized(picture, size, how) for picture in pictures])


def _tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures (T,H,W,3) as (T,3,H,W) float32 in [-1,1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def _name(text: str) -> str:
    """A file name that stands for any text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, temporary, metadata=dict(facts or {}))


def _read(path: Path) -> dict[str, Tensor]:
    header(path, "encoded sample", "remove it and start the training again.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"The encoded sample {path} is damaged: remove it and start the training again.") from error


def _facts(path: Path) -> dict[str, str]:
    header(path, "encoded sample", "remove it and start the training again.")
    with safe_open(path, "pt") as file:
        return file.metadata() or {}
