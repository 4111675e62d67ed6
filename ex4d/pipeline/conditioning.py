"""Colour and mask of a take at the requested size: rendered from a scene, or read from files."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import presets
from ex4d.media.clip import Clip, clip_info, read_clip
from ex4d.pipeline import render as rendering
from ex4d.pipeline.open import JobFiles
from ex4d.pipeline.pictures import note_on_length
from ex4d.pipeline.requests import Fill, Generate
from ex4d.pipeline.settings import GenerateSettings, SourceSettings
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage
from ex4d.render.lead_in import with_lead_in
from ex4d.render.scene import Scene

BLACK = 24
"""Highest level of a pixel that was black before a video was compressed."""


def rendered(scene: Scene, job: Generate, stride: int, progress: Progress) -> tuple[Scene | None, Conditioning]:
    """Colour and mask along the path, and the scene at the same size for generators that draw from it.

    Both have the lead-in that was requested. With `release_compat`, pictures are rendered at the clip's size and
    squeezed afterwards, so no scene of that size is returned.

    Args:
        scene: at the working size, as long as the shot.
        job: what to render.
        stride: of the generator, see `ex4d.generate.base.Spec`.
        progress: called after each frame.

    Raises:
        InputError: see `ex4d.pipeline.render.view`.
    """
    size = _size(job.generation)
    if job.generation.lead_in:
        scene = with_lead_in(scene, stride)
    if size is None or size == (scene.path.width, scene.path.height):
        return scene, rendering.view(scene, job.render, progress)
    if job.render.release_compat:
        seen = rendering.view(scene, job.render, progress)
        colour, mask, notes = _squeezed(seen.colour, seen.mask, size)
        return None, replace(seen, colour=colour * (mask[..., None] > 0), mask=mask, notes=(*notes, *seen.notes))
    scene, notes = rendering.resized(scene, *size, job.generation.fit)
    seen = rendering.view(scene, job.render, progress)
    return scene, replace(seen, notes=(*notes, *seen.notes))


def read(job: Fill, files: JobFiles, progress: Progress) -> tuple[Conditioning, Fraction]:
    """Colour and mask from files, squeezed to the requested size as in the release, and their frame rate.

    Raises:
        InputError: they cannot be read, differ in size, or a lead-in was requested.
    """
    assert files.colour is not None
    assert files.mask is not None
    if job.generation.lead_in:
        raise InputError(
            "A lead-in is rendered from the clip, but there are only colour and mask: leave Lead-In out, or start"
            " from the clip."
        )
    total = clip_info(files.colour).frames
    frames = job.frames or min(presets.RELEASE_FRAMES, total)
    colour = read_clip(files.colour, frames=frames, longest_side=None, multiple=2, progress=progress)
    mask = read_clip(files.mask, frames=frames, longest_side=None, multiple=2, progress=progress)
    if colour.frames.shape != mask.frames.shape:
        (_, h, w, _), (_, mh, mw, _) = colour.frames.shape, mask.frames.shape
        raise InputError(
            f"{colour.source} is {w}x{h} but {mask.source} is {mw}x{mh}: use colour and mask of one recon run."
        )
    pictures = colour.frames
    real, said = _real_part(colour, mask)
    notes = (*note_on_length(colour.source, frames, total, SourceSettings()), *colour.notes, *mask.notes, *said)
    if (size := _size(job.generation)) is not None:
        pictures, real, note = _squeezed(pictures, real, size)
        notes = (*note, *notes)
    # These files do not say where the camera was, so the angle is unknown.
    part = (real > 0).mean(axis=(1, 2))
    coverage = Coverage(part, np.full(len(part), np.nan), np.zeros(len(part), np.int64))
    return Conditioning(pictures * (real[..., None] > 0), real, coverage, notes), colour.fps


def _squeezed(
    colour: NDArray[np.uint8], mask: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
    """Colour and mask at another size (width, height), whatever its aspect, and a sentence if the aspect changed."""
    height, width = mask.shape[1:]
    colour = np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in colour])
    mask = np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST) for picture in mask])
    return colour, mask, rendering.note_on_aspect((width, height), size, "squeeze")


def _size(generation: GenerateSettings) -> tuple[int, int] | None:
    """Requested width and height; None if they were not given."""
    if generation.width is None or generation.height is None:
        return None
    return generation.width, generation.height


def _real_part(colour: Clip, mask: Clip) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The mask (T,H,W), 255 where colour is real, and a sentence if the file has it inverted.

    Colour is black where nothing is real, and a path begins where something is. So a mask is inverted if the part that
    it calls real is black and the rest is not, or if it calls nothing real in a first frame that is not black.
    """
    real = np.where(mask.frames[..., 0] > 127, 255, 0).astype(np.uint8)
    black = colour.frames.max(axis=-1) <= BLACK
    swapped = real.any() and not real.all() and black[real > 0].mean() > 0.9 and black[real == 0].mean() < 0.5
    if not swapped and (real[0].any() or black[0].all()):
        return real, ()
    said = (
        f"{mask.source} is inverted: it is black where {colour.source} shows something. It was read inverted,"
        " because white stands for what is real."
    )
    return 255 - real, (said,)
