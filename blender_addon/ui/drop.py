"""Dropping a video or an image of a sequence into a 3D View."""
# ruff: noqa: N801

from pathlib import Path

import bpy
from bpy.props import CollectionProperty, StringProperty

from ex4d.errors import InputError
from ex4d.storage.names import CLIP_ENDINGS, VIDEO_ENDINGS

from ..translations import told
from ..ui.operator import Safe, linked
from ..work import queue, session

LABEL = "Footage as EX-4D Shot"


class EX4D_OT_drop_footage(Safe):
    """Open the video, or the image sequence that the image belongs to, as a moving mesh"""

    bl_idname = "ex4d.drop_footage"
    bl_label = LABEL
    bl_options = {"REGISTER"}  # noqa: RUF012 - the shot makes its own undo step

    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Open the clip at once, with the panel's settings."""
        return self.execute(context)

    def act(self, context: bpy.types.Context) -> set[str]:
        """Pass the clip to Open Clip, checking first whether that can run, because Blender would not say why not."""
        if why := linked(context.scene):
            raise InputError(f"{why}.")
        now = session.current()
        if not queue.may_open(now.state, now.queue):
            raise InputError(told("EX-4D is busy: wait, or press Cancel, and drop the clip again."))
        clip = str(self.clip())
        try:
            return bpy.ops.ex4d.open_clip("INVOKE_DEFAULT", filepath=clip)
        except RuntimeError as error:  # how Blender passes on the operator's report
            raise InputError(str(error).partition(": ")[2].strip()) from error  # without the translated report type

    def clip(self) -> Path:
        """The clip that was dropped.

        Raises:
            InputError: several clips were dropped, or none.
        """
        found = [Path(self.directory, file.name) for file in self.files if file.name]
        videos = [file for file in found if file.suffix.lower() in VIDEO_ENDINGS]
        if not found or len(videos) > 1 or (videos and len(found) > 1):
            raise InputError(told("Drop one video, or images of one sequence: a shot is made from one clip."))
        return found[0]


class EX4D_FH_footage(bpy.types.FileHandler):
    """Open footage that is dropped into a 3D View; Blender asks first if it could also use the file itself"""

    bl_idname = "EX4D_FH_footage"
    bl_label = LABEL
    bl_import_operator = EX4D_OT_drop_footage.bl_idname
    bl_file_extensions = ";".join((*VIDEO_ENDINGS, *CLIP_ENDINGS))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Needs a 3D View."""
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (EX4D_OT_drop_footage, EX4D_FH_footage)
