"""Length and size of clips, including those in a file dialog, read between redraws because drawing must be quick."""

from dataclasses import dataclass
from pathlib import Path

import bpy

from ex4d.storage.sequence import Gaps, clip_at, is_sequence, sequence_at

from ..scene import axes

MOST = 100
"""Number of clips remembered."""


@dataclass(frozen=True)
class Look:
    """What Blender knows about a clip.

    Attributes:
        clip: its path.
        is_sequence: whether it is an image sequence.
        frames: number of frames at its own rate; None if Blender cannot tell and the server has to.
        picture: size of the frames; None likewise.
    """

    clip: Path
    is_sequence: bool
    frames: int | None
    picture: axes.Picture | None


def look_at(clip: Path, gaps: Gaps = "hold") -> Look:
    """Read a video file, a folder of images, or one image that stands for its sequence.

    Raises:
        InputError: the folder contains no images.
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
    """Clips read so far."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Path, Gaps], Look | None] = {}
        self._wanted: tuple[Path, Gaps] | None = None

    def of(self, clip: Path, gaps: Gaps = "hold") -> Look | None:
        """What is known about a clip; None if nothing is, in which case `take` will read it."""
        if (clip, gaps) not in self._seen:
            self._wanted = clip, gaps
        return self._seen.get((clip, gaps))

    def take(self) -> bool:
        """Read the clip requested last; returns whether there was one."""
        if self._wanted is None:
            return False
        wanted, self._wanted = self._wanted, None
        clip, gaps = wanted
        if len(self._seen) >= MOST:
            self._seen.clear()
        try:
            self._seen[wanted] = look_at(clip_at(clip), gaps)
        except Exception:  # problems with a file are reported when it is opened
            self._seen[wanted] = None
        return True
