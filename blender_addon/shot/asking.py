"""What the settings of the Source panel ask for when a clip is opened."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.geometry.intrinsics import field_of_view_of
from ex4d.geometry.presets import RELEASE_FRAMES
from ex4d.pipeline.settings import SourceSettings
from ex4d.schema import build
from ex4d.storage.names import beside
from ex4d.storage.npz import open_arrays

from ..scene import axes, motion
from ..shot import looks, part, source
from ..ui import properties
from ..ui.from_schema import from_blender, shortest
from ..ui.preferences import preferences
from ..words import count
from ..work import capabilities, session
from ..work.state import OpenRequest


def request_open(
    scene: bpy.types.Scene,
    clip: Path,
    depth: str,
    start: int,
    frames: int | None,
    longest_side: int | None,
) -> OpenRequest:
    """What it takes to open a clip as a new shot, with the panel's settings for it, see `_settings_for`.

    `depth` names the depth file, as the panel's Depth File does; "" leaves that as it is. `start`, `frames` and
    `longest_side` are those of `SourceSettings`.

    Raises:
        InputError: the clip, the depth or the camera is not there, or settings do not go together.
    """
    facts = scene.ex4d
    chosen, before = _settings_for(facts, clip, depth)
    facts.clip_path = str(clip)
    if not clip.exists():
        raise InputError(f"There is no clip {clip}: choose another file.")
    there, picture = looks.look_at(clip)
    frames = frames or RELEASE_FRAMES
    if there is not None:
        if start >= there:
            raise InputError(f"{clip.name} has {count(there, 'frame')}: begin at frame {there} or before.")
        frames = min(frames, there - start)
    fps = str(source.rate_of(scene)) if clip.is_dir() else None
    what = {"start": start, "frames": frames, "longest_side": longest_side, "fps": fps}
    return replace(_request(scene, source.new_shot(clip), clip, what, picture, chosen), before=before)


def request_again(scene: bpy.types.Scene, estimate: bool) -> OpenRequest:
    """What it takes to open the scene's clip again with the panel's settings and the part that the panel asks for.

    Its shot, camera and takes stay.

    Raises:
        InputError: as `request_open`.
    """
    facts, clip = scene.ex4d, Path(scene.ex4d.opened)
    if not clip.exists():
        raise InputError(f"There is no clip {clip} any more: bring it back, or press Find Clip.")
    stands, wanted = part.opened(facts), part.asked(facts)
    what = {**wanted.settings, "fps": json.loads(facts.source)["settings"]["fps"]}
    request = _request(scene, facts.shot, clip, what, looks.look_at(clip)[1], facts.settings)
    if estimate or wanted == stands or not wanted.is_in(stands) or facts.asked != asked(facts):
        return replace(request, again=estimate)
    # Fewer frames of what stands: their depth is there, and keeps its distances.
    depth = source.standing_depth(facts)
    settings = SourceSettings(**what, estimator=capabilities.FILE)
    return replace(request, depth=depth, settings=settings.plain()) if depth else request


def _settings_for(facts: bpy.types.PropertyGroup, clip: Path, depth: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings to open `clip` with, and those that they take the place of once it is open ({}: none).

    Settings of one clip are never used for another.
    """
    if facts.shot and facts.opened != str(clip):
        return _settings_beside_a_shot(facts, clip, depth)
    if not facts.shot and facts.clip_path not in ("", str(clip)):  # what was said for a clip that did not open
        for name in properties.OF_ONE_CLIP:
            facts.property_unset(name)
    facts.depth_found, facts.depth_path = "", depth or facts.depth_path
    return facts.settings, {}


