"""How long and how big clips are, also those of a file dialog: looked at between two drawings, which must be quick."""

from pathlib import Path

import bpy

from ..scene import axes
from ..shot import source

Look = tuple[int | None, axes.Picture]
"""Frames (None where Blender sees no movie: the server will say what is wrong), and the size of the picture."""

MOST = 100
"""Clips that are remembered."""


def look_at(clip: Path) -> Look:
    """Look at a video file, or at a folder of pictures.

    Raises:
        InputError: a folder without pictures.
    """
    pictures = source.input_files(clip, "clip", source.CLIP_PICTURES)
    image = bpy.data.images.load(str(pictures[0]))
    try:
        is_movie = image.source == "MOVIE" and image.size[0] > 0
        frames = len(pictures) if clip.is_dir() else image.frame_duration if is_movie else None
        return frames, axes.Picture(max(1, image.size[0]), max(1, image.size[1]))
    finally:
        bpy.data.images.remove(image)


class Looks:
    """What was seen of clips."""

    def __init__(self) -> None:
        self._seen: dict[Path, Look | None] = {}
        self._wanted: Path | None = None

    def of(self, clip: Path) -> Look | None:
        """What is known of a clip; where nothing is yet, `take` will look."""
        if clip not in self._seen:
            self._wanted = clip
        return self._seen.get(clip)

    def take(self) -> bool:
        """Look at the clip that was asked for last; whether there was one."""
        if self._wanted is None:
            return False
        clip, self._wanted = self._wanted, None
        if len(self._seen) >= MOST:
            self._seen.clear()
        try:
            self._seen[clip] = look_at(clip)
        except Exception:  # whatever is wrong with a file is told when it is opened
            self._seen[clip] = None
        return True
