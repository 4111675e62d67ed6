"""THE schema: every setting of a source, a camera path, rendering and a generation, described once.

The command line, jobs, take.json, the library and Blender's panel get their names, ranges, labels and help from here.
The settings of a generator are not here but in its own folder, in its `Spec`. Needs numpy only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal

from ex4d.cameras.fitting import World
from ex4d.depth.detail import DepthEdges, Detail
from ex4d.depth.encoding import Convention, DepthEncoding, Distance, unit_of
from ex4d.errors import InputError
from ex4d.geometry.intrinsics import FIELD_OF_VIEW
from ex4d.geometry.occlusion import OcclusionName
from ex4d.geometry.presets import ORBIT_RISE, Easing, Preset
from ex4d.plain import check_json
from ex4d.render.scene import EngineName, Persistence
from ex4d.schema import AUTO, Choice, Settings, setting
from ex4d.storage.sequence import Gaps

CameraMotion = Literal["auto", "still", "rotation", "depth", "da3", "sfm", "file"]
"""How the motion of the clip's own camera is determined."""

Fit = Literal["crop", "squeeze"]
"""How a picture is brought to another aspect."""

ResultSize = Literal["clip", "model"]
"""Whether a result has the clip's own size or the working size."""

Master = Literal["none", "prores", "ffv1"]
"""The format in which a take also holds its result, for grading."""

LONGEST_SIDE = 1024
"""Longest side of the working picture in pixels, unless another is given."""


def check_rate(rate: str | None) -> None:
    """Refuse a value that is not a frame rate.

    Raises:
        InputError: it is neither an integer nor a fraction of two, or a rate that no video can have.
    """
    if rate is None:
        return
    if not re.fullmatch(r"[1-9][0-9]{0,7}(/[1-9][0-9]{0,7})?", rate):
        raise InputError(f"{rate[:100]!r} is not a frame rate: write it as 24 or 24000/1001.")
    if not Fraction(1, 1000) <= Fraction(rate) <= 1000:  # others make files that cannot be written or read again
        raise InputError(f"A frame rate must be between 1/1000 and 1000 frames per second, not {rate}.")