def _settings_beside_a_shot(
    facts: bpy.types.PropertyGroup, clip: Path, depth: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`_settings_for` another clip than that of the shot that stands.

    The panel goes on to show the settings of the shot, until the other clip is open. When that fails, what is changed
    in the panel before the next try is meant for the other clip; so what the panel showed at the first try is put
    aside, with the settings to open the other clip with.
    """
    now = facts.settings
    if facts.clip_path == str(clip) and facts.aside:
        at_first_try, for_clip = json.loads(facts.aside)
    else:
        at_first_try, for_clip = now, facts.settings_of_new_clip
    changed = {name: value for name, value in now.items() if value != at_first_try[name]}
    if depth:
        for_clip["depth_path"] = changed["depth_path"] = depth
    facts.aside = json.dumps([at_first_try, for_clip])
    return {**now, **for_clip, **changed}, at_first_try


def _request(
    scene: bpy.types.Scene,
    shot: str,
    clip: Path,
    frames: dict[str, Any],
    picture: axes.Picture,
    chosen: dict[str, Any],
) -> OpenRequest:
    """The request for some `frames` of a clip (settings of a source), with the panel's settings as `chosen` for it."""
    facts, wish, notes = scene.ex4d, SimpleNamespace(**chosen), []
    depth = _depth_of(wish, clip)
    if not facts.shot or facts.opened == str(clip):
        facts.depth_found = str(depth or "")
    accepted = _accepted_licence(wish.estimator)
    camera_file, field_of_view = "", from_blender(properties.SOURCE["field_of_view"], wish.field_of_view)
    if wish.motion == "FILE":
        camera_file = str(Path(bpy.path.abspath(wish.motion_path)))
        if not Path(camera_file).is_file():
            raise InputError("There is no camera file: choose one as Camera File, or set Camera Motion to Still.")
    elif wish.motion == "CAMERA":
        recorded = motion.record(scene, frames["start"], frames["frames"], picture, again=shot == facts.shot)
        camera_file = str(motion.save(recorded))
        if field_of_view is None and not (depth and _tells_lens(depth)):
            field_of_view = field_of_view_of(recorded.intrinsics[0, 0], picture.width)
            notes.append(
                f"The field of view of {field_of_view:.1f} degrees is that of {facts.tracked_camera.name}"
                + (" in the first frame; it changes later, which is not followed." if recorded.zooms else ".")
            )
    settings = build(
        SourceSettings,
        {
            **frames,
            "estimator": wish.estimator,
            "accept_licence": accepted,
            **(_encoding(wish) if depth else {}),
            "field_of_view": field_of_view,
        },
    )
    return OpenRequest(
        scene=scene.name,
        shot=shot,
        clip=str(clip),
        depth=str(depth or ""),
        camera=camera_file,
        settings=settings.plain(),
        asked=_as_text(chosen),
        notes="\n".join(notes),
        scene_uid=scene.session_uid,
        match_scene=facts.match_scene,
        pixels=part.pixels(picture.width, picture.height, frames["longest_side"]),
    )


def asked(facts: bpy.types.PropertyGroup) -> str:
    """The settings that decide how a clip stands up, as text to be compared."""
    return _as_text(facts.settings)


def _as_text(settings: dict[str, Any]) -> str:
    return json.dumps(list(settings.values()))


def _accepted_licence(estimator: str) -> bool:
    """What to say of the licence of an estimator: that it is accepted, where that is asked for.

    As long as the server has not said what its estimators ask for, it is told what the artist has ticked.

    Raises:
        InputError: it is asked for, and not accepted.
    """
    server, accepted = session.current().capabilities, preferences().accept_licence
    if server is None:
        return accepted
    info = capabilities.find(estimator, server.estimators)
    if info is None or not info.terms:
        return False
    if not accepted:
        raise InputError(f"{info.terms}: tick Accept Licence if you keep to that, or choose another way to depth.")
    return True


def _depth_of(wish: SimpleNamespace, clip: Path) -> Path | None:
    """The depth file that goes with a clip; None where the depth is to be estimated."""
    if wish.estimator not in (capabilities.AUTO, capabilities.FILE):
        return None
    if wish.depth_path:
        return Path(bpy.path.abspath(wish.depth_path))
    found = beside(clip)
    if found is None and wish.estimator == capabilities.FILE:
        raise InputError(
            f"There is no depth file beside {clip.name}: choose one as Depth File, or another way to depth."
        )
    return found


def _encoding(wish: SimpleNamespace) -> dict[str, Any]:
    """What the numbers of the depth file mean; unit and distance of relative disparity are not asked for."""
    found = {"depth_convention": wish.depth_convention, "depth_channel": wish.depth_channel or None}
    if wish.depth_convention == "disparity":
        return found
    units = {"as_it_is": None, "other": repr(shortest(wish.depth_metres))}
    return {**found, "depth_unit": units.get(wish.depth_unit, wish.depth_unit), "depth_distance": wish.depth_distance}


def _tells_lens(depth: Path) -> bool:
    """Whether a depth file holds its lens; what is wrong with a file will be said by the server."""
    if not depth.is_file():
        return False
    try:
        with open_arrays(depth, "depth file") as arrays:
            return "intrinsics" in arrays.headers
    except InputError:
        return False
