"""The legend's tint as a camera background: past the edge of the mesh, too, everything has to be invented."""

import bpy
import numpy as np

from ex4d.render import legend

from ..scene import objects

ROLE = "backdrop"

HEIGHT, WIDTH = 270, 480
"""Size in pixels of the image that is stretched over the camera's frame."""


def is_tinted(data: bpy.types.Camera) -> bool:
    """Whether a camera has the tint, visible or hidden."""
    return any(_is_ours(background.image) for background in data.background_images)


def tint(data: bpy.types.Camera) -> None:
    """Show the tint behind everything a camera sees in the viewport, including Solid view, but not in renders."""
    data.show_background_images = True
    if is_tinted(data):
        return
    background = data.background_images.new()
    background.image = _image()
    background.display_depth, background.frame_method, background.alpha = "BACK", "STRETCH", 1.0


def show(data: bpy.types.Camera, shown: bool) -> bool:
    """Show or hide the tint if a camera has it; returns whether it was visible before."""
    before = False
    for background in data.background_images:
        if _is_ours(background.image):
            before, background.show_background_image = background.show_background_image, shown
    return before


def _image() -> bpy.types.Image:
    """The image of the striped tint, shared by all cameras; made if missing."""
    found = next((image for image in bpy.data.images if _is_ours(image)), None)
    if found is None or found.size[0] != WIDTH:  # earlier versions had a flat one
        before, found = found, bpy.data.images.new("EX-4D Invented", WIDTH, HEIGHT)
        tinted = legend.tint(np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), bool))
        pixels = np.ones((HEIGHT, WIDTH, 4), np.float32)
        pixels[..., :3] = tinted[::-1] / 255  # Blender's rows start at the bottom
        found.pixels.foreach_set(pixels.ravel())
        found.pack()
        objects.mark(found, ROLE, "")
        if before is not None:
            before.user_remap(found)
            bpy.data.images.remove(before)
    return found


def _is_ours(image: bpy.types.Image | None) -> bool:
    return image is not None and image.get("ex4d_role") == ROLE
