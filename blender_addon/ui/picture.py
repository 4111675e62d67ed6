"""The small picture of the take in progress, as an icon that panels can draw."""

import bpy
import bpy.utils.previews
import numpy as np


class Picture:
    """The latest picture, if any."""

    def __init__(self) -> None:
        self._icons: bpy.utils.previews.ImagePreviewCollection | None = None

    def show(self, jpeg: bytes) -> None:
        """Set the picture, or remove it if the bytes are empty or unreadable. Do not call this while a panel is drawn.

        Blender's usual way, an icon from a file, would also write into the user's thumbnail folder. Instead, a
        temporary packed image decodes the bytes.
        """
        image = bpy.data.images.new("EX-4D Progress", 1, 1) if jpeg else None
        if image is None:
            self.forget()
            return
        try:
            image.pack(data=jpeg, data_len=len(jpeg))
            image.source = "FILE"
            pixels = np.empty(len(image.pixels), np.float32)
            if not image.has_data or not len(pixels):
                self.forget()
                return
            image.pixels.foreach_get(pixels)
            if self._icons is None:
                self._icons = bpy.utils.previews.new()
            self._icons.clear()
            icon = self._icons.new("progress")
            icon.image_size = image.size
            icon.image_pixels_float.foreach_set(pixels)
        finally:
            bpy.data.images.remove(image)

    @property
    def preview(self) -> bpy.types.ImagePreview | None:
        """Blender's preview of the picture; None if there is none."""
        return self._icons["progress"] if self._icons else None

    @property
    def icon(self) -> int:
        """Id of the icon; 0 if there is no picture, or if Blender has no window."""
        return self.preview.icon_id if self.preview else 0

    def forget(self) -> None:
        """Free the picture."""
        if self._icons is not None:
            bpy.utils.previews.remove(self._icons)
        self._icons = None
