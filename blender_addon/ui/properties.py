"""What a scene stores (`scene.ex4d`). Everything else is looked up each time, because undo invalidates references."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ex4d.geometry.presets import usual_amount
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.schema import describe

from ..scene import compat, pivot
from ..shot import compare, matching
from ..shot.facts import ShotFacts
from ..work import capabilities, session
from ..work.memory import JobMemory
from .earlier import earlier_property
from .from_schema import property_of
from .names import choice_by_name

SOURCE = {setting.name: setting for setting in describe(SourceSettings)}
PATH = {setting.name: setting for setting in describe(PathSettings)}
RENDER = {setting.name: setting for setting in describe(RenderSettings)}
GENERATE = {setting.name: setting for setting in describe(GenerateSettings)}
"""The settings by name, whose descriptions determine what Blender draws."""

UNIT_ITEMS = (
    ("as_it_is", "As It Is", "Use the numbers as they are; 16-bit PNG images are in millimetres"),
    ("m", "Metres", "Stored in metres"),
    ("cm", "Centimetres", "Stored in centimetres"),
    ("mm", "Millimetres", "Stored in millimetres"),
    ("other", "Other", "Enter the metres per stored unit"),
)
"""Choices for the schema's text setting `depth_unit`; Other adds a number."""

MOTION_ITEMS = (
    ("FOUND", "Found", "Find the motion from the clip once it is open; a camera that stood still is recognised", 3),
    ("STILL", "Still", "The camera did not move while it shot the clip", 0),
    ("TRIPOD", "Tripod", "The camera turned in place; find its rotation from the clip", 4),
    ("CAMERA", "From Camera", "Follow a camera in the scene, such as one from Blender's motion tracker", 2),
    ("FILE", "From File", "Read one pose per frame from a file, such as a solver's export", 1),
)
"""Files store the numbers; those up to 2 date from before the camera search existed."""

AGAINST_ITEMS = (
    ("SOURCE", "Clip", "The open frames of the clip"),
    ("VIEW", "Path Preview", "The latest result of Preview Path"),
    ("BOTH", "Clip and Path Preview", "The clip and the path preview, side by side"),
    ("STARRED", "Starred Take", "The last starred take in the list"),
)

OF_ONE_CLIP = (
    "depth_path",
    "depth_unit",
    "depth_metres",
    "depth_convention",
    "depth_distance",
    "depth_channel",
    "field_of_view",
    "motion",
    "motion_path",
    "tracked_camera",
    "motion_scale",
    "depth_detail",
    "moving_path",
    "zooms",
    "steady_depth",
    "depth_edges",
    "moving_mask",
)
"""Settings that apply to a single clip."""

OF_THE_CAMERA = ("motion", "motion_path", "tracked_camera", "motion_scale", "moving_path", "zooms", "moving_mask")
"""The ones of those that do not affect the depth."""

POINTERS = {"tracked_camera": "objects", "moving_mask": "masks"}
"""The ones of those that are data-blocks, with their collections in `bpy.data`; plain settings hold their names."""


def longest_side_property() -> Any:
    """The size of the working picture, for the panel and the dialog; here 0 is not the default."""
    setting = SOURCE["longest_side"]
    return property_of(setting, description=f"{setting.help}; 0: the clip's own size ({setting.unit})")


def pivot_property() -> Any:
    """The presets' pivot, for the panel and the operator."""
    return EnumProperty(
        name="Pivot", description="Point that the camera turns around or moves towards", items=pivot.ITEMS
    )


def _take_usual_amount(chosen: "TakeChoices", context: bpy.types.Context) -> None:
    chosen.amount = usual_amount(chosen.preset)


def _follow_result_size(chosen: "TakeChoices", context: bpy.types.Context) -> None:
    if chosen.shot:
        matching.follow_result_size(chosen.id_data)


def _redraw_views(chosen: "TakeChoices", context: bpy.types.Context) -> None:
    session.redraw("VIEW_3D")


