"""What a scene remembers about its shot. Everything else is looked up again, for undo frees all references."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)
from numpy.typing import NDArray

from ..shot import files

PRESET_ITEMS = (
    ("30", "Orbit 30°", "Swing 30 degrees around what stands nearest"),
    ("60", "Orbit 60°", "Swing 60 degrees around what stands nearest"),
    ("90", "Orbit 90°", "Swing 90 degrees around what stands nearest"),
    ("180", "Swing 180°", "Swing to one side, back, to the other side and back"),
    ("zoom_in", "Zoom In", "Move straight towards what stands nearest"),
    ("zoom_out", "Zoom Out", "Move straight back"),
)

GENERATOR_ITEMS = (
    ("auto", "Best Available", "The EX-4D model where the server can run it, the preview elsewhere"),
    ("preview", "Preview", "Fill holes from other frames and by classical inpainting, in seconds"),
    ("wan", "EX-4D Model", "Wan2.1-I2V-14B with the EX-4D adapter; refused where the server cannot run it"),
)

QUALITY_ITEMS = (
    ("final", "Final", "As released: 25 steps with guidance"),
    ("balanced", "Balanced", "A third of the time: 8-bit products, guidance on a part of the steps, steps left out"),
    ("draft", "Draft", "To judge a move: 4 steps, no guidance, 8-bit products; details are soft or wrong"),
)

MODEL_SIZE_ITEMS = (
    ("512x512", "512 x 512", "About so many pixels has a picture in the model, with the clip's aspect"),
    ("832x480", "832 x 480", "Half as many again; takes about twice the time"),
)

ESTIMATOR_ITEMS = (
    (
        "auto",
        "Best Available",
        "The depth file of the clip, else Video-Depth-Anything, else a guess; the notes say which",
    ),
    ("file", "Depth File", "An .npz file, or a folder of PNG or EXR pictures"),
    ("video-depth-anything", "Video-Depth-Anything", "A model for videos, steady in time; free for any use"),
    ("depthcrafter", "DepthCrafter", "The depth of EX-4D's release; for research only"),
    ("plane", "Ground Plane", "A guess without a depth model: ground plane and parallax only"),
)

UNIT_ITEMS = (
    ("as_it_is", "As It Is", "Take the numbers as they are; PNG pictures are in millimetres"),
    ("m", "Metres", "A stored 1 is a metre"),
    ("cm", "Centimetres", "A stored 1 is a centimetre"),
    ("mm", "Millimetres", "A stored 1 is a millimetre"),
    ("other", "Other", "Say how many metres a stored 1 is"),
)

CONVENTION_ITEMS = (
    ("depth", "Distance", "Larger is farther"),
    ("inverse", "1 / Distance", "0 is infinitely far"),
    ("disparity", "Relative Disparity", "Larger is nearer, by an unknown scale and shift, as most estimators write"),
)

DISTANCE_ITEMS = (
    ("planar", "Along the Axis", "Measured along the camera's optical axis, as renderers' depth passes are"),
    ("ray", "Straight to the Camera", "Measured along the ray to each point, as by a laser scanner"),
)

MOTION_ITEMS = (
    ("STILL", "Still", "The camera did not move while it shot the clip"),
    ("FILE", "From File", "One pose for each frame from an .npz file"),
    ("CAMERA", "Tracked Camera", "As a camera of the scene moves, such as one that Blender's tracker solved"),
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
)
"""Settings that say something about one clip and nothing about another."""

USUAL_AMOUNT = {"30": 30.0, "60": 60.0, "90": 90.0, "180": 45.0, "zoom_in": 0.5, "zoom_out": 0.5}


def count(number: int, word: str) -> str:
    """`number` of what `word` names, as people say it."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _take_usual_amount(facts: "EX4DScene", context: bpy.types.Context) -> None:
    facts.amount = USUAL_AMOUNT[facts.preset]


def _is_other_camera(scene_facts: "EX4DScene", candidate: bpy.types.Object) -> bool:
    return candidate.type == "CAMERA" and "ex4d_role" not in candidate


def _is_path_camera(scene_facts: "EX4DScene", candidate: bpy.types.Object) -> bool:
    return candidate.type == "CAMERA" and candidate.get("ex4d_role") != "source_camera"


class EX4DTake(bpy.types.PropertyGroup):
    """One result in the list; its files lie in the shot's folder, takes/take_<number> or views/view_<number>."""

    number: IntProperty(name="Number")
    view: BoolProperty(name="View", description="Made by Preview Path")
    title: StringProperty(name="Title")
    made: StringProperty(name="Made By", description="Generator and settings that made it")


