"""Turning the settings of the Source panel into requests to open a clip."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

from ex4d.depth.encoding import LENS_KEYS
from ex4d.errors import InputError
from ex4d.geometry.intrinsics import field_of_view_of
from ex4d.geometry.presets import RELEASE_FRAMES
from ex4d.pipeline.settings import SourceSettings
from ex4d.schema import AUTO, build
from ex4d.storage.names import beside, maybe_depth_note
from ex4d.storage.npz import open_arrays
from ex4d.storage.sequence import Gaps, is_sequence, sequence_at

from ..scene import axes, motion
from ..shot import clip_looks, found_camera, matching, part, source
from ..translations import told
from ..ui import properties
from ..ui.from_schema import from_blender, shortest
from ..ui.preferences import preferences
from ..words import count
from ..work import capabilities, session
from ..work.requests import OpenRequest


def request_open(
    scene: bpy.types.Scene,
    clip: Path,
    depth: str,
    start: int,
    frames: int | None,
    longest_side: int | None,
    step: int = 1,
    fps: str | None = None,
    gaps: Gaps = "hold",
) -> OpenRequest:
    """The request to open a clip as a new shot, with the panel's settings for it, see `_settings_for`.

    `depth` is the depth file, in place of the panel's Depth File; "" keeps that. The arguments after it are fields of
    `SourceSettings`; without `fps`, image sequences run at the scene's rate.

    Raises:
        InputError: the clip, depth or camera does not exist, settings are incompatible, or the frames do not fit.
    """
    facts = scene.ex4d
    chosen, before = _settings_for(facts, clip, depth)
    facts.clip_path = str(clip)
    if not clip.exists():
        raise InputError(told("There is no clip {clip}: choose another file.", clip=clip))
    looked = clip_looks.look_at(clip, gaps)
    there = looked.frames
    if fps is None and is_sequence(clip):
        fps = str(matching.rate_of(scene))
    elif fps is not None and not is_sequence(clip):
        there = None  # the number changes with the rate
    if there is not None and start >= there:
        raise InputError(
            told(
                "{clip} has {frames}: begin at frame {there} or before.",
                clip=clip.name,
                frames=count(there, "frame"),
                there=there,
            )
        )
    frames = _frames_to_ask_for(frames or RELEASE_FRAMES, start, step, there)
    part.check_room(scene.frame_start, frames or 1)
    used = {"start": start, "frames": frames, "step": step, "longest_side": longest_side, "fps": fps, "gaps": gaps}
    return replace(_request(scene, source.new_shot(clip), clip, used, looked.picture, chosen), before=before)


def request_again(scene: bpy.types.Scene, estimate: bool) -> OpenRequest:
    """The request to open the scene's clip again, with the settings and the part of the clip chosen in the panel.

    The shot, its camera and its takes are kept. With `estimate`, the depth is estimated again.

    Raises:
        InputError: see `request_open`, or the scene's record of how its clip was opened is damaged.
    """
    facts, clip = scene.ex4d, Path(scene.ex4d.opened)
    if not clip.exists():
        raise InputError(told("There is no clip {clip} any more: bring it back, or press Find Clip.", clip=clip))
    source.read_source(facts.source)  # refuses a damaged one
    stands, wanted = part.opened(facts), part.asked(facts)
    part.check_room(part.scene_frame(facts, wanted.start), wanted.frames)
    looked = clip_looks.look_at(clip, wanted.gaps)
    request = _request(scene, facts.shot, clip, wanted.settings, looked.picture, facts.settings)
    if estimate or wanted == stands:
        return replace(request, again=estimate)
    depth = source.standing_depth(facts)
    if not depth or not wanted.is_in(stands) or have_changed(facts):
        return _keeping_depth(request, facts, depth, stands, wanted)
    # A subset of the open frames: their depth exists and keeps its distances.
    settings = SourceSettings(
        **wanted.settings,
        estimator=capabilities.FILE,
        depth_edges="off",  # already snapped if wanted
        camera_motion=request.settings["camera_motion"],
        zooms=request.settings["zooms"],
        steady_depth=request.settings["steady_depth"],
        camera_scale=request.settings["camera_scale"],
    )
    return replace(request, depth=depth, settings=settings.plain())


def _keeping_depth(
    request: OpenRequest, facts: bpy.types.PropertyGroup, depth: str, stands: part.Part, wanted: part.Part
) -> OpenRequest:
    """A request for another part of the clip that keeps the existing `depth`, or notes why it cannot.

    If a depth file covers all frames, neither is needed.
    """
    if request.depth:
        return request
    why = ""
    if not depth:
        why = told("the file with the shot's depth is gone or damaged")
    elif facts.depth_has_changed:
        why = told("settings of the depth were changed")
    elif wanted.longest_side != stands.longest_side:
        why = told("the size was changed")
    elif not wanted.shared(stands):
        why = told("no frame that was open is among them")
    if not why:
        return replace(request, standing=depth, standing_source=facts.source)
    note = told("The depth of all frames was estimated again: {why}.", why=why)
    return replace(request, notes="\n".join(filter(None, (request.notes, note))))


def _settings_for(facts: bpy.types.PropertyGroup, clip: Path, depth: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings to open `clip` with, and those that they replace once it is open ({} for none).

    Settings of one clip are never used for another.
    """
    if facts.shot and facts.opened != str(clip):
        return _settings_beside_a_shot(facts, clip, depth)
    if not facts.shot and facts.clip_path not in ("", str(clip)):  # they were for a clip that did not open
        for name in properties.OF_ONE_CLIP:
            facts.property_unset(name)
    facts.depth_found, facts.depth_path = "", depth or facts.depth_path
    return facts.settings, {}


