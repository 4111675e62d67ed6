"""The small picture of what is being made, as an icon that panels can draw."""

from pathlib import Path

import bpy
import bpy.utils.previews

_icons: bpy.utils.previews.ImagePreviewCollection | None = None
_shown = b""


def icon(jpeg: bytes) -> int:
    """The icon number of a picture; 0 where there is none. Only the latest picture is kept."""
    global _icons, _shown
    if not jpeg:
        forget()
        return 0
    if _icons is None:
        _icons = bpy.utils.previews.new()
    if jpeg != _shown:
        # Blender reads pictures from files only; this one lies in its own temporary folder, which it removes.
        path = Path(bpy.app.tempdir) / "ex4d_progress.jpg"
        path.write_bytes(jpeg)
        _icons.clear()
        _icons.load("progress", str(path), "IMAGE", True)
        _shown = jpeg
    return _icons["progress"].icon_id


def forget() -> None:
    """Let go of the picture."""
    global _icons, _shown
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
    _icons, _shown = None, b""
