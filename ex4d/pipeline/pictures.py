"""Which frames of a clip are used, and which images of a sequence they need. Needs numpy only, because Blender uses it
too."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.frame_numbers import in_file
from ex4d.geometry.intrinsics import FrameFit
from ex4d.geometry.presets import RELEASE_FRAMES
from ex4d.pipeline.settings import SourceSettings
from ex4d.storage.sequence import Numbering


def frames_to_use(total: int, settings: SourceSettings) -> int:
    """How many of a clip's `total` frames to use: the requested number, else the release's or as many as there are."""
    return settings.frames or max(1, min(RELEASE_FRAMES, len(range(settings.start, total, settings.step))))


def shown_by(numbering: Numbering, settings: SourceSettings) -> NDArray[np.int64]:
    """Image of a sequence (T,) that each used frame shows; one image if the range lies outside the sequence."""
    shown = numbering.shown(settings.gaps)
    used = shown[settings.start :: settings.step][: frames_to_use(len(shown), settings)]
    return used if len(used) else shown[:1]


def depth_for(files: Sequence[Path], numbering: Numbering, settings: SourceSettings) -> list[Path]:
    """The images of a depth folder that belong to the used frames, one for each.

    The folder has one image per frame of the sequence, one per image of it, or one per frame that it would have with
    its gaps. Otherwise all images are kept, because they cover only a range. All are also kept if the images of a range
    would be as many as those of the clip, and so be mistaken for them (see `ex4d.depth.files.matching.chosen_frames`).
    """
    shown = numbering.shown(settings.gaps)
    used = shown_by(numbering, settings)
    if len(files) == len(used) or len(used) == numbering.pictures != len(shown):
        return list(files)
    if len(files) == len(shown):
        return list(files[settings.start :: settings.step][: len(used)])
    if len(files) == numbering.pictures:
        return [files[number] for number in used]
    if len(files) == (places := numbering.places)[-1] + 1:
        return [files[place] for place in places[used]]
    return list(files)


def note_on_crop(fit: FrameFit) -> tuple[str, ...]:
    """A sentence about the pixels that are cropped so that both sides are multiples of 16; nothing if none are."""
    down, across = fit.scaled_height - fit.height, fit.scaled_width - fit.width
    edges = {"top": fit.top, "bottom": down - fit.top, "left": fit.left, "right": across - fit.left}
    cut = ", ".join(f"{pixels} off the {edge}" for edge, pixels in edges.items() if pixels)
    if not cut:
        return ()
    before, after = f"{fit.scaled_width}x{fit.scaled_height}", f"{fit.width}x{fit.height}"
    return (f"The picture was cropped from {before} to {after} pixels ({cut}): both sides must be multiples of 16.",)


def note_on_length(name: str, used: int, total: int, settings: SourceSettings) -> tuple[str, ...]:
    """A sentence if fewer frames are used than the clip has."""
    if used >= total:
        return ()
    every = f", every {ordinal(settings.step)} one" if settings.step > 1 else ""
    return (f"{used} of the {total} frames of {name} are used{every}, beginning with {in_file(settings.start)}.",)


def ordinal(number: int) -> str:
    """1st, 2nd, and so on."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
