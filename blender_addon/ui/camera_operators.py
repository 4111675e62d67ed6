"""Operators for the chosen camera: presets, camera files, the source view, baking."""
# ruff: noqa: N801, RUF012

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from .. import translations
from ..scene import another_camera, bake, camera, camera_files, pivot
from ..ui import properties
from ..ui.file_name import is_named, named_file
from ..ui.from_schema import from_blender, property_of
from ..ui.operator import Safe, poll_shot
from ..words import count
from ..work import session


class EX4D_OT_camera_preset(Safe):
    """Key the chosen camera with this move, replacing its current keys"""

    bl_idname = "ex4d.camera_preset"
    bl_label = "Add Keys"

    preset: property_of(properties.PATH["cam"], default="30")
    amount: property_of(properties.PATH["amount"])
    rise: property_of(properties.PATH["rise"])
    easing: property_of(properties.PATH["easing"])
    shake: property_of(properties.PATH["shake"])
    shake_seed: property_of(properties.PATH["shake_seed"])
    pivot: properties.pivot_property()
    frames: IntProperty(name="Frames", description="Length of the move; 0 for the length of the clip", min=0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Write the keys."""
        scene = context.scene
        chosen = camera.path_camera(scene)
        amount = from_blender(properties.PATH["amount"], self.amount)
        point = pivot.chosen(scene, self.pivot)
        style = {"easing": self.easing, "shake": self.shake, "shake_seed": self.shake_seed, "pivot": point}
        path = camera.preset_path(scene, self.preset, amount, self.rise, self.frames or None, **style)
        free = chosen.parent is None
        keys = camera.restore(scene, chosen, path)
        also = (
            " " + translations.told("It is now parented to EX-4D Source, so it moves with the shot.")
            if free and chosen.parent
            else ""
        )
        self.tell(
            translations.told("{camera} now has {keys}.", camera=chosen.name, keys=count(len(keys), "key")) + also
        )


class EX4D_OT_import_path(Safe):
    """Write the camera path of a file (.npz, .chan, transforms.json, COLMAP, TUM, ...) as keys of the chosen camera"""

    bl_idname = "ex4d.import_path"
    bl_label = "Import Camera Path"

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=camera_files.FILTER, options={"HIDDEN"})
    world: property_of(properties.PATH["camera_world"], items=camera_files.WORLDS)
    scale: property_of(properties.PATH["camera_scale"])

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Choose a file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def act(self, context: bpy.types.Context) -> None:
        """Write the keys."""
        chosen, file = camera.path_camera(context.scene), Path(bpy.path.abspath(self.filepath))
        scale = from_blender(properties.PATH["camera_scale"], self.scale)
        keys, notes = camera_files.import_path(context.scene, chosen, file, scale, self.world)
        self.tell(
            " ".join(
                [translations.told("{camera} now has {keys}.", camera=chosen.name, keys=count(keys, "key")), *notes]
            )
        )


class EX4D_OT_export_path(Safe):
    """Write the chosen camera, as it moves through the shot, for another program"""

    bl_idname = "ex4d.export_path"
    bl_label = "Export Camera Path"
    bl_options = {"REGISTER"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    format: EnumProperty(name="Format", description="File format to write", items=camera_files.EXPORT_ITEMS)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Choose where to write."""
        self.filepath = self.filepath or camera_files.file_for(Path("camera"), self.format).name
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Give the name the format's extension."""
        self.follow_name()
        if not is_named(self.filepath):
            return False
        named = str(camera_files.file_for(Path(self.filepath), self.format))
        changed, self.filepath = named != self.filepath, named
        return changed

    def act(self, context: bpy.types.Context) -> None:
        """Write it."""
        self.follow_name()
        file = camera_files.file_for(named_file(self.filepath), self.format)
        self.tell(" ".join(camera_files.export_path(context.scene, file, self.format)))

    def follow_name(self) -> None:
        """Take the format from the name's extension until the user chooses one."""
        told = camera_files.format_of_name(Path(self.filepath))
        if told and not self.properties.is_property_set("format"):
            self.format = told


class EX4D_OT_snap_to_source(Safe):
    """Place the chosen camera on the source view, with its lens; an animated camera gets a key"""

    bl_idname = "ex4d.snap_to_source"
    bl_label = "Snap to Source"

    at: EnumProperty(
        name="At",
        description="Frame in which to place the camera",
        items=(
            ("CURRENT", "Current Frame", "The frame that is shown"),
            ("FIRST", "First Frame", "The clip's first frame"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Move the camera."""
        scene = context.scene
        frame = scene.ex4d.start if self.at == "FIRST" else scene.frame_current
        camera.snap_to_source(scene, camera.path_camera(scene), frame)


class EX4D_OT_use_own_camera(Safe):
    """Choose the shot's own camera; if it was deleted, a new one is made at the source view"""

    bl_idname = "ex4d.use_own_camera"
    bl_label = "Use the EX-4D Camera"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Choose it."""
        camera.choose(context.scene, camera.own_camera(context.scene))


class EX4D_OT_new_camera(Safe):
    """Add a camera to this shot where the chosen one is, without its keys, and choose it; the old camera stays"""

    bl_idname = "ex4d.new_camera"
    bl_label = "New Camera"

    at: EnumProperty(
        name="At",
        description="Where to place the new camera in the current frame",
        items=(
            ("CHOSEN", "Chosen Camera", "Where the chosen camera is, with its lens"),
            ("SOURCE", "Source View", "Where the clip's own camera is, with its lens"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Make it."""
        made = another_camera.make(context.scene, self.at == "SOURCE")
        self.tell(translations.told("{camera} is chosen. Takes are made with it from now on.", camera=made.name))


class EX4D_OT_bake_camera(Safe):
    """Bake the chosen camera's motion to keys on a new camera and choose it; the old camera stays"""

    bl_idname = "ex4d.bake_camera"
    bl_label = "Bake to New Camera"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Make it."""
        before = camera.path_camera(context.scene)
        made = bake.bake(context.scene)
        self.tell(
            translations.told(
                "{camera} is chosen. It has only keys, and moves as {other} did.", camera=made.name, other=before.name
            )
        )


class EX4D_OT_check_path(Safe):
    """Evaluate the chosen camera in every frame, to see whether it starts at the source view and moves at all"""

    bl_idname = "ex4d.check_path"
    bl_label = "Check Path"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Evaluate it."""
        session.current().paths.evaluate(context.scene)


CLASSES = (
    EX4D_OT_camera_preset,
    EX4D_OT_import_path,
    EX4D_OT_export_path,
    EX4D_OT_snap_to_source,
    EX4D_OT_use_own_camera,
    EX4D_OT_new_camera,
    EX4D_OT_bake_camera,
    EX4D_OT_check_path,
)
