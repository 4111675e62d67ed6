"""Operators that open a clip, open it again, and set its scale."""
# ruff: noqa: N801

from dataclasses import replace
from pathlib import Path

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, StringProperty

from ex4d.errors import InputError
from ex4d.geometry.presets import RELEASE_FRAMES
from ex4d.storage.names import CLIP_ENDINGS, VIDEO_ENDINGS
from ex4d.storage.sequence import clip_at

from ..shot import asking, estimates, part, source
from ..translations import told, word
from ..ui import properties
from ..ui.from_schema import from_blender, property_of
from ..ui.open_dialog import draw_open_dialog
from ..ui.operator import Job, Safe, poll_open, poll_shot
from ..work import requests


class OpensClip(Job):
    """Base of operators that open a clip in a file dialog; Blender cannot register subclasses of registered classes."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a scene of this file, and nothing under way except a camera search, which is then cancelled."""
        return poll_open(cls, context)

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(
        default=";".join(f"*{ending}" for ending in (*VIDEO_ENDINGS, *CLIP_ENDINGS)), options={"HIDDEN"}
    )
    depth: StringProperty(
        name="Depth File",
        description="An .npz or .npy file, a folder of EXR or grey PNG images, or a grey video; leave empty to use"
        " the one next to the clip",
        options={"SKIP_SAVE"},
    )
    first_frame: IntProperty(
        name="First Frame", description="First frame of the clip to use, counted from 1", min=1, default=1
    )
    frames: property_of(properties.SOURCE["frames"], default=RELEASE_FRAMES)
    step: property_of(properties.SOURCE["step"])
    fps: property_of(properties.SOURCE["fps"])
    gaps: property_of(properties.SOURCE["gaps"])
    longest_side: properties.longest_side_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for a file, unless the panel has passed one."""
        self.from_panel = True
        if self.filepath:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings, and what they mean for the chosen file."""
        draw_open_dialog(self, context)

    def request(self, context: bpy.types.Context) -> requests.OpenRequest:
        """The request, with the 3D View that it comes from."""
        is_view = context.area is not None and context.area.type == "VIEW_3D"
        return replace(self.request_in(context.scene), viewport=context.area.as_pointer() if is_view else 0)

    @property
    def clip(self) -> Path:
        """The chosen clip.

        Raises:
            InputError: none is chosen.
        """
        clip = Path(bpy.path.abspath(self.filepath))
        if not clip.name:
            raise InputError(told("No clip is chosen: choose a video file or a folder of images."))
        return clip_at(clip)

    def request_in(self, scene: bpy.types.Scene) -> requests.OpenRequest:
        """The request for a scene."""
        return asking.request_open(
            scene,
            self.clip,
            str(Path(bpy.path.abspath(self.depth))) if self.depth else "",
            self.first_frame - 1,
            from_blender(properties.SOURCE["frames"], self.frames),
            from_blender(properties.SOURCE["longest_side"], self.longest_side),
            self.step,
            from_blender(properties.SOURCE["fps"], self.fps),
            self.gaps,
        )


class EX4D_OT_open_clip(OpensClip):
    """Open a video or an image sequence as a moving mesh"""

    bl_idname = "ex4d.open_clip"
    bl_label = "Open Clip"


class EX4D_OT_open_again(Job):
    """Open the clip again with the current settings, frames and size; camera, keys, takes and strips stay"""

    bl_idname = "ex4d.open_again"
    bl_label = "Open Again"

    estimate: BoolProperty(
        name="Estimate Again",
        description="Estimate the depth again, even if it is already known",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip, with an estimate."""
        facts = context.scene.ex4d
        if not facts.shot or not part.is_known(facts):
            return word(cls.__doc__)
        return f"{word(cls.__doc__)}. {estimates.of_part(facts, part.asked(facts), properties.estimate).told}"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot, and nothing under way."""
        return poll_shot(cls, context) and poll_open(cls, context)

    def request(self, context: bpy.types.Context) -> requests.OpenRequest:
        """Read the settings."""
        return asking.request_again(context.scene, self.estimate)


class EX4D_OT_set_scale(Safe):
    """Scale the shot so that the point at the 3D cursor is Known Distance away from the source camera"""

    bl_idname = "ex4d.set_scale"
    bl_label = "Set Scale"

    distance: FloatProperty(
        name="Distance", description="Distance from the source camera", min=1e-3, default=1.0, unit="LENGTH"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Scale it."""
        factor = source.set_scale(context.scene, self.distance)
        self.tell(told("The shot is now {factor:.4g} times as large.", factor=factor))


CLASSES = (
    EX4D_OT_open_clip,
    EX4D_OT_open_again,
    EX4D_OT_set_scale,
)
