"""Operators on the scene around a shot."""
# ruff: noqa: N801, RUF012

import bpy
from bpy.props import EnumProperty, StringProperty

from ex4d.errors import InputError

from ..scene import camera, compat
from ..shot import matching
from ..translations import told
from ..ui.operator import Safe, poll_shot


class EX4D_OT_hide(Safe):
    """Hide the object in viewports and renders; nothing is deleted"""

    bl_idname = "ex4d.hide"
    bl_label = "Hide"

    name: StringProperty(name="Object", description="Name of the object")

    def act(self, context: bpy.types.Context) -> None:
        """Hide it."""
        thing = context.scene.objects.get(self.name)
        if thing is None:
            raise InputError(told("There is no object {name} in the scene.", name=self.name))
        thing.hide_viewport = thing.hide_render = True


class EX4D_OT_match_scene(Safe):
    """Match the scene to the clip"""

    bl_idname = "ex4d.match_scene"
    bl_label = "Match Scene"

    what: EnumProperty(
        name="What",
        description="What to match to the clip",
        items=(
            ("ALL", "All", "Frame range, frame rate, picture size, view transform and camera"),
            ("RATE", "Frame Rate", "Only the frame rate"),
            ("RANGE", "Frame Range", "Only the frame range"),
            ("CAMERA", "Camera", "Only the camera: the chosen camera becomes the scene camera"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Change the scene."""
        scene = context.scene
        if self.what == "RATE":
            matching.set_rate(scene, scene.ex4d.fraction)
        elif self.what == "RANGE":
            matching.set_range(scene)
        elif self.what == "CAMERA":
            scene.camera = camera.path_camera(scene)
        else:
            matching.match_scene(scene)


class EX4D_OT_own_objects_known(Safe):
    """Dismiss the notice that your own objects are not in takes"""

    bl_idname = "ex4d.own_objects_known"
    bl_label = "Got It"

    def act(self, context: bpy.types.Context) -> None:
        """Remember it."""
        context.scene.ex4d.own_objects_told = True


class EX4D_OT_show_scene(Safe):
    """Switch to the scene, in the sequencer too"""

    bl_idname = "ex4d.show_scene"
    bl_label = "Show Scene"
    bl_options = {"REGISTER"}

    name: StringProperty(name="Scene", description="Name of the scene")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a window."""
        return context.window is not None

    def act(self, context: bpy.types.Context) -> None:
        """Show it."""
        scene = bpy.data.scenes.get(self.name)
        if scene is None:
            raise InputError(told("There is no scene {name}: it was renamed or deleted.", name=self.name))
        context.window.scene = scene
        compat.show_in_sequencer(scene, [context.window.workspace])


CLASSES = (
    EX4D_OT_hide,
    EX4D_OT_match_scene,
    EX4D_OT_own_objects_known,
    EX4D_OT_show_scene,
)
