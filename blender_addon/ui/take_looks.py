"""What the panel shows of the active take: its picture and facts from its folder.

Panels may neither read files nor load images while they are drawn. So a panel makes a request, and the session's next
tick reads the files.
"""

from dataclasses import dataclass
from pathlib import Path

import bpy
import bpy.utils.previews
import numpy as np

from ex4d.pipeline import take

from ..scene import pixels
from ..shot import take_facts, takes
from ..translations import told

LONGEST_SIDE = 256
MOST = 32
"""Number of takes whose pictures are held, about 0.2 MB each; beyond that, all are dropped."""


@dataclass(frozen=True)
class Look:
    """What was read of a take; `trouble` says why there is no picture, if there is none."""

    facts: take_facts.TakeFacts
    trouble: str = ""


class TakeLooks:
    """What was read of the takes of one shot."""

    def __init__(self) -> None:
        self._shot = ""
        self._seen: dict[str, Look] = {}
        self._wanted: tuple[str, str, int, bool] | None = None
        self._icons: bpy.utils.previews.ImagePreviewCollection | None = None

    def of(self, scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> Look | None:
        """What is known about a listed take; None if nothing is yet, in which case `take` will read it."""
        if scene.ex4d.shot != self._shot:
            self.forget()
            self._shot = scene.ex4d.shot
        key = _key(scene, entry)
        if key not in self._seen:
            self._wanted = scene.name, key, entry.number, entry.view
        return self._seen.get(key)

    def preview(self, scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> bpy.types.ImagePreview | None:
        """Blender's preview of a take's picture; None if there is none."""
        return self._icons.get(_key(scene, entry)) if self._icons is not None else None

    def icon(self, scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> int:
        """Icon id of the picture; 0 if there is none, or if Blender has no window."""
        preview = self.preview(scene, entry)
        return preview.icon_id if preview is not None else 0

    def take(self) -> bool:
        """Read the take requested last; returns whether there was one."""
        if self._wanted is None:
            return False
        (name, key, number, view), self._wanted = self._wanted, None
        scene = bpy.data.scenes.get(name)  # undo may have freed the scene that was drawn
        entry = takes.entry_of(scene.ex4d, number, view) if scene is not None else None
        if entry is None:
            return False
        if len(self._seen) >= MOST:
            self.forget()
            self._shot = scene.ex4d.shot
        folder, trouble = takes.take_folder(scene, number, view), ""
        if folder is not None and folder.is_dir():
            trouble = self._show(key, folder, view)
        self._seen[key] = Look(take_facts.read(scene, entry), trouble)
        return True

    def _show(self, key: str, folder: Path, view: bool) -> str:
        """Load the picture; returns why there is none, else ""."""
        still, movie = folder / take.THUMBNAIL, take_facts.movie_of(folder, view)
        shown = pixels.read(still) if still.is_file() else None
        if shown is None and movie is not None:  # from an earlier version
            shown = pixels.middle_of(movie, LONGEST_SIDE)
        if shown is None:
            return told("No thumbnail: the video is gone or cannot be read.")
        size, values = shown
        if self._icons is None:
            self._icons = bpy.utils.previews.new()
        icon = self._icons.get(key) or self._icons.new(key)
        icon.image_size = size
        icon.image_pixels_float.foreach_set(np.ascontiguousarray(values))
        return ""

    def forget(self) -> None:
        """Drop everything, because the file or the shot changes or the add-on ends."""
        if self._icons is not None:
            bpy.utils.previews.remove(self._icons)
        self._icons, self._wanted, self._seen, self._shot = None, None, {}, ""


def _key(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> str:
    """Identifies a take and the state of its folder, so that a rewritten or restored folder is read again."""
    folder = takes.take_folder(scene, entry.number, entry.view)
    try:
        written = folder.stat().st_mtime_ns if folder is not None else 0
    except OSError:
        written = 0
    return f"{entry.number} {entry.view} {written} {folder}"
