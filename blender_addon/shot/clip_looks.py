"""How long and how big clips are, also those of a file dialog: looked at between two drawings, which must be quick."""

from dataclasses import dataclass
from pathlib import Path

import bpy

from ex4d.storage.sequence import Gaps, clip_at, is_sequence, sequence_at

from ..scene import axes

MOST = 100
"""Clips that are remembered."""


@dataclass(frozen=True)
class Look:
    """What Blender sees of a clip.

    Attributes:
        clip: the path that it is known by.
        is_sequence: whether it is made of pictures.
        frames: how many it has at its own rate; None if Blender cannot tell: the server will.
        picture: how big they are; None likewise.
    """

    clip: Path
    is_sequence: bool
    frames: int | None
    picture: axes.Picture | None


def look_at(clip: Path, gaps: Gaps = "hold") -> Look:
    """Look at a video file, a folder of images, or one image that stands for its sequence.

    Raises:
        InputError: a folder without pictures.
    """
    pictures = sequence_at(clip) if is_sequence(clip) else None
    image = bpy.data.images.load(str(pictures.files[0] if pictures else clip))
    try:
        width, height = image.size
        frames = image.frame_duration if image.source == "MOVIE" and width and height else None
        if pictures is not None:
            frames = len(pictures.numbering.shown(gaps))
        return Look(clip, pictures is not None, frames, axes.Picture(width, height) if width and height else None)
    finally:
        bpy.data.images.remove(image)


class ClipLooks:
    """What was seen of clips."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Path, Gaps], Look | None] = {}
        self._wanted: tuple[Path, Gaps] | None = None

    def of(self, clip: Path, gaps: Gaps = "hold") -> Look | None:
        """What is known of a clip; where nothing is yet, `take` will look."""
        if (clip, gaps) not in self._seen:
            self._wanted = clip, gaps
        return self._seen.get((clip, gaps))

    def take(self) -> bool:
        """Look at the clip that was asked for last; whether there was one."""
        if self._wanted is None:
            return False
        wanted, self._wanted = self._wanted, None
        clip, gaps = wanted
        if len(self._seen) >= MOST:
            self._seen.clear()
        try:
            self._seen[wanted] = look_at(clip_at(clip), gaps)
        except Exception:  # whatever is wrong with a file is told when it is opened
            self._seen[wanted] = None
        return True