class EX4DScene(bpy.types.PropertyGroup):
    """The shot of one scene (`scene.ex4d`)."""

    shot: StringProperty(name="Shot", description="Name of the shot's folder; empty without a shot")
    image: PointerProperty(type=bpy.types.Image, name="Source Movie")
    source: StringProperty(name="Source", description="The source as the server knows it, in JSON")
    inputs: StringProperty(name="Inputs", description="Where the source's files are by hash, in JSON")
    clip_path: StringProperty(
        name="Clip", description="Video file or folder of pictures that was asked for last", subtype="FILE_PATH"
    )
    opened: StringProperty(name="Opened", description="The clip that the shot was made from", subtype="FILE_PATH")
    asked: StringProperty(name="Asked", description="The settings that the shot was made with, in JSON")
    aside: StringProperty(
        name="Put Aside",
        description="Settings as they were when another clip was first asked for, and those to open it with, in JSON",
    )
    depth_found: StringProperty(name="Depth Found", description="The depth file that was used; empty without one")
    depth_made: StringProperty(name="Depth Made", description="Provider, scale and licence of the depth, in JSON")

    estimator: EnumProperty(name="Depth", description="Where the depth comes from", items=ESTIMATOR_ITEMS)
    depth_path: StringProperty(
        name="Depth File",
        description="Depth of the clip as an .npz file or a folder of PNG or EXR pictures;"
        " empty: the one beside the clip",
        subtype="FILE_PATH",
    )
    depth_unit: EnumProperty(name="Unit", description="What a stored 1 is", items=UNIT_ITEMS)
    depth_metres: FloatProperty(
        name="Metres", description="How many metres a stored 1 is", default=1.0, min=1e-9, precision=5
    )
    depth_convention: EnumProperty(name="Values", description="What the numbers stand for", items=CONVENTION_ITEMS)
    depth_distance: EnumProperty(name="Measured", description="Which distance it is", items=DISTANCE_ITEMS)
    depth_channel: StringProperty(
        name="Channel", description="Of EXR pictures, the channel's name or its end; empty where it is clear"
    )
    field_of_view: FloatProperty(
        name="Field of View",
        description="Degrees that the clip's picture is wide; 0 takes what depth, estimator or tracked camera say",
        min=0.0,
        max=170.0,
        precision=1,
    )
    motion: EnumProperty(
        name="Camera Motion", description="How the clip's own camera moved while it shot", items=MOTION_ITEMS
    )
    motion_path: StringProperty(
        name="Camera File", description="An .npz file with one pose for each frame", subtype="FILE_PATH"
    )
    tracked_camera: PointerProperty(
        type=bpy.types.Object,
        name="Tracked Camera",
        description="A camera of the scene that moves as the clip's own camera did",
        poll=_is_other_camera,
    )
    known_distance: FloatProperty(
        name="Known Distance",
        description="How far from the source camera the thing really is that the 3D cursor marks",
        default=1.0,
        min=1e-3,
        unit="LENGTH",
        subtype="DISTANCE",
    )
    match_scene: BoolProperty(
        name="Match Scene",
        description="Give the scene the clip's frame range, frame rate and picture size",
        default=True,
    )
    width: IntProperty(name="Width")
    height: IntProperty(name="Height")
    frames: IntProperty(name="Frames")
    start: IntProperty(name="Start", description="Scene frame of the clip's first frame")
    rate: StringProperty(name="Frame Rate", description="Frames a second of the clip, as a fraction")
    lens: StringProperty(name="Lens", description="Intrinsics of the clip's first frame, in JSON")
    zoom: StringProperty(name="Zoom", description="Intrinsics of every frame, in JSON; empty where they are the same")
    path: StringProperty(
        name="Source Path", description="Poses of the clip's own camera, in JSON; empty where it stands still"
    )
    radius: FloatProperty(name="Radius", description="Distance to the point that presets turn about")
    reach: FloatProperty(name="Reach", description="How far from its origin the shot reaches")
    notes: StringProperty(name="Notes", description="What the server had to say about the clip")

    camera: PointerProperty(
        type=bpy.types.Object,
        name="Camera",
        description="The camera that the shot is taken with again; any perspective camera will do",
        poll=_is_path_camera,
    )
    preset: EnumProperty(
        name="Preset", description="Camera move to write as keys", items=PRESET_ITEMS, update=_take_usual_amount
    )
    amount: FloatProperty(
        name="Amount",
        description="Degrees to swing, or for zooms the part of the way to the pivot",
        default=30.0,
        soft_min=0.0,
        soft_max=180.0,
    )
    rise: FloatProperty(
        name="Rise",
        description="How much an orbit rises, as a part of its radius",
        default=0.2,
        soft_min=-1,
        soft_max=1,
    )
    seed: IntProperty(name="Seed", description="The same seed and settings give the same result", min=0)
    generator: EnumProperty(name="Generator", description="What fills the unseen parts", items=GENERATOR_ITEMS)
    quality: EnumProperty(name="Quality", description="Of the EX-4D model: time against detail", items=QUALITY_ITEMS)
    model_size: EnumProperty(
        name="Model Size",
        description="Size of the pictures in the EX-4D model; the result has the clip's size",
        items=MODEL_SIZE_ITEMS,
    )
    keep_source: BoolProperty(
        name="Keep Source",
        description="Keep what the source saw as it is; the take's folder has the other video too",
        default=True,
    )

    takes: CollectionProperty(type=EX4DTake)
    take_index: IntProperty(name="Active Take")
    job_id: StringProperty(name="Job", description="The job under way, followed again when the file is opened")
    request: StringProperty(name="Request", description="What the job under way was asked, in JSON")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides how a clip stands up, in plain JSON: a tracked camera by its name, where one is used."""
        plain = {name: getattr(self, name) for name in ("estimator", *OF_ONE_CLIP)}
        used = self.tracked_camera if self.motion == "CAMERA" else None
        return {**plain, "tracked_camera": used.name if used else ""}

    @property
    def settings_of_new_clip(self) -> dict[str, Any]:
        """`settings` of `OF_ONE_CLIP` as long as nobody has changed them."""
        known = self.bl_rna.properties
        return {name: "" if name == "tracked_camera" else known[name].default for name in OF_ONE_CLIP}

    def take_settings(self, before: Mapping[str, Any], values: Sequence[Any]) -> None:
        """Take over the values of `settings` where the present ones still are as `before`."""
        now = self.settings
        for name, value in zip(now, values, strict=False):
            if name in OF_ONE_CLIP and name in before and now[name] == before[name]:
                setattr(self, name, bpy.data.objects.get(value) if name == "tracked_camera" else value)

    @property
    def fraction(self) -> Fraction:
        """Frames a second of the clip."""
        return Fraction(self.rate or "24")

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """Intrinsics (3,3) of the clip's first frame, in pixels."""
        return np.array(json.loads(self.lens), np.float64)

    @property
    def every_intrinsics(self) -> NDArray[np.float64]:
        """Intrinsics (T,3,3) of all frames."""
        if self.zoom:
            return np.array(json.loads(self.zoom), np.float64)
        return np.broadcast_to(self.intrinsics, (self.frames, 3, 3))

    @property
    def poses(self) -> NDArray[np.float64]:
        """Camera-to-world (T,4,4) of the clip's own camera, library axes."""
        if self.path:
            return np.array(json.loads(self.path), np.float64)
        return np.broadcast_to(np.eye(4), (self.frames, 4, 4))

    def frame_of(self, scene_frame: int) -> int:
        """The clip's frame (from 0) that is shown at a scene frame, or nearest to it."""
        return min(max(scene_frame - self.start, 0), self.frames - 1)

    @property
    def depth(self) -> dict[str, str]:
        """Provider, scale and licence of the depth; empty without a shot."""
        return json.loads(self.depth_made or "{}")

    @property
    def uses_depth_file(self) -> bool:
        """Whether the depth is read from a file, as far as can be said without looking at the disk."""
        if self.estimator == "auto":
            return bool(self.depth_path or self.depth_found)
        return self.estimator == "file"

    @property
    def folder(self) -> Path | None:
        """The shot's folder: where its movie lies, for Blender itself keeps that path right when files move."""
        if self.image is None:
            return None
        folder = files.absolute(self.image.filepath).parent
        return folder.parents[1] if folder.parent.name == files.AGAIN else folder

    @property
    def input_files(self) -> dict[str, str]:
        """Where the source's files are by hash; those in the shot's folder are found wherever that is by now."""
        known, folder = json.loads(self.inputs or "{}"), self.folder
        for sha, path in known.items():
            parts = Path(path).parts
            if folder is not None and self.shot in parts:
                inside = folder.joinpath(*parts[parts.index(self.shot) + 1 :])
                known[sha] = str(inside) if inside.exists() else path
        return known

    @property
    def last(self) -> int:
        """Scene frame of the clip's last frame."""
        return self.start + self.frames - 1
