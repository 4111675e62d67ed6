"""The videos of a take: its own, and those in other formats, written as the frames come."""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d.generate.base import Generated, metadata
from ex4d.media.clip import clip_info
from ex4d.media.frames import Stream, all_in_16_bits, apart, in_8_bits
from ex4d.media.movie import write_movie
from ex4d.pipeline import generate as generation
from ex4d.pipeline import take, thumbnail
from ex4d.pipeline.finishing import Finished, Finishing, note_on_gpu_memory
from ex4d.pipeline.leaving import Leave, MasterFile
from ex4d.pipeline.open import JobFiles
from ex4d.pipeline.requests import Fill, Generate
from ex4d.pipeline.writing import Feed, Writer
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning, without_rim
from ex4d.render.scene import Lent

WITHOUT_MASK = "The video differs from the mask in size or length, as released, so the mask is not in it."
ONLY_8_BITS = (
    "The file has room for more than 8 bits per channel, but its pixels have 8: only results at the clip's own"
    " size have more."
)


def leaves_of(leave: Leave | None, job: Generate | Fill, files: JobFiles, out: Path) -> list[Leave]:
    """Everything that writes a take's videos in other formats."""
    leaves = [] if leave is None else [leave]
    if job.generation.master != "none":
        deep = files.source is not None and clip_info(files.source.clip).bits > 8
        leaves.append(MasterFile(out, job.generation.master, 16 if deep else 8))
    return leaves


class TakeVideos:
    """The videos of a take: the result, and the other version if there is one. With `release_compat`, the model's own
    output is the only one."""

    def __init__(self, writer: Writer, out: Path, fps: Fraction, wanted: generation.Plan, leaves: list[Leave]) -> None:
        self._writer, self._out, self._fps, self._wanted, self._leaves = writer, out, fps, wanted, leaves
        self._other = take.GENERATED if wanted.keep_source else take.COMPOSITED

    def write(self, made: Generated, other: NDArray[np.uint8], seen: Conditioning) -> tuple[str, ...]:
        """Write a take of the working size, whose frames all exist; return sentences about what the files lack."""
        about, notes = metadata(self._wanted.spec, made), list[str]()
        videos = {take.RESULT: made.frames}
        if other is not made.frames:
            videos[self._other] = other
        for name, frames in videos.items():
            self._writer.write(self._out / name, frames, self._fps, metadata=about)
            for leave in self._leaves:
                if name not in leave.names:
                    continue
                mask = None
                if leave.wants_mask and frames.shape[:3] == seen.mask.shape:
                    mask = without_rim(seen, self._wanted.seed).mask
                elif leave.wants_mask:
                    notes.append(WITHOUT_MASK)
                if leave.bits == 16:
                    notes.append(ONLY_8_BITS)
                left = all_in_16_bits(frames) if leave.bits == 16 else frames
                self._writer.begin(partial(leave, name, left, mask, self._fps, about))
        return tuple(dict.fromkeys(notes))

    def feed(
        self,
        made: Generated,
        finishing: Finishing,
        lent: Sequence[Lent | None],
        earlier: Sequence[Lent | None],
        notes: list[str],
    ) -> tuple[str, ...]:
        """Write a take at the clip's own size, frame by frame, with its colour, mask and thumbnail.

        Returns sentences about what was only known at the end, which are therefore not in the metadata of the videos.
        """
        count, of_path = len(made.frames), {"comment": " ".join(notes)}
        about = metadata(self._wanted.spec, made)
        colour, mask = self._movie(take.COLOUR, count, of_path), self._movie(take.MASK, count, of_path, lossless=True)
        names = (take.RESULT, self._other)
        movies = {name: self._movie(name, count, about) for name in names}
        left = {
            name: [self._left(each, name, count, about) for each in self._leaves if name in each.names]
            for name in names
        }
        by_cpu = 0
        for t, frame in enumerate(finishing.frames(lent, made.frames, self._writer.progress, earlier)):
            pictures = dict(zip(names, _in_order(frame, self._wanted.keep_source), strict=True))
            by_cpu += frame.lacked_gpu_memory
            colour.add(in_8_bits(frame.colour))
            mask.add(frame.mask)
            for name, picture in pictures.items():
                movies[name].add(in_8_bits(picture))
                for fed in left[name]:
                    fed.add((picture, frame.mask))
            if t == count // 2:
                thumbnail.write(self._out / take.THUMBNAIL, in_8_bits(pictures[take.RESULT])[None])
        return note_on_gpu_memory(by_cpu, count, finishing.full)

    def _movie(self, name: str, count: int, texts: dict[str, str], lossless: bool = False) -> Feed[Any]:
        how = partial(write_movie, self._out / name, fps=self._fps, lossless=lossless, metadata=texts)
        return self._writer.feed(how, count)

    def _left(self, leave: Leave, name: str, count: int, about: dict[str, str]) -> Feed[Any]:
        def write(stream: Stream, *, progress: Progress) -> None:
            frames, masks = apart(stream)
            leave(name, frames, masks if leave.wants_mask else None, self._fps, about, progress=progress)

        return self._writer.feed(write, count)


def _in_order(frame: Finished, keep_source: bool) -> tuple[NDArray, NDArray]:
    """The result and the other picture of a frame."""
    pair = frame.composited, frame.generated
    return pair if keep_source else pair[::-1]
