"""Shots: switching between the shots of the file, each of which is a scene, and adding another."""
# ruff: noqa: N801, RUF012

import bpy

from ..scene import compat
from ..shot import disk, new_shot
from ..ui.clip_operators import OpensClip
from ..ui.layout import Context, Layout
from ..ui.scene_operators import EX4D_OT_show_scene
from ..words import count, size
from ..work import requests


class EX4D_OT_new_shot(OpensClip):
    """Open another clip in a new scene with the settings of this one; this shot stays as it is"""

    bl_idname = "ex4d.new_shot"
    bl_label = "New Shot"
    bl_options = {"REGISTER", "UNDO"}

    def request(self, context: bpy.types.Context) -> requests.OpenRequest:
        """Make the scene and return its request; the scene is removed if the clip cannot be opened."""
        clip, before, window = self.clip, context.scene, context.window
        scene = new_shot.make_scene(clip.stem)
        try:
            request = self.request_in(scene)
        except BaseException:
            window.scene = before
            bpy.data.scenes.remove(scene)
            raise
        compat.show_in_sequencer(scene, [window.workspace])
        return request


def draw_shots(layout: Layout, context: Context) -> None:
    """Draw a button for each shot of the file, which switches to its scene."""
    column = layout.column(align=True)
    for scene in new_shot.with_shots():
        facts, here = scene.ex4d, scene == context.scene
        used = disk.use(scene)
        known = [count(len(facts.takes), "take")] if facts.takes else []
        known += [size(used.total)] if used is not None else []
        name = bpy.path.basename(facts.opened)
        text = f"{name}: {', '.join(known)}" if known else name
        icon = "RADIOBUT_ON" if here else "RADIOBUT_OFF"
        column.operator(EX4D_OT_show_scene.bl_idname, text=text, icon=icon, depress=here).name = scene.name
    layout.operator(EX4D_OT_new_shot.bl_idname, icon="ADD")


CLASSES = (EX4D_OT_new_shot,)