@dataclass(frozen=True)
class SourceSettings(Settings):
    """Which part of a clip to use, where its depth comes from, and its lens."""

    start: int = setting(0, "First Frame", "First frame of the clip to use, counted from 0", minimum=0)
    frames: int | None = setting(
        None,
        "Frames",
        "How many frames to use; by default 49, or all if there are fewer",
        minimum=1,
        maximum=100_000,
        option="--num_frames",
    )
    step: int = setting(
        1,
        "Step",
        "Use only every n-th frame; the frame rate is divided by n, so the clip keeps its speed",
        minimum=1,
        maximum=1000,
    )
    longest_side: int | None = setting(
        LONGEST_SIDE,
        "Max Side",
        "Longer side of the working picture, to which larger clips are scaled down",
        unit="pixels",
        minimum=16,
        maximum=16384,
    )
    fps: str | None = setting(
        None,
        "Frame Rate",
        "Frame rate to read the clip at, such as 24 or 24000/1001; by default a video's own, and 24 for image"
        " sequences",
        unit="frames per second",
    )
    gaps: Gaps = setting(
        "hold",
        "Gaps",
        "What to show in place of images that are missing from a numbered sequence",
        choices=(
            Choice("hold", "Hold", "Repeat the image before the gap, so that the timing is kept"),
            Choice("leave", "Leave Out", "Skip the gap, so that the next image follows at once"),
        ),
    )
    estimator: str = setting(
        AUTO,
        "Depth From",
        "Where the depth comes from; auto uses a file if there is one, otherwise the best estimator that can run",
        option="--depth_estimator",
    )
    accept_licence: bool = setting(
        False, "Accept Licence", "Accept the licence of a depth estimator that may only be used for research"
    )
    depth_detail: Detail = setting(
        AUTO,
        "Depth Detail",
        "Size of the frames that a depth model works on, if it supports more than one",
        choices=(
            Choice("auto", "Automatic", "Full on a GPU, reduced on the CPU"),
            Choice("full", "Full", "The size the model was published with"),
            Choice("reduced", "Reduced", "Three quarters of the full size: coarser, in about half the time"),
        ),
    )
    depth_edges: DepthEdges = setting(
        "snap",
        "Depth Edges",
        "What happens to edges that are soft in the depth, so that things do not smear when the camera moves. Unless"
        " this is Off, depth that is offset from the picture is moved back first",
        choices=(
            Choice(
                "snap", "Snap", "Sharpen soft edges to match those of the picture, and leave sharp edges as they are"
            ),
            Choice(
                "refine",
                "Refine",
                "Sharpen them with a small neural network, which does better the softer they are, but is slower",
            ),
            Choice("off", "Off", "Leave the depth as it is"),
        ),
        before="off",
    )
    depth_unit: str | None = setting(None, "Unit", "Unit of the depth file: m, cm, mm, or metres per stored unit")
    depth_convention: Convention = setting(
        "auto",
        "Values",
        "What the numbers in the depth file mean",
        choices=(
            Choice("depth", "Distance", "Larger is farther"),
            Choice("inverse", "1 / Distance", "0 is infinitely far"),
            Choice(
                "disparity",
                "Relative Disparity",
                "Larger is nearer, by an unknown scale and shift, as most estimators write",
            ),
            # last, because Blender files store the number of a choice
            Choice("auto", "Automatic", "Disparity in grey video, 8-bit PNG and arrays of that name; else distances"),
        ),
    )
    depth_distance: Distance = setting(
        "planar",
        "Measured",
        "How the depth file measures distances",
        choices=(
            Choice("planar", "Along the Axis", "Along the camera's optical axis, as the depth passes of renderers are"),
            Choice("ray", "Straight to the Camera", "Along the ray to each point, as a laser scanner measures"),
        ),
    )
    depth_channel: str | None = setting(
        None, "EXR Channel", "EXR channel that holds the depth, or the end of its name; needed only if ambiguous"
    )
    focal_px: float | None = setting(
        None, "Focal Length", "Focal length of the source, instead of a field of view", unit="pixels", minimum=1e-6
    )
    field_of_view: float | None = setting(
        None,
        "Field of View",
        "Horizontal field of view of the source; by default that of the depth, otherwise 54 degrees along the"
        " longer side",
        unit="degrees",
        minimum=FIELD_OF_VIEW[0],
        maximum=FIELD_OF_VIEW[1],
        option="--fov",
    )
    camera_motion: CameraMotion = setting(
        AUTO,
        "Camera Motion",
        "Motion of the source camera",
        choices=(
            Choice("auto", "Found", "From the camera file if there is one, otherwise found from the frames"),
            Choice("still", "Still", "The camera stood still"),
            Choice("rotation", "Tripod", "The camera turned in place, so find its rotation"),
            Choice("depth", "Points and Depth", "Find it by tracking points, starting from the depth"),
            Choice(
                "da3",
                "Depth Anything 3",
                "Find it by tracking points, starting from what this model sees",
            ),
            Choice("sfm", "Structure from Motion", "Find it by matching features between frames"),
            Choice("file", "From File, Unchecked", "From the camera file as it is; still if there is none"),
        ),
        before="file",
    )
    zooms: bool = setting(False, "Lens Zooms", "The lens zooms during the clip; it is found for every frame")
    steady_depth: bool = setting(
        True,
        "Steady Depth",
        "Fit the depth to what stands still, once it is known how the camera moved: its scale no longer pumps from"
        " frame to frame, and if the camera changed position, bent depth is straightened",
        before=False,
    )
    camera_scale: float | None = setting(
        None,
        "Camera Scale",
        "Units of the depth in one unit of the source camera's file; by default found from points in that"
        " file, or followed through the clip",
        minimum=1e-9,
        maximum=1e9,
        option="--source_camera_scale",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.focal_px is not None and self.field_of_view is not None:
            raise InputError("Give either the focal length or the field of view, not both.")
        check_rate(self.fps)
        self.encoding  # noqa: B018 - refuses settings that do not go together

    @property
    def encoding(self) -> DepthEncoding:
        """What the numbers in the depth file mean."""
        unit = None if self.depth_unit is None else unit_of(self.depth_unit)
        return DepthEncoding(unit, self.depth_convention, self.depth_distance, self.depth_channel)


@dataclass(frozen=True)
class PathSettings(Settings):
    """A camera move that is known by name, see `ex4d.geometry.presets`, and how a camera path file is read."""

    cam: Preset = setting(
        "180",
        "Preset",
        "Camera move",
        choices=(
            Choice("30", "Orbit 30°", "Swing 30 degrees around the nearest surface"),
            Choice("60", "Orbit 60°", "Swing 60 degrees around the nearest surface"),
            Choice("90", "Orbit 90°", "Swing 90 degrees around the nearest surface"),
            Choice("180", "Swing ±45°", "Swing 45 degrees to one side, back, to the other side, and back"),
            Choice("zoom_in", "Zoom In", "Move straight towards the nearest surface"),
            Choice("zoom_out", "Zoom Out", "Move straight back"),
            Choice("dolly", "Dolly", "Move straight forward; a negative amount moves back"),
            Choice("truck", "Truck", "Move right without turning; a negative amount moves left"),
            Choice("crane", "Crane", "Rise while looking at the nearest surface; a negative amount sinks"),
            Choice("arc", "Arc", "Swing around the nearest surface without rising"),
            Choice(
                "dolly_zoom",
                "Dolly Zoom",
                "Move forward while the lens widens, so that the nearest surface keeps its size",
            ),
            Choice("hold", "Hold", "Stay at the source view; for a hand-held camera"),
        ),
    )
    amount: float | None = setting(
        None,
        "Amount",
        "How far to move: degrees for orbits, swing and arc, else a fraction of the distance to the pivot;"
        " by default the preset's own",
        minimum=-360,
        maximum=360,
    )
    rise: float = setting(
        ORBIT_RISE,
        "Rise",
        "How far an orbit rises",
        unit="of the radius",
        minimum=-10,
        maximum=10,
    )
    camera_scale: float = setting(
        1.0, "Scale", "Units of the depth in one unit of the camera file", minimum=1e-9, maximum=1e9
    )
    camera_world: World = setting(
        "source",
        "World",
        "What the poses in the camera file are relative to",
        choices=(
            Choice("source", "Source View", "The source camera of the first frame is the file's origin"),
            Choice("first", "First Pose", "The first pose is put on the source view"),
            Choice("source_camera", "Source Camera File", "Both files are from one scene or solve"),
        ),
    )
    easing: Easing = setting(
        "even",
        "Easing",
        "How the speed of the move changes",
        choices=(
            Choice("even", "Even", "The same speed all the way"),
            Choice("in_out", "Ease In and Out", "Slow at the start and at the end"),
            Choice("in", "Ease In", "Slow at the start"),
            Choice("out", "Ease Out", "Slow at the end"),
        ),
    )
    shake: float = setting(
        0.0,
        "Hand-Held",
        "How much the camera sways, as if hand-held; 0.5 is a steady hand, 2 is walking",
        unit="degrees",
        minimum=0,
        maximum=45,
    )
    pivot_distance: float | None = setting(
        None,
        "Pivot Distance",
        "Distance from the source camera to the point that the preset turns around, in the depth's unit; by"
        " default that of the nearest surface",
        minimum=1e-9,
        maximum=1e9,
    )
    shake_seed: int = setting(
        0, "Sway Seed", "Seed of the sway; the same seed gives the same sway", minimum=0, maximum=2**31 - 1
    )


@dataclass(frozen=True)
class RenderSettings(Settings):
    """How the mesh is rendered along a path."""

    engine: EngineName = setting(
        AUTO,
        "Engine",
        "Which engine renders; auto uses the fastest that can run here, never nvdiffrast",
        choices=(
            Choice("auto", "Best Available"),
            Choice("numba", "Numba", "Compiled for the CPU"),
            Choice("numpy", "NumPy", "For the CPU, slow; a readable reference"),
            Choice("cuda", "CUDA", "For NVIDIA GPUs"),
            Choice("nvdiffrast", "nvdiffrast", "For NVIDIA GPUs and non-commercial use only, for comparison"),
        ),
    )
    occlusion: OcclusionName | None = setting(
        None,
        "Occlusion Filter",
        "Which faces count as bridging an occlusion; by default the filter that did best on the sample",
        choices=(
            Choice("default", "Default", "Faces with an angle below 4 degrees"),
            Choice("release", "Release", "Faces with an angle below 2.5 degrees, as in the EX-4D release"),
            Choice("angle_and_extent", "Angle and Extent", "Narrow faces, and faces that reach far"),
            Choice("boundary", "Boundary", "Faces that reach deeper than they are wide"),
        ),
    )
    persistence: Persistence = setting(
        "fill",
        "Other Frames",
        "Fill what a frame did not see with what other frames saw of everything that stands still. Moving things"
        " have to be known; the camera search, or comparing a camera file with the clip, finds them",
        choices=(
            Choice("off", "Off", "Each frame shows only what it saw itself"),
            Choice("fill", "Fill", "Fill holes unless something in the frame itself contradicts it"),
            Choice("all", "All", "Fill wherever another frame saw something; moving things may leave traces"),
        ),
        before="off",
    )
    stereo: float | None = setting(
        None,
        "Stereo",
        "Render a side-by-side stereo pair with this eye distance, in the unit of the depth (0.065 in metres)",
        minimum=1e-9,
    )
    release_compat: bool = setting(
        False,
        "Release Compatibility",
        "Reproduce the EX-4D release, including its quirks: half-pixel shift, shell at 100, 500 px lens, frame-0 rule",
    )


def _check_options(value: Any) -> None:
    """Settings of generators: maps of scalars by the generators' names."""
    if not isinstance(value, dict) or len(value) > 100:
        raise ValueError("must be a map by the names of generators")
    check_json(value, 2)
    for name, options in value.items():
        if not isinstance(options, dict) or len(options) > 200:
            raise ValueError("must hold one map of settings for each generator")
        if len(name) > 100 or any(isinstance(option, list | dict) for option in options.values()):
            raise ValueError("must hold plain values")


Options = Annotated[dict, _check_options]
"""Settings of generators by name: {"painter": {"steps": 25}}. They are checked by the generator's own `Spec`."""


@dataclass(frozen=True)
class GenerateSettings(Settings):
    """How a shot is generated, whatever generates it.

    Attributes:
        options: settings of generators by their names; only those of the generator that runs are used.
    """

    generator: str = setting(
        AUTO, "Generator", "What fills the unseen parts; auto uses the best generator that can run"
    )
    seed: int = setting(
        0,
        "Seed",
        "Seed of the generation; the same seed and settings give the same result",
        minimum=0,
        maximum=2**63 - 1,
    )
    keep_source: bool = setting(
        True,
        "Keep Source",
        "Keep what the source saw unchanged; the other version is written beside the result",
    )
    lead_in: bool = setting(
        False,
        "Lead-In",
        "If the path does not begin at the source view, also generate 8 to 16 frames that lead from there to its"
        " first camera, and cut them off",
    )
    result_size: ResultSize = setting(
        "clip",
        "Result Size",
        "How large the result is if no width and height are given",
        choices=(
            Choice("clip", "Clip", "As large as the clip, 4096 pixels at most; what is real has the clip's own pixels"),
            Choice("model", "Working Picture", "As large as the working picture, see Max Side; faster"),
        ),
        before="model",
    )
    master: Master = setting(
        "none",
        "Master",
        "Also write a master for grading into the take's folder, at the clip's bit depth",
        choices=(
            Choice("none", "None"),
            Choice("prores", "ProRes 4444", "10-bit .mov, with the mask as alpha"),
            Choice("ffv1", "FFV1", "Large, lossless .mkv"),
        ),
    )
    width: int | None = setting(
        None,
        "Width",
        "Width of the result, which is then generated at this size; by default as Result Size says",
        unit="pixels",
        minimum=16,
    )
    height: int | None = setting(
        None,
        "Height",
        "Height of the result, which is then generated at this size; by default as Result Size says",
        unit="pixels",
        minimum=16,
    )
    fit: Fit = setting(
        "crop",
        "Fit",
        "What to do when width and height have a different aspect ratio from the clip",
        choices=(
            Choice("crop", "Crop", "The picture fills the result; anything outside is cut off"),
            Choice("squeeze", "Squeeze", "The picture is squeezed, as the EX-4D release does"),
        ),
    )
    fps: str | None = setting(
        None,
        "Result Rate",
        "Frame rate of the result; by default the clip's",
        unit="frames per second",
        option="--result_fps",
    )
    options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.width is None) != (self.height is None):
            raise InputError("Width and height of the result belong together: give both or neither.")
        check_rate(self.fps)
        try:
            _check_options(self.options)
        except ValueError as error:
            raise InputError(f"The settings of generators {error}.") from None

    def of(self, generator: str) -> Mapping[str, Any]:
        """The settings given for a generator."""
        return self.options.get(generator, {})