def _settings_beside_a_shot(
    facts: bpy.types.PropertyGroup, clip: Path, depth: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`_settings_for` a clip other than that of the existing shot.

    The panel keeps showing the settings of the existing shot until the other clip is open. If opening fails, changes
    made in the panel before the next try are meant for the other clip. So the panel's settings at the first try are set
    aside, along with those for the other clip.
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
    used: dict[str, Any],
    picture: axes.Picture | None,
    chosen: dict[str, Any],
) -> OpenRequest:
    """The request for a part of a clip.

    `used` are the settings of a source that select the part, `chosen` the panel's settings for it.
    """
    facts, wish = scene.ex4d, SimpleNamespace(**chosen)
    notes = list(sequence_at(clip).notes) if is_sequence(clip) else []
    depth = _depth_of(wish, clip)
    if depth is None and wish.estimator == capabilities.AUTO and (near_miss := maybe_depth_note(clip)):
        notes.append(near_miss)
    if not facts.shot or facts.opened == str(clip):
        facts.depth_found = str(depth or "")
    accepted = _accepted_licence(wish.estimator)
    camera_file, field_of_view = "", from_blender(properties.SOURCE["field_of_view"], wish.field_of_view)
    again = shot == facts.shot
    sought = found_camera.MOTIONS.get(wish.motion, "")
    if wish.motion == "FILE":
        path = Path(bpy.path.abspath(wish.motion_path))
        if not wish.motion_path or not path.exists():
            raise InputError(told("There is no camera file: choose one as Camera File, or set Camera Motion to Still."))
        camera_file = str(motion.one_file(path))
    elif wish.motion == "CAMERA":
        frames = used["frames"] or (facts.frames if again else None)
        if frames is None or picture is None:
            raise InputError(
                told(
                    "Blender cannot tell the length or the frame size of {clip}, so the tracked camera cannot be"
                    " read for it: convert it to an .mp4 file or a folder of images.",
                    clip=clip.name,
                )
            )
        recorded = motion.record(scene, used["start"], frames, picture, again, used["step"])
        camera_file = str(motion.save(recorded))
        if field_of_view is None and not (depth and _tells_lens(depth)):
            field_of_view = field_of_view_of(recorded.intrinsics[0, 0], picture.width)
            name = facts.tracked_camera.name
            note = told(
                "The field of view of {angle:.1f} degrees is that of {camera}.", angle=field_of_view, camera=name
            )
            if recorded.zooms:
                note = told(
                    "The field of view of {angle:.1f} degrees is that of {camera} in the first frame; it changes later,"
                    " which is not followed.",
                    angle=field_of_view,
                    camera=name,
                )
            notes.append(note)
    if camera_file:
        sought = AUTO  # the camera stays; what moves and the errors of the depth are found
    settings = build(
        SourceSettings,
        {
            **used,
            "estimator": wish.estimator,
            "accept_licence": accepted,
            **(_encoding(wish) if depth else {"depth_detail": wish.depth_detail}),
            "field_of_view": field_of_view,
            # A new shot opens at once, without a search ("file" means "still" if there is none), which follows.
            "camera_motion": sought if sought and again else "file",
            "zooms": bool(sought and again and wish.zooms),
            "steady_depth": wish.steady_depth,
            "depth_edges": wish.depth_edges,
            "camera_scale": from_blender(properties.SOURCE["camera_scale"], wish.motion_scale) if camera_file else None,
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
        pixels=part.pixels(picture.width, picture.height, used["longest_side"]) if picture is not None else 0,
        then="" if again else sought,
        **(found_camera.masks(wish.moving_path, wish.moving_mask) if sought and again else {}),
    )


def asked(facts: bpy.types.PropertyGroup) -> str:
    """The settings that decide how a clip is opened, as text for comparison."""
    return _as_text(facts.settings)


def have_changed(facts: bpy.types.PropertyGroup) -> bool:
    """Whether the panel's settings differ from those that the shot was made with.

    A setting that did not exist then counts as unchanged if it has its default; new settings are last.
    """
    if facts.asked == asked(facts):
        return False
    now, then = facts.settings, json.loads(facts.asked or "[]")
    usual = facts.settings_of_new_clip
    added = list(now)[len(then) :] if then else []
    return not added or json.dumps([*then, *(usual.get(name) for name in added)]) != asked(facts)


def _as_text(settings: dict[str, Any]) -> str:
    return json.dumps(list(settings.values()))


def _accepted_licence(estimator: str) -> bool:
    """Whether to tell the server that the licence of an estimator is accepted, if it has to be.

    Until the server has said what its estimators require, this is what the artist has ticked.

    Raises:
        InputError: the licence has to be accepted and is not.
    """
    server, accepted = session.current().capabilities, preferences().accept_licence
    if server is None:
        return accepted
    info = capabilities.find(estimator, server.estimators)
    if info is None or not info.terms:
        return False
    if not accepted:
        raise InputError(
            told("{terms}. Tick Accept Licence if your use complies, or choose another estimator.", terms=info.terms)
        )
    return True


def _depth_of(wish: SimpleNamespace, clip: Path) -> Path | None:
    """The depth file for a clip; None if the depth is to be estimated.

    Raises:
        InputError: a depth file is required and there is none.
    """
    if wish.estimator not in (capabilities.AUTO, capabilities.FILE):
        return None
    if wish.depth_path:
        return Path(bpy.path.abspath(wish.depth_path))
    found = beside(clip)
    if found is None and wish.estimator == capabilities.FILE:
        raise InputError(
            told(
                "There is no depth file beside {clip}: choose one as Depth File, or choose an estimator. {note}",
                clip=clip.name,
                note=maybe_depth_note(clip),
            ).rstrip()
        )
    return found


def _encoding(wish: SimpleNamespace) -> dict[str, Any]:
    """Settings for the meaning of the depth file's numbers; relative disparity has neither unit nor distance."""
    found = {"depth_convention": wish.depth_convention, "depth_channel": wish.depth_channel or None}
    if wish.depth_convention == "disparity":
        return found
    units = {"as_it_is": None, "other": repr(shortest(wish.depth_metres))}
    return {**found, "depth_unit": units.get(wish.depth_unit, wish.depth_unit), "depth_distance": wish.depth_distance}


def _tells_lens(depth: Path) -> bool:
    """Whether a depth file contains its lens; False for an unreadable file, which the server will report."""
    if not depth.is_file():
        return False
    try:
        with open_arrays(depth, "depth file") as arrays:
            return any(key in arrays.headers for key in LENS_KEYS)
    except InputError:
        return False


def _frames_to_ask_for(frames: int, start: int, step: int, there: int | None) -> int | None:
    """`frames`, limited to those that the clip has; None leaves it to the server if Blender cannot count them."""
    if there is None:
        return None if frames == RELEASE_FRAMES else frames
    return max(1, min(frames, len(range(start, there, step))))
