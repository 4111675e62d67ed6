"""Searching for the source camera again."""
# ruff: noqa: N801

import bpy

from ..shot import estimates, found_camera
from ..translations import told, word
from ..ui.operator import Job, poll_idle, poll_shot
from ..work import requests


class EX4D_OT_find_camera(Job):
    """Find how the source camera moved; keyed cameras of the shot follow it"""

    bl_idname = "ex4d.find_camera"
    bl_label = "Find Camera"

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip, with an estimate."""
        facts = context.scene.ex4d
        return f"{word(cls.__doc__)}. {estimates.of_camera(facts).told}" if facts.shot else word(cls.__doc__)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot, and nothing under way."""
        if context.scene.ex4d.motion in ("FILE", "CAMERA"):
            cls.poll_message_set(told("The camera is given: Open Again compares it with the clip"))
            return False
        return poll_shot(cls, context) and poll_idle(cls, context)

    def request(self, context: bpy.types.Context) -> requests.OpenRequest:
        """The request, for the chosen Camera Motion."""
        scene = context.scene
        return found_camera.request(scene, found_camera.MOTIONS.get(scene.ex4d.motion, "auto"))


CLASSES = (EX4D_OT_find_camera,)
