"""Rendering a mask drawn in Blender to an image.

Blender's compositor does it, in a temporary scene: feather, inverted and blended layers, keys and tracked points come
out as the artist sees them, and none of the artist's scenes is touched.
"""

from pathlib import Path

import bpy

from ..scene import compat

RESULT = "Render Result"
"""Name of the image that Blender creates with the first render of a file."""


def draw(mask: bpy.types.Mask, frame: int, size: tuple[int, int], folder: Path) -> Path:
    """Write a mask as it is at a frame of the timeline, white where it covers, and return the file.

    Args:
        mask: in the open file.
        frame: scene frame; scenes cannot start before frame 0, so earlier frames show the mask of frame 0.
        size: width and height in pixels; as in Blender's editors, the mask's unit is the longer side.
        folder: folder for the file, whose name Blender chooses.
    """
    had_result = RESULT in bpy.data.images
    scene = bpy.data.scenes.new("EX-4D Mask")
    tree = compat.begin_compositing(scene)
    try:
        tree.nodes.clear()  # Blender 4 adds a node that renders the scene, which has no camera
        node = tree.nodes.new("CompositorNodeMask")
        node.mask = mask
        tree.links.new(node.outputs[0], compat.composite_output(tree))
        render = scene.render
        render.resolution_x, render.resolution_y, render.resolution_percentage = *size, 100
        render.use_sequencer, render.use_compositing = False, True
        render.dither_intensity = 0
        for kept in ("date", "time", "render_time", "memory"):  # they differ every time
            setattr(render, f"use_stamp_{kept}", False)
        render.filepath = str(folder / "frame_")
        still = render.image_settings
        still.file_format, still.color_mode, still.color_depth = "PNG", "BW", "8"
        scene.view_settings.view_transform = "Raw"  # half coverage comes out as 50 %
        scene.frame_start = scene.frame_end = max(frame, 0)
        bpy.ops.render.render(animation=True, scene=scene.name)  # a still would show the open scene's frame
        return Path(render.frame_path(frame=scene.frame_start))
    finally:
        compat.end_compositing(scene, tree)
        bpy.data.scenes.remove(scene)
        if not had_result and RESULT in bpy.data.images:
            bpy.data.images.remove(bpy.data.images[RESULT])
