"""The panel with the disk space of the shot, and the button that removes unused files."""
# ruff: noqa: N801

from pathlib import Path

import bpy

from ex4d.errors import InputError

from ..shot import disk, files
from ..translations import told
from ..ui.operator import Safe, poll_shot
from ..words import count, size


class EX4D_OT_clean(Safe):
    """Remove files of earlier openings of the clip that this .blend no longer uses; all takes stay"""

    bl_idname = "ex4d.clean"
    bl_label = "Clean"
    bl_options = {"REGISTER"}  # noqa: RUF012 - no undo brings files back

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for confirmation."""
        return context.window_manager.invoke_confirm(self, event, title="Clean", message=question(context.scene))

    def act(self, context: bpy.types.Context) -> None:
        """Remove them."""
        if disk.use(context.scene) is None:
            raise InputError(told("The folder of the shot is gone: there is nothing to clean."))
        freed = disk.clean(context.scene)
        self.tell(told("Removed {freed}. Earlier openings had left it; all takes are still there.", freed=size(freed)))


def question(scene: bpy.types.Scene) -> str:
    """The question to confirm before anything is removed."""
    found = disk.look(scene)
    text = told(
        "Remove {files} left by earlier openings ({size})?",
        files=count(len(found.unused), "file"),
        size=size(found.unused_bytes),
    )
    text += " " + told("Takes stay. Undo will not bring the files back.")
    blend = Path(bpy.data.filepath)
    others = [file for file in blend.parent.glob("*.blend") if file != blend] if bpy.data.filepath else []
    return text + (
        " " + told("{others} in the same folder may still use them.", others=others[0].name) if others else ""
    )


def draw_disk(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw the disk space of the shot, and Clean if there is something to remove."""
    found = disk.use(context.scene)
    if found is None:
        layout.label(text="The shot's folder is gone", icon="ERROR")
        return
    column = layout.column(align=True)
    column.label(text=told("{total} in all", total=size(found.total)), icon="DISK_DRIVE")
    column.label(text=told("{takes} of takes and views", takes=size(found.takes)), icon="BLANK1")
    if found.unused:
        layout.operator(
            EX4D_OT_clean.bl_idname, text=told("Clean ({size})", size=size(found.unused_bytes)), icon="TRASH"
        )


def draw_unsaved(layout: bpy.types.UILayout) -> None:
    """Draw the disk space of shots of unsaved files, with a button that opens their folder, if there are any."""
    bytes_ = disk.unsaved()
    if not bytes_:
        return
    row = layout.row()
    row.label(text=told("Shots of unsaved files: {bytes}", bytes=size(bytes_)), icon="DISK_DRIVE")
    row.operator("wm.path_open", text="Open Folder", icon="FILE_FOLDER").filepath = str(files.user_shots())


CLASSES = (EX4D_OT_clean,)
