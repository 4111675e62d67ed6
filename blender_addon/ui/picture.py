"""The small picture of what is being made, as an icon that panels can draw."""

import bpy
import bpy.utils.previews
import numpy as np

_icons: bpy.utils.previews.ImagePreviewCollection | None = None


def show(jpeg: bytes) -> None:
    """Make this the picture, or have none for empty or unreadable bytes. Not to be called while a panel is drawn.

    Blender's own way, an icon from a file, would also write into the user's folder of thumbnails. Here a packed
    image decodes the bytes, and is gone again before anybody sees it.
    """
    global _icons
    image = bpy.data.images.new("EX-4D Progress", 1, 1) if jpeg else None
    if image is None:
        forget()
        return
    try:
        image.pack(data=jpeg, data_len=len(jpeg))
        image.source = "FILE"
        pixels = np.empty(len(image.pixels), np.float32)
        if not image.has_data or not len(pixels):
            forget()
            return
        image.pixels.foreach_get(pixels)
        if _icons is None:
            _icons = bpy.utils.previews.new()
        _icons.clear()
        icon = _icons.new("progress")
        icon.image_size = image.size
        icon.image_pixels_float.foreach_set(pixels)
    finally:
        bpy.data.images.remove(image)


def icon() -> int:
    """The icon's number; 0 where there is no picture, and where Blender has no window."""
    return _icons["progress"].icon_id if _icons else 0


def forget() -> None:
    """Let go of the picture."""
    global _icons
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
    _icons = None
