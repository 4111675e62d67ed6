"""The operator that finds a clip that was moved."""
# ruff: noqa: N801

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ex4d.errors import InputError
from ex4d.storage.sequence import clip_at

from ..translations import told
from ..ui.operator import Job, poll_idle, poll_shot
from ..work import requests, session, state


class EX4D_OT_find_clip(Job):
    """Choose the clip's new location; its content is compared with that of the opened clip"""

    bl_idname = "ex4d.find_clip"
    bl_label = "Find Clip..."

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot, and nothing under way."""
        return poll_shot(cls, context) and poll_idle(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for a file."""
        self.from_panel = True
        self.filepath = context.scene.ex4d.opened
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def begin(self, context: bpy.types.Context) -> None:
        """Start reading the file, which needs no server."""
        if not self.filepath:
            raise InputError(told("No clip is chosen: choose the file or the folder that was moved."))
        clip = clip_at(Path(bpy.path.abspath(self.filepath)))
        scene = context.scene
        request = requests.FindRequest(scene.name, scene.ex4d.shot, str(clip), scene.session_uid)
        session.current().dispatch(state.Pressed(request))


CLASSES = (EX4D_OT_find_clip,)
