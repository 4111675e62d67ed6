"""What the settings of the Source panel ask for when a clip is opened."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from ex4d.arrays import open_arrays
from ex4d.depth import Reading, beside
from ex4d.depth.estimators import ESTIMATORS
from ex4d.depth.files import UNITS
from ex4d.errors import InputError
from ex4d.intrinsics import field_of_view_of
from ex4d.protocol import to_plain

from . import axes, motion, properties, source
from .preferences import preferences
from .state import OpenRequest


def request_open(
    scene: bpy.types.Scene,
    clip: Path,
    depth: str,
    start: int,
    frames: int,
    longest_side: int | None,
) -> OpenRequest:
    """What it takes to open a clip as a new shot, with the panel's settings; those of another clip are put back first.

    `depth` names the depth file, as the panel's Depth File does; "" leaves that as it is.

    Raises:
        InputError: the clip, the depth or the camera is not there, or settings do not go together.
    """
    facts = scene.ex4d
    if facts.clip_path and facts.clip_path != str(clip):
        for name in properties.OF_ONE_CLIP:
            facts.property_unset(name)
    facts.clip_path, facts.depth_found = str(clip), ""
    facts.depth_path = depth or facts.depth_path
    if not clip.exists():
        raise InputError(f"There is no clip {clip}: choose another file.")
    there, picture = _look_at(clip)
    frames = max(1, min(frames, (there or start + frames) - start))
    fps = str(source.rate_of(scene)) if clip.is_dir() else None
    settings = {"start": start, "frames": frames, "longest_side": longest_side, "fps": fps}
    return _request(scene, source.new_shot(clip), clip, settings, picture)


def request_again(scene: bpy.types.Scene, estimate: bool) -> OpenRequest:
    """What it takes to open the scene's clip again with the panel's settings; its shot, camera and takes stay.

    Raises:
        InputError: as `request_open`.
    """
    facts, clip = scene.ex4d, Path(scene.ex4d.opened)
    if not clip.exists():
        raise InputError(f"There is no clip {clip} any more: bring it back, or open another.")
    old = json.loads(facts.source)
    settings = {name: old.get(name) for name in ("start", "frames", "longest_side", "fps")}
    request = _request(scene, facts.shot, clip, settings, _look_at(clip)[1])
    return replace(request, again=estimate)


def _request(
    scene: bpy.types.Scene, shot: str, clip: Path, settings: dict[str, Any], picture: axes.Picture
) -> OpenRequest:
    facts, notes, camera_file = scene.ex4d, [], ""
    depth = _depth_of(facts, clip)
    facts.depth_found = str(depth or "")
    reading = _reading(facts) if depth else Reading()
    estimator = ESTIMATORS.get(facts.estimator)
    needs_licence = estimator is not None and not estimator.commercial
    if needs_licence and not preferences().accept_licence:
        raise InputError(
            f"{estimator.title} may be used for research only, never commercially: tick Accept Licence if you keep to"
            " that, or choose another way to depth."
        )
    field_of_view = facts.field_of_view or None
    if facts.motion == "FILE":
        camera_file = str(Path(bpy.path.abspath(facts.motion_path)))
        if not Path(camera_file).is_file():
            raise InputError("There is no camera file: choose one as Camera File, or set Camera Motion to Still.")
    elif facts.motion == "CAMERA":
        recorded = motion.record(scene, settings["start"], settings["frames"], picture)
        camera_file = str(motion.save(recorded))
        if field_of_view is None and not (depth and _tells_lens(depth)):
            field_of_view = field_of_view_of(recorded.intrinsics[0, 0], picture.width)
            notes.append(
                f"The field of view of {field_of_view:.1f} degrees is that of {facts.tracked_camera.name}"
                + (" in the first frame; it changes later, which is not followed." if recorded.zooms else ".")
            )
    return OpenRequest(
        scene=scene.name,
        shot=shot,
        clip=str(clip),
        depth=str(depth or ""),
        camera=camera_file,
        settings={
            **settings,
            "estimator": facts.estimator,
            "accept_licence": needs_licence,
            "reading": to_plain(reading),
            "field_of_view": field_of_view,
        },
        asked=asked(facts),
        notes="\n".join(notes),
        match_scene=facts.match_scene,
    )


def asked(facts: bpy.types.PropertyGroup) -> str:
    """The settings that decide how a clip stands up, as text to be compared."""
    names = [name for name in properties.OF_ONE_CLIP if name != "tracked_camera"]
    values = [getattr(facts, name) for name in ("estimator", *names)]
    tracked = facts.tracked_camera.name if facts.motion == "CAMERA" and facts.tracked_camera else ""
    return json.dumps([*values, tracked])


def _depth_of(facts: bpy.types.PropertyGroup, clip: Path) -> Path | None:
    """The depth file that goes with a clip; None where the depth is to be estimated."""
    if facts.estimator not in ("auto", "file"):
        return None
    if facts.depth_path:
        return Path(bpy.path.abspath(facts.depth_path))
    found = beside(clip)
    if found is None and facts.estimator == "file":
        raise InputError(
            f"There is no depth file beside {clip.name}: choose one as Depth File, or another way to depth."
        )
    return found


def _reading(facts: bpy.types.PropertyGroup) -> Reading:
    """What the numbers of the depth file mean; unit and distance of relative disparity are not asked for."""
    if facts.depth_convention == "disparity":
        return Reading(convention="disparity", channel=facts.depth_channel or None)
    unit = facts.depth_metres if facts.depth_unit == "other" else UNITS.get(facts.depth_unit)
    return Reading(unit, facts.depth_convention, facts.depth_distance, facts.depth_channel or None)


def _tells_lens(depth: Path) -> bool:
    """Whether a depth file holds its lens; what is wrong with a file will be said by the server."""
    if not depth.is_file():
        return False
    try:
        with open_arrays(depth, "depth file") as arrays:
            return "intrinsics" in arrays.headers
    except InputError:
        return False


def _look_at(clip: Path) -> tuple[int | None, axes.Picture]:
    """How many frames Blender sees in a clip (None where it sees no movie: the server will say what is wrong), and
    how big they are."""
    pictures = source.input_files(clip, "clip", source.CLIP_PICTURES)
    image = bpy.data.images.load(str(pictures[0]))
    try:
        count = len(pictures) if clip.is_dir() else image.frame_duration if image.source == "MOVIE" else None
        return count, axes.Picture(max(1, image.size[0]), max(1, image.size[1]))
    finally:
        bpy.data.images.remove(image)