def _is_other_camera(scene_facts: "EX4DScene", candidate: bpy.types.Object) -> bool:
    return candidate.type == "CAMERA" and "ex4d_role" not in candidate


def _is_path_camera(scene_facts: "EX4DScene", candidate: bpy.types.Object) -> bool:
    return candidate.type == "CAMERA" and candidate.get("ex4d_role") != "source_camera"


def _estimators() -> list[capabilities.Info]:
    known = session.current().capabilities
    return list(known.estimators) if known is not None else []


def _generators() -> list[capabilities.Info]:
    known = session.current().capabilities
    return list(known.generators) if known is not None else []


class ClipChoices:
    """Properties of `scene.ex4d` with the artist's choices for opening a clip."""

    clip_path: StringProperty(
        name="Clip",
        description="Video file or folder of images chosen most recently",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )
    aside: StringProperty(
        name="Put Aside",
        description="Settings from before another clip was chosen, and those to open that clip with, in JSON",
    )
    part_first: IntProperty(
        name="First Frame", description="First frame of the clip to use, counted from 1", min=1, default=1
    )
    part_frames: IntProperty(name="Frames", description="Number of frames to use, up to the length of the clip", min=0)
    part_side: longest_side_property()
    detail: EnumProperty(
        name="Viewport Detail",
        description="Resolution of the mesh in the viewport; takes always use the full depth",
        items=(
            ("LIGHT", "Light", "About 256 points across: plays smoothly and takes little disk space"),
            ("MEDIUM", "Medium", "About 512 points across"),
            ("FULL", "Full", "One point per pixel, as takes are rendered: slow to play and large on disk"),
        ),
    )
    match_scene: BoolProperty(
        name="Match Scene",
        description="Match the scene's frame range, frame rate, picture size and colours to the clip, and show the"
        " footage in the 3D Views of this workspace; if off, the scene and its views keep their settings,"
        " and only an earlier shot in the scene is hidden",
        default=True,
    )
    estimator_name: StringProperty(name="Depth", default=capabilities.AUTO)
    estimator: choice_by_name(
        SOURCE["estimator"],
        "estimator_name",
        (
            ("auto", "Best Available", "The depth file of the clip, otherwise the best estimator that can run"),
            ("file", "Depth File", "An .npz or .npy file, a folder of EXR or grey PNG images, or a grey video"),
        ),
        _estimators,
    )
    depth_path: StringProperty(
        name="Depth File",
        description="Depth of the clip as .npz or .npy, a folder of EXR or grey PNG images, or a grey video; leave"
        " empty to use the one next to the clip",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )
    depth_unit: EnumProperty(name=SOURCE["depth_unit"].label, description="Unit of the depth file", items=UNIT_ITEMS)
    depth_metres: FloatProperty(name="Metres", description="Metres per stored unit", default=1.0, min=1e-9, precision=5)
    depth_convention: property_of(SOURCE["depth_convention"])
    depth_distance: property_of(SOURCE["depth_distance"])
    depth_channel: property_of(SOURCE["depth_channel"])
    depth_detail: property_of(SOURCE["depth_detail"])
    depth_edges: property_of(SOURCE["depth_edges"])
    field_of_view: property_of(SOURCE["field_of_view"], precision=1)
    motion: EnumProperty(
        name="Camera Motion",
        description="How the source camera moved while it shot the clip",
        items=MOTION_ITEMS,
        default="FOUND",
    )
    moving_path: StringProperty(
        name="Mask of What Moves",
        description="Mask of moving things (white), left out when the camera is found or compared with the clip: a"
        " video, a folder of images, or a single image; leave empty to find moving things automatically",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )
    moving_mask: PointerProperty(
        type=bpy.types.Mask,
        name="Drawn Mask",
        description="Mask of moving things, drawn over the clip in the Clip Editor or the Image Editor; what it"
        " covers is left out when the camera is found or compared with the clip. Takes precedence over the file",
    )
    zooms: property_of(SOURCE["zooms"])
    steady_depth: property_of(SOURCE["steady_depth"])
    motion_path: StringProperty(
        name="Camera File",
        description="File with the source camera's pose in each frame: .npz, .chan, transforms.json, TUM, KITTI,"
        " RealEstate10K, or images.txt of a COLMAP model",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )
    tracked_camera: PointerProperty(
        type=bpy.types.Object,
        name="Tracked Camera",
        description="Camera in the scene that moves as the source camera did",
        poll=_is_other_camera,
    )
    motion_scale: property_of(SOURCE["camera_scale"])
    known_distance: FloatProperty(
        name="Known Distance",
        description="True distance from the source camera to the point at the 3D cursor",
        default=1.0,
        min=1e-3,
        unit="LENGTH",
        subtype="DISTANCE",
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine how a clip is opened, in plain JSON; the tracked camera only if it is used."""
        plain = {"estimator": self.estimator_name, **{name: getattr(self, name) for name in OF_ONE_CLIP}}
        plain |= {name: plain[name].name if plain[name] is not None else "" for name in POINTERS}
        return plain if self.motion == "CAMERA" else {**plain, "tracked_camera": ""}

    @property
    def settings_of_new_clip(self) -> dict[str, Any]:
        """The defaults of `settings` for the names in `OF_ONE_CLIP`."""
        known = self.bl_rna.properties
        return {name: "" if name in POINTERS else known[name].default for name in OF_ONE_CLIP}

    @property
    def depth_has_changed(self) -> bool:
        """Whether settings that affect the depth differ from those that the shot was made with."""
        now = self.settings
        then = {**self.settings_of_new_clip, **dict(zip(now, json.loads(self.asked or "[]"), strict=False))}
        return any(value != then.get(name) for name, value in now.items() if name not in OF_THE_CAMERA)

    def take_settings(self, before: Mapping[str, Any], values: Sequence[Any]) -> None:
        """Adopt these values of `settings` where the current ones are still as in `before`."""
        now = self.settings
        for name, value in zip(now, values, strict=False):
            if name in OF_ONE_CLIP and name in before and now[name] == before[name]:
                there = getattr(bpy.data, POINTERS[name]).get(value) if name in POINTERS else value
                setattr(self, name, there)

    @property
    def uses_depth_file(self) -> bool:
        """Whether the depth is read from a file, as far as can be told without reading the disk."""
        if self.estimator_name == capabilities.AUTO:
            return bool(self.depth_path or self.depth_found)
        return self.estimator_name == capabilities.FILE


class TakeChoices:
    """Properties of `scene.ex4d` with the artist's choices for takes."""

    camera: PointerProperty(
        type=bpy.types.Object,
        name="Camera",
        description="Camera to shoot the take with; any perspective camera will do",
        poll=_is_path_camera,
    )
    # The schema's default matches the release; here the default is the gentlest preset and its amount.
    preset: property_of(PATH["cam"], default="30", update=_take_usual_amount)
    amount: property_of(PATH["amount"], default=30.0, soft_min=0.0, soft_max=180.0)
    rise: property_of(PATH["rise"], soft_min=-1.0, soft_max=1.0)
    easing: property_of(PATH["easing"])
    shake: property_of(PATH["shake"], soft_max=5.0)
    shake_seed: property_of(PATH["shake_seed"])
    show_coverage: BoolProperty(
        name="Live Coverage",
        description="While you look through the camera, show what has to be invented, both in the current frame and as"
        " a share of each frame along the path; uses one CPU core of the server's machine",
        default=True,
        update=_redraw_views,
    )
    coverage_strength: FloatProperty(
        name="Tint",
        description="How strongly Live Coverage tints what has to be invented",
        default=0.6,
        min=0.05,
        max=1.0,
        subtype="FACTOR",
        update=_redraw_views,
    )
    pivot: pivot_property()
    own_objects_told: BoolProperty(
        name="Own Objects Dismissed", description="The notice that your own objects are not in takes was dismissed"
    )
    cg: StringProperty(name="CG", description="Changes made by Set Up CG, in JSON; empty if CG is not set up")
    generator_name: StringProperty(name="Generator", default=capabilities.AUTO)
    generator: choice_by_name(
        GENERATE["generator"],
        "generator_name",
        (("auto", "Best Available", "The best generator that the server can run"),),
        _generators,
    )
    options: StringProperty(
        name="Options", description="Settings of each generator by its name, in JSON; see blender_addon/shot/options.py"
    )
    seed: property_of(GENERATE["seed"])
    variations: IntProperty(
        name="Number",
        description="Number of takes to make, each with the next seed",
        default=4,
        min=2,
        max=64,
    )
    keep_source: property_of(GENERATE["keep_source"])
    lead_in: property_of(GENERATE["lead_in"])
    result_size: property_of(GENERATE["result_size"], update=_follow_result_size)
    master: property_of(GENERATE["master"])
    persistence: property_of(RENDER["persistence"])
    earlier_take: StringProperty(
        name="Earlier Take", description="Shot and number of the chosen take; empty if none is chosen"
    )
    earlier: earlier_property()
    plate_path: StringProperty(
        name="Clean Plate",
        description="Second clip or still of the same place, shot with the same lens, to fill what no frame of the"
        " clip saw: a video, a folder of images, or a single image",
        subtype="FILE_PATH",
        options=compat.path_options(),
    )


class EX4DTake(bpy.types.PropertyGroup):
    """A listed result; its files are in the shot's folder, in takes/take_<number> or views/view_<number>."""

    number: IntProperty(name="Number")
    start: IntProperty(name="Start", description="First frame of the clip that the take shows, counted from 0")
    frames: IntProperty(name="Frames", description="Length of the take; 0 if it is as long as the clip")
    pixels: IntProperty(
        name="Pixels",
        description="Number of pixels in a frame of the video; 0 if it has the size of the working picture",
    )
    moved: StringProperty(
        name="Moved",
        description="Pose of the world that the take was made in, relative to the shot's current world,"
        " in JSON; empty if they coincide",
    )
    view: BoolProperty(name="Path Preview", description="Made by Preview Path")
    title: StringProperty(name="Title", description="Name in the list; the strip and the folder keep their own names")
    note: StringProperty(name="Note", description="Your notes on the take")
    favourite: BoolProperty(name="Favourite", description="Star this take")
    camera: StringProperty(name="Camera", description="Name that the camera had when the take was made")
    made: StringProperty(name="Made By", description="Generator and settings used to make the take")
    generator: StringProperty(name="Generator", description="Name of the generator; empty for a path preview")
    quality: StringProperty(name="Quality", description="Quality of the take, if its generator has such a setting")


class EX4DScene(ShotFacts, ClipChoices, TakeChoices, JobMemory, bpy.types.PropertyGroup):
    """The shot of one scene (`scene.ex4d`).

    Files saved by version 0.1 use other names for anything that depends on the server, see `shot/from_0_1.py`.
    """

    version: IntProperty(name="Version", description="Version of the stored data; 0 for EX-4D 0.1")
    takes: CollectionProperty(type=EX4DTake)
    take_index: IntProperty(name="Active Take")

    @property
    def active_take(self) -> EX4DTake | None:
        """The take or path preview chosen in the list; None if there is none."""
        return self.takes[self.take_index] if 0 <= self.take_index < len(self.takes) else None

    compare_with: EnumProperty(
        name="Compare With",
        description="What to show next to the active take in Wipe and Side by Side",
        items=AGAINST_ITEMS,
    )
    wipe: FloatProperty(
        name="Wipe",
        description="Position of the dividing line: 0 shows only the take, 1 only what it is compared with",
        default=0.5,
        min=0,
        max=1,
        subtype="FACTOR",
        options=set(),
        update=lambda facts, context: compare.place(facts.id_data),
    )
