"""What the settings of the Source panel ask for when a clip is opened."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

from ex4d.depth.encoding import UNITS, DepthEncoding
from ex4d.depth.files import beside
from ex4d.depth.registry import estimators
from ex4d.errors import InputError
from ex4d.geometry.intrinsics import field_of_view_of
from ex4d.plain import to_plain
from ex4d.storage.npz import open_arrays

from ..scene import axes, motion
from ..shot import source
from ..ui import properties
from ..ui.preferences import preferences
from ..work.state import OpenRequest


def request_open(
    scene: bpy.types.Scene,
    clip: Path,
    depth: str,
    start: int,
    frames: int,
    longest_side: int | None,
) -> OpenRequest:
    """What it takes to open a clip as a new shot, with the panel's settings for it, see `_settings_for`.

    `depth` names the depth file, as the panel's Depth File does; "" leaves that as it is.

    Raises:
        InputError: the clip, the depth or the camera is not there, or settings do not go together.
    """
    facts = scene.ex4d
    chosen, before = _settings_for(facts, clip, depth)
    facts.clip_path = str(clip)
    if not clip.exists():
        raise InputError(f"There is no clip {clip}: choose another file.")
    there, picture = _look_at(clip)
    frames = max(1, min(frames, (there or start + frames) - start))
    fps = str(source.rate_of(scene)) if clip.is_dir() else None
    settings = {"start": start, "frames": frames, "longest_side": longest_side, "fps": fps}
    return replace(_request(scene, source.new_shot(clip), clip, settings, picture, chosen), before=before)


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
    request = _request(scene, facts.shot, clip, settings, _look_at(clip)[1], facts.settings)
    return replace(request, again=estimate)


def _settings_for(facts: bpy.types.PropertyGroup, clip: Path, depth: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings to open `clip` with, and those that they take the place of once it is open ({}: none).

    Settings of one clip are not used for another, and a shot that stands keeps its own until the other clip is open.
    When that fails, what is changed in the panel before the next try is meant for the other clip.
    """
    if facts.shot and facts.opened != str(clip):
        now, before, own = facts.settings, facts.settings, facts.settings_of_new_clip
        if facts.clip_path == str(clip) and facts.aside:
            before, own = json.loads(facts.aside)
        own["depth_path"] = depth or own["depth_path"]
        facts.aside = json.dumps([before, own])
        changed = {name: value for name, value in now.items() if value != before[name]}
        return {**now, **own, **changed, **({"depth_path": depth} if depth else {})}, before
    if not facts.shot and facts.clip_path not in ("", str(clip)):
        for name in properties.OF_ONE_CLIP:
            facts.property_unset(name)
    facts.depth_found, facts.depth_path = "", depth or facts.depth_path
    return facts.settings, {}


def _request(
    scene: bpy.types.Scene,
    shot: str,
    clip: Path,
    settings: dict[str, Any],
    picture: axes.Picture,
    chosen: dict[str, Any],
) -> OpenRequest:
    """The request for a clip and `settings` of the job, with the panel's settings as they are `chosen` for it."""
    facts, wish, notes, camera_file = scene.ex4d, SimpleNamespace(**chosen), [], ""
    depth = _depth_of(wish, clip)
    if not facts.shot or facts.opened == str(clip):
        facts.depth_found = str(depth or "")
    reading = _reading(wish) if depth else DepthEncoding()
    estimator = estimators().get(wish.estimator)
    needs_licence = estimator is not None and not estimator.commercial
    if needs_licence and not preferences().accept_licence:
        raise InputError(
            f"{estimator.title} may be used for research only, never commercially: tick Accept Licence if you keep to"
            " that, or choose another way to depth."
        )
    field_of_view = wish.field_of_view or None
    if wish.motion == "FILE":
        camera_file = str(Path(bpy.path.abspath(wish.motion_path)))
        if not Path(camera_file).is_file():
            raise InputError("There is no camera file: choose one as Camera File, or set Camera Motion to Still.")
    elif wish.motion == "CAMERA":
        recorded = motion.record(scene, settings["start"], settings["frames"], picture, again=shot == facts.shot)
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
            "estimator": wish.estimator,
            "accept_licence": needs_licence,
            "reading": to_plain(reading),
            "field_of_view": field_of_view,
        },
        asked=_as_text(chosen),
        notes="\n".join(notes),
        scene_uid=scene.session_uid,
        match_scene=facts.match_scene,
    )


def asked(facts: bpy.types.PropertyGroup) -> str:
    """The settings that decide how a clip stands up, as text to be compared."""
    return _as_text(facts.settings)


def _as_text(settings: dict[str, Any]) -> str:
    return json.dumps(list(settings.values()))


def _depth_of(wish: SimpleNamespace, clip: Path) -> Path | None:
    """The depth file that goes with a clip; None where the depth is to be estimated."""
    if wish.estimator not in ("auto", "file"):
        return None
    if wish.depth_path:
        return Path(bpy.path.abspath(wish.depth_path))
    found = beside(clip)
    if found is None and wish.estimator == "file":
        raise InputError(
            f"There is no depth file beside {clip.name}: choose one as Depth File, or another way to depth."
        )
    return found


def _reading(wish: SimpleNamespace) -> DepthEncoding:
    """What the numbers of the depth file mean; unit and distance of relative disparity are not asked for."""
    if wish.depth_convention == "disparity":
        return DepthEncoding(convention="disparity", channel=wish.depth_channel or None)
    unit = wish.depth_metres if wish.depth_unit == "other" else UNITS.get(wish.depth_unit)
    return DepthEncoding(unit, wish.depth_convention, wish.depth_distance, wish.depth_channel or None)


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
