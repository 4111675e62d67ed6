"""Export Shot: camera and mesh for other programs."""
# ruff: noqa: N801, RUF012

import time
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..scene import interchange, mesh_object
from ..shot import estimates
from ..translations import told
from ..ui.estimate import draw_estimate
from ..ui.file_name import is_named, named_file
from ..ui.operator import Safe, poll_shot
from ..words import size
from ..work import pace, session


class EX4D_OT_export_shot(Safe):
    """Write the chosen camera and the mesh, as they move through the shot, as Alembic or USD for another program"""

    bl_idname = "ex4d.export_shot"
    bl_label = "Export Shot"
    bl_options = {"REGISTER"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=interchange.FILTER, options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    format: EnumProperty(name="Format", description="File format to write", items=interchange.ITEMS)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Choose where to write."""
        self.filepath = self.filepath or interchange.file_for(Path(context.scene.ex4d.shot), self.format).name
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Give the name the format's extension."""
        if not is_named(self.filepath):
            return False
        named = str(interchange.file_for(Path(self.filepath), self.format))
        changed, self.filepath = named != self.filepath, named
        return changed

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the format, and an estimate or the reason why it cannot be written."""
        self.layout.prop(self, "format")
        if interchange.is_built_in(self.format):
            estimate = estimates.of_export(context.scene, self.format)
            if estimate.is_worth_telling:
                draw_estimate(self.layout, estimate)
            else:
                self.layout.label(text=told("About {size}", size=size(interchange.expected_bytes(context.scene))))
        else:
            self.layout.label(text="This Blender was built without this format", icon="ERROR")

    def act(self, context: bpy.types.Context) -> None:
        """Write the file. If no format was chosen, the name's extension determines it."""
        file = named_file(self.filepath)
        if not self.properties.is_property_set("format"):
            self.format = interchange.format_of_name(file) or self.format
        target, began = interchange.file_for(file, self.format), time.monotonic()
        said = interchange.write(context.scene, target, self.format)
        took, kind = time.monotonic() - began, pace.kind_of_export(self.format)
        points = mesh_object.points(context.scene)
        session.current().learning.learn_here(kind, took, points, target.stat().st_size)
        self.tell(said)


CLASSES = (EX4D_OT_export_shot,)
