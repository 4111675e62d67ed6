"""The last stage of a take: bringing it to the clip's own size, frame by frame.

Real pixels come from the clip at its own size; invented ones are scaled up, and blended at the edge of the mask.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.full_size import LONGEST_SIDE, FullSize
from ex4d.geometry.intrinsics import FrameFit, fit_frame
from ex4d.media.clip import Clip, ClipSource, open_source
from ex4d.media.picture import Bits
from ex4d.pipeline.open import SourceFiles
from ex4d.pipeline.requests import Generate
from ex4d.progress import FINISHING, Progress, silent
from ex4d.render import mask_edges
from ex4d.render.conditioning import coincides
from ex4d.render.engines import engine as engine_of
from ex4d.render.engines import missing
from ex4d.render.full_size import Between, LentHere, scaled_up
from ex4d.render.scene import Engine, Lent, Scene, View

_BYTES_A_PIXEL, _MEMORY = 120, 1 << 30
"""Approximate bytes per pixel while a frame is made, and how much memory all frames in progress may take together."""


@dataclass(frozen=True)
class Finished:
    """One frame at the clip's own size; uint8 or uint16, as requested.

    Attributes:
        colour: (H,W,3), the real part, black elsewhere.
        mask: (H,W) uint8, 255 where it is real, without the rim of what the frame itself saw.
        composited: (H,W,3), the real part over the generated frame.
        generated: (H,W,3), the generated frame, scaled up.
        lacked_gpu_memory: whether the CPU drew it because the GPU had too little memory.
    """

    colour: NDArray
    mask: NDArray[np.uint8]
    composited: NDArray
    generated: NDArray
    lacked_gpu_memory: bool = False


_SAME_SHAPE = 0.02
"""Aspects that differ by less are the same, up to rounding to whole pixels."""


@dataclass(frozen=True)
class Finishing:
    """A take that is to be brought to the clip's own size.

    Attributes:
        source: the clip's frames at their own size.
        clip: the same frames at the working size.
        scene: what was rendered, without a lead-in.
        full: the clip's own size.
        engine: draws the views.
        bits: per channel, 8 or 16.
    """

    source: ClipSource
    clip: Clip
    scene: Scene
    full: FullSize
    engine: Engine
    bits: Bits = 8

    @property
    def kernel(self) -> int:
        """Side in pixels of the square that erodes the rim of what a frame itself saw."""
        return mask_edges.side_at(self.of_path.scale)

    @property
    def of_path(self) -> FullSize:
        """The clip's own size relative to the path's pixels; the path's file may not have the working size."""
        mesh = self.scene.mesh
        return self.full.seen_from(self.scene.path, mesh.width, mesh.height)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the size if it is not simply the clip's, and about parts that are less sharp."""
        of_plate = ("What only the clean plate saw is as sharp as its working picture.",)
        return (*note_on_size(self.clip.fit), *(of_plate if self.scene.plate is not None else ()))

    def frames(
        self,
        lent: Sequence[Lent | None],
        generated: NDArray[np.uint8],
        progress: Progress = silent,
        earlier: Sequence[Lent | None] = (),
    ) -> Iterator[Finished]:
        """The frames of a take in order. Only a few of them are in memory at a time, together with every frame of the
        clip that lends pixels, at full size.

        Args:
            lent: what other frames lend to each, at the working size; empty if other frames were not used.
            generated: (T,h,w,3) uint8, at the working size.
            progress: called after each frame; raises `Cancelled` to stop.
            earlier: what an earlier take shows in each, at the working size; empty if there is none.

        Raises:
            InputError: the clip cannot be read again, or a picture of this size cannot be drawn.
        """
        count, at_once = len(generated), self._at_once()
        lenders = self._lenders(lent, lambda: progress(FINISHING, 0, count))
        pictures = self._pictures()
        large = Scene(self.scene.mesh, self.scene.pictures, self.of_path.path(self.scene.path))
        with ThreadPoolExecutor(at_once) as pool:
            for first in range(0, count, at_once):
                numbers = range(first, min(first + at_once, count))
                own = [t for t in numbers if coincides(self.scene.mesh, self.scene.path, t, t)]
                drawn = [t for t in numbers if t not in own]
                seen, lacked_memory = self._views(large, drawn)
                views = dict(zip(drawn, seen, strict=True))
                waiting = []
                for t in numbers:
                    picture, lends, kept = next(pictures), lent[t] if lent else None, earlier[t] if earlier else None
                    if t in own:
                        work = partial(self._same, picture)
                    else:
                        work = partial(
                            self._finished, t, large, views.pop(t), lacked_memory, picture, lends, lenders, kept
                        )
                    waiting.append(pool.submit(work, generated[t]))
                while waiting:
                    yield waiting.pop(0).result()
                    progress(FINISHING, numbers[-1] + 1 - len(waiting), count)

    def _views(self, large: Scene, frames: list[int]) -> tuple[list[View], bool]:
        """Views of frames from the path's own cameras, and whether the GPU had too little memory for them.

        A generator's model may leave no GPU memory. The CPU then draws the same picture, so the take is not lost.
        """
        pairs = [(t, t) for t in frames]
        try:
            return list(self.engine.views(large, pairs, surfaces=True)), False
        except InputError:
            if self.engine.name != "cuda":
                raise
            on_cpu = "numpy" if missing("numba") else "numba"
            return list(engine_of(on_cpu).views(large, pairs, surfaces=True)), True

    def _at_once(self) -> int:
        size = self.full.width * self.full.height * _BYTES_A_PIXEL
        return max(1, min(os.cpu_count() or 1, _MEMORY // size))

    def _pictures(self) -> Iterator[NDArray]:
        """The frames of the clip that are used, cropped, at its own size."""
        clip = self.clip
        stop = clip.start + (len(clip.frames) - 1) * clip.step + 1
        frames = self.source.frames(
            clip.start, stop, step=clip.step, longest_side=LONGEST_SIDE, multiple=1, bits=self.bits
        )
        return (np.ascontiguousarray(self.full.cropped(frame)) for frame in frames)

    def _lenders(self, every: Sequence[Lent | None], after_each: Callable[[], None]) -> dict[int, NDArray]:
        """The pictures of all frames that lend pixels; those of a plate at its working size."""
        count = len(self.scene.mesh)
        wanted = {frame for lent in every if lent is not None for frame in lent.gains}
        found: dict[int, NDArray] = {}
        if self.scene.plate is not None:
            pictures = self.scene.plate.pictures
            found = {frame: self._in_bits(pictures[frame - count]) for frame in wanted if frame >= count}
        last = max((frame for frame in wanted if frame < count), default=-1)
        for t, picture in zip(range(last + 1), self._pictures(), strict=False):
            if t in wanted:
                found[t] = picture
            after_each()
        return found

    def _same(self, picture: NDArray, generated: NDArray[np.uint8]) -> Finished:
        """A frame whose camera is the clip's own: the clip's picture, unchanged."""
        return Finished(picture, np.full(picture.shape[:2], 255, np.uint8), picture, self._scaled_up(generated))

    def _finished(
        self,
        t: int,
        large: Scene,
        view: View,
        lacked_memory: bool,
        picture: NDArray,
        lent: Lent | None,
        lenders: dict[int, NDArray],
        kept: Lent | None,
        generated: NDArray[np.uint8],
    ) -> Finished:
        assert view.surface is not None
        colour, mask = self._between(t, t, large).whole(picture, view.surface.inverse_distance), view.mask.copy()
        borrowed = np.zeros(mask.shape, np.uint8)
        if lent is not None:
            here = LentHere.of(lent, generated.shape[:2], self.of_path)
            fills = here.where(mask, self._eroded(mask))
            self._fill(colour, fills, here, lent, lenders, partial(self._between, camera=t, large=large))
            mask[fills] = borrowed[fills] = 255
        sure = certain = self._eroded(mask) | borrowed
        if kept is not None and self.scene.earlier is not None:
            here = LentHere.of(kept, generated.shape[:2], self.of_path)
            fills = here.where(mask, mask)
            pictures = {n: self._in_bits(self.scene.earlier.pictures[n]) for n in kept.gains}
            self._fill(colour, fills, here, kept, pictures, partial(self._from_earlier, camera=t, large=large))
            mask[fills] = 255
            certain = self._eroded(mask) | borrowed
        made = self._scaled_up(generated)
        composited = _blended(colour, made, mask_edges.weight_of(mask, certain, cv2.DIST_MASK_5))
        colour[sure == 0] = 0
        return Finished(colour, sure, composited, made, lacked_memory)

    @staticmethod
    def _fill(
        colour: NDArray,
        fills: NDArray[np.bool_],
        here: LentHere,
        lent: Lent,
        pictures: Mapping[int, NDArray],
        between: Callable[[int], Between],
    ) -> None:
        """Fill pixels of a frame with those lent by other pictures, where `fills` is set."""
        for frame, gain in lent.gains.items():
            ours = fills & (here.frames == frame)
            shown = between(frame).some(pictures[frame], ours, here.inverse_distance)
            brightest = np.iinfo(colour.dtype).max
            colour[ours] = np.clip(shown * gain.astype(np.float32) + 0.5, 0, brightest).astype(colour.dtype)

    def _from_earlier(self, number: int, camera: int, large: Scene) -> Between:
        """From a camera of the path to the camera of a frame of the earlier take."""
        assert self.scene.earlier is not None
        mesh, path = self.scene.earlier.mesh, large.path
        to_source = transforms.inverse(mesh.source_to_world[number]) @ path.camera_to_world[camera]
        return Between(to_source, path.intrinsics[camera], mesh.intrinsics[number])

    def _between(self, frame: int, camera: int, large: Scene) -> Between:
        """From a camera of the path to the source camera of a frame, see `Lent`."""
        mesh, path, plate = large.mesh, large.path, self.scene.plate
        if frame >= len(mesh) and plate is not None:
            number = frame - len(mesh)
            source_to_world, k = plate.mesh.source_to_world[number], plate.mesh.intrinsics[number]
        else:
            source_to_world, k = mesh.source_to_world[frame], self.full.to_full @ mesh.intrinsics[frame]
        to_source = transforms.inverse(source_to_world) @ path.camera_to_world[camera]
        return Between(to_source, path.intrinsics[camera], k)

    def _eroded(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.erode(mask, np.ones((self.kernel, self.kernel), np.uint8)), np.uint8)

    def _scaled_up(self, generated: NDArray[np.uint8]) -> NDArray:
        return self._in_bits(scaled_up(generated, self.of_path))

    def _in_bits(self, picture: NDArray[np.uint8]) -> NDArray:
        """A picture with 8 bits per channel at the requested bit depth."""
        return picture if self.bits == 8 else picture.astype(np.uint16) * np.uint16(257)


def note_on_gpu_memory(frames: int, of: int, full: FullSize) -> tuple[str, ...]:
    """A sentence if `frames` of the `of` frames of a take were drawn by the CPU instead of the GPU."""
    if not frames:
        return ()
    which = "all frames" if frames == of else f"{frames} of the {of} frames"
    return (
        f"The GPU had too little memory left to draw {which} at {full.width}x{full.height} pixels, so the CPU did:"
        " the result is the same, but it took longer.",
    )


def note_on_size(fit: FrameFit) -> tuple[str, ...]:
    """A sentence that explains why a result at the clip's own size is smaller than the clip, if it is."""
    full, width, height = FullSize.of(fit), fit.source_width, fit.source_height
    if (width, height) == (full.width, full.height):
        return ()
    whole = fit_frame(width, height, LONGEST_SIDE, 1)
    cut = {"columns": whole.width - full.width, "rows": whole.height - full.height}
    why = [f"no side is made longer than {LONGEST_SIDE} pixels"] if max(width, height) > LONGEST_SIDE else []
    if outside := [f"{number} {what}" for what, number in cut.items() if number > 1]:
        why.append(f"{' and '.join(outside)} are outside the working picture")
    if 1 in cut.values():
        why.append("the sides of a video have to be even")
    return (f"The result is {full.width}x{full.height} pixels and the clip {width}x{height}: {', and '.join(why)}.",)


def finishing_of(
    job: Generate, files: SourceFiles, clip: Clip, scene: Scene, engine: Engine, bits: Bits
) -> Finishing | None:
    """How a take is brought to the clip's own size; None if another size was requested or comes from the
    path's file, or if the working size is the clip's own.

    Args:
        job: the take's job.
        files: of the clip.
        clip: as it was read, at the working size.
        scene: what was rendered; its lead-in is left out.
        engine: draws the views.
        bits: per channel, of the pictures wanted.
    """
    used = job.source.settings
    if not _asks_for_it(job) or _has_another_shape(scene):
        return None
    full = FullSize.of(clip.fit)
    if bits == 8 and full.is_of(scene.mesh.width, scene.mesh.height):
        return None
    if engine.name == "nvdiffrast":  # it draws only some sizes; our engines put things in the same places
        engine = engine_of()
    fps = Fraction(used.fps) if used.fps else None
    source = open_source(files.clip, fps, used.gaps, files.numbering)
    return Finishing(source, clip, scene.without_lead_in, full, engine, bits)


def note_on_shape(job: Generate, scene: Scene) -> tuple[str, ...]:
    """A sentence if a take has the size given in the path's file, because the clip's own size would squeeze it."""
    path = scene.path
    if not _asks_for_it(job) or not _has_another_shape(scene):
        return ()
    return (
        f"The result is {path.width}x{path.height} pixels, as the camera path's file says, and not as large as the"
        " clip, because the two have different shapes.",
    )


def _asks_for_it(job: Generate) -> bool:
    asked = job.generation
    return asked.result_size == "clip" and asked.width is None and not job.render.release_compat


def _has_another_shape(scene: Scene) -> bool:
    path, mesh = scene.path, scene.mesh
    return abs(path.width * mesh.height / (path.height * mesh.width) - 1) > _SAME_SHAPE


def _blended(source: NDArray, generated: NDArray, weight: NDArray[np.float32]) -> NDArray:
    """Source over generated (H,W,3) by the source's weight (H,W) in [0,1]; exact where it is 0 or 1."""
    result = np.where(weight[..., None] >= 1, source, generated)
    rim = (weight > 0) & (weight < 1)
    of_source = weight[rim][:, None]
    result[rim] = (source[rim] * of_source + generated[rim] * (1 - of_source) + 0.5).astype(source.dtype)
    return result
