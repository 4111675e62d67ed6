"""Finding the source camera from the clip, once the shot is open, and using the result.

If the camera is known, from another program or Blender's tracker, the same job finds what moves and steadies the depth.
The search is a job like the one that opens a clip, on the existing depth. So its result is brought in as when the clip
is opened again: the shot's own cameras, keys and takes are kept.
"""

import json
from dataclasses import replace
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.pipeline.requests import Reconstruct, Source
from ex4d.plain import to_plain

from ..scene import moving_tint, objects
from ..shot import files, source
from ..shot.source import Steps
from ..translations import told
from ..work.requests import OpenRequest
from ..work.state import Imported

MOTIONS = {"FOUND": "auto", "TRIPOD": "rotation"}
"""The choices of *Camera Motion* that start a search, and the job's `camera_motion` for each."""


def masks(path: str, drawn: str) -> dict[str, str]:
    """The chosen mask of what moves, as fields of a request, which has at most one: a drawn one or a file.

    Args:
        path: path of the file, as in the panel; "" if none is chosen.
        drawn: name of a mask drawn in Blender; "" if none is chosen.
    """
    return {"moving_mask": drawn} if drawn else {"moving": bpy.path.abspath(path) if path else ""}


def request(scene: bpy.types.Scene, motion: str, said: str = "", *, known: bool = False) -> OpenRequest:
    """The request to search for the camera of the scene's shot.

    Args:
        scene: with the shot.
        motion: kind of motion to search for, a value of `MOTIONS`.
        said: the message about the opening, which the search's message continues.
        known: keep the camera that the shot was opened with.

    Raises:
        InputError: the scene's record of its clip is damaged, or files of the clip or its depth are gone.
    """
    facts = scene.ex4d
    stands = source.read_source(facts.source)
    depth, places = source.standing_depth(facts), facts.input_files
    kept = stands.camera if known else None
    if not depth or any(blob.sha256 not in places for blob in (*stands.clip, *([kept] if kept else []))):
        raise InputError(told("Files of the shot are gone, so its camera cannot be searched for: press Open Again."))
    settings = replace(
        stands.settings,
        camera_motion=motion,
        zooms=facts.zooms,
        steady_depth=facts.steady_depth,
        camera_scale=stands.settings.camera_scale if kept else None,
    )
    wanted = replace(stands, camera=kept, moving=(), settings=settings)
    return OpenRequest(
        scene=scene.name,
        shot=facts.shot,
        clip=facts.opened,
        depth=depth,
        camera=places[kept.sha256] if kept else "",
        settings=settings.plain(),
        asked=_asked(facts),
        source=json.dumps(to_plain(wanted)),
        files={blob.sha256: places[blob.sha256] for blob in (*wanted.clip, *wanted.depth, *([kept] if kept else []))},
        scene_uid=scene.session_uid,
        pixels=facts.width * facts.height,
        only_camera=True,
        said=said,
        **masks(facts.moving_path, facts.settings["moving_mask"]),
    )


def prepare(request: OpenRequest) -> Steps:
    """Hash the mask, if there is one; returns the request with it, and the job.

    Raises:
        InputError: the mask does not exist.
    """
    masks = source.mask_files(request.moving)
    blobs = yield from source.hash_files(masks)
    wanted = replace(source.read_source(request.source), moving=tuple(blobs))
    known = {blob.sha256: str(path) for blob, path in zip(blobs, masks, strict=True)}
    request = replace(request, source=json.dumps(to_plain(wanted)), files={**request.files, **known})
    return request, Reconstruct(wanted, request.again)


def bring_in(request: OpenRequest, update: object) -> Steps:
    """Give the shot the camera that was found, and return `Imported`. A still camera changes only notes and the mask,
    unless the depth was steadied.

    If the shot has changed since the search began, nothing is changed. If it is gone, so that its camera cannot be
    searched for again, nothing is said, either.
    """
    yield ("Importing", 0, 1)
    if not has_shot(request):
        return Imported("", changed=False)
    scene = objects.scene_of(request)
    if not _stands_still_there(scene, request):
        if request.camera:
            return Imported(
                told(
                    "The shot has changed since the clip was compared with its camera, so the result is not used: press"
                    " Open Again."
                ),
                changed=False,
            )
        return Imported(
            told(
                "The camera that was found is not used. The shot has changed in the meantime: press Find Camera to"
                " search again."
            ),
            changed=False,
        )
    facts = scene.ex4d
    if "source_camera.npz" in update.files or facts.path or update.facts.get("depth_steadied"):
        said = yield from source.bring_in(request, update)
        return Imported(said)
    if moving_tint.MOVING in update.files and facts.image is not None:
        _, folder = files.numbered(facts.folder / files.AGAIN, "again")  # undo may bring back the previous mask
        placed = files.bring({moving_tint.MOVING: update.files[moving_tint.MOVING]}, folder)
        moving_tint.stand(scene, placed[moving_tint.MOVING])
        yield from _takes_know(facts, placed[moving_tint.MOVING])
    source.tell_of_search(facts, update.facts.get("notes", ()))
    facts.asked = request.asked
    return Imported(" ".join(filter(None, (request.said, *facts.camera_notes.splitlines()))), changed=False)


def _takes_know(facts: bpy.types.PropertyGroup, moving: Path) -> Steps:
    """Make this mask of what moves part of the source for future takes."""
    masks = yield from source.hash_files([moving])
    facts.source = json.dumps(to_plain(replace(source.read_source(facts.source), moving=tuple(masks))))
    facts.inputs = json.dumps({**json.loads(facts.inputs or "{}"), masks[0].sha256: str(moving)})


def has_shot(request: OpenRequest) -> bool:
    """Whether the shot whose camera is searched for is still in its scene, whatever part of the clip is open."""
    scene = objects.find_scene(request)
    return scene is not None and scene.ex4d.shot == request.shot


def _stands_still_there(scene: bpy.types.Scene, request: OpenRequest) -> bool:
    """Whether the shot is as it was when the search was requested."""
    facts = scene.ex4d
    if facts.folder is None or objects.find(scene, objects.ROOT) is None:
        return False
    return _what(source.read_source(facts.source)) == _what(source.read_source(request.source))


def _what(found: Source) -> tuple:
    used = found.settings
    return found.clip, found.depth, used.start, used.frames, used.step


def _asked(facts: bpy.types.PropertyGroup) -> str:
    """The settings that the shot was made with, updated to the panel's current settings for the camera search."""
    now, then = facts.settings, json.loads(facts.asked or "[]")
    if len(then) != len(now):  # from an earlier version with fewer: the next opening stores them all
        return facts.asked
    new = ("motion", "moving_path", "zooms", "steady_depth", "moving_mask")
    return json.dumps([value if name in new else old for (name, value), old in zip(now.items(), then, strict=True)])
