"""Export Shot: camera and mesh for the next program."""
# ruff: noqa: N801, RUF012

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..scene import interchange
from ..ui.file_name import is_named, named_file
from ..ui.operator import Safe, poll_shot
from ..words import size


class EX4D_OT_export_shot(Safe):
    """Write the chosen camera and the mesh, as they move through the shot, as Alembic or USD for another program"""

    bl_idname = "ex4d.export_shot"
    bl_label = "Export Shot"
    bl_options = {"REGISTER"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=interchange.FILTER, options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    format: EnumProperty(name="Format", description="Kind of file to write", items=interchange.ITEMS)

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
        """Let the name end as the format's do."""
        if not is_named(self.filepath):
            return False
        named = str(interchange.file_for(Path(self.filepath), self.format))
        changed, self.filepath = named != self.filepath, named
        return changed

    def draw(self, context: bpy.types.Context) -> None:
        """The format, how large the file will be, and what is missing."""
        self.layout.prop(self, "format")
        if interchange.is_built_in(self.format):
            self.layout.label(text=f"About {size(interchange.expected_bytes(context.scene))}")
        else:
            self.layout.label(text="This Blender was built without this format", icon="ERROR")

    def act(self, context: bpy.types.Context) -> None:
        """Write it. As long as nobody has chosen a format, the ending of the name tells it."""
        file = named_file(self.filepath)
        if not self.properties.is_property_set("format"):
            self.format = interchange.format_of_name(file) or self.format
        self.tell(interchange.write(context.scene, interchange.file_for(file, self.format), self.format))


CLASSES = (EX4D_OT_export_shot,)
