"""An artist's requests, as data that the .blend stores: opening, takes, finding the clip, viewport detail."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from ..translations import told


@dataclass(frozen=True)
class OpenRequest:
    """Open a clip in the scene of this name. Paths are absolute.

    Attributes:
        scene: name of the scene.
        scene_uid: Blender's `session_uid` of the scene, which renaming does not change; 0 if only the name is known.
        shot: name of the folder to make, or the scene's own shot, whose camera and takes are then kept.
        clip, depth, camera: files or folders; depth and camera are "" if there is none.
        settings: `ex4d.pipeline.settings.SourceSettings` in plain JSON.
        asked: the panel's settings behind the request, in JSON.
        pixels: number of pixels of the working picture; 0 if not known.
        before: the panel's settings of the existing shot, while it exists; empty if they are the same.
        notes: the add-on's own notes.
        match_scene: give a new shot's scene the clip's range, rate and size.
        again: estimate the depth again.
        source, files: see `TakeRequest`; known once the files are hashed.
        viewport: address of the 3D View that the request came from, which will show the shot; 0 for any.
        then: the `camera_motion` to search for separately once the shot is open; "" for none.
        only_camera: only search for the camera of the existing shot.
        moving: a mask of what moves, for that search; "" if there is none.
        moving_mask: name of a mask drawn in Blender, which will be rendered to `moving`; "" if there is none.
        said: the message from before the search, to be continued by the search's message.
        standing: file with the depth of the existing shot, which is kept while only new frames are estimated; "" if
            all frames are estimated, or none.
        standing_source: the source that the shot was opened with, in JSON, if its depth is `standing`.
    """

    scene: str
    shot: str
    clip: str
    depth: str
    camera: str
    settings: Mapping[str, Any]
    asked: str = ""
    notes: str = ""
    match_scene: bool = True
    again: bool = False
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    scene_uid: int = 0
    before: Mapping[str, Any] = field(default_factory=dict)
    pixels: int = 0
    viewport: int = 0
    then: str = ""
    only_camera: bool = False
    moving: str = ""
    said: str = ""
    standing: str = ""
    standing_source: str = ""
    moving_mask: str = ""


@dataclass(frozen=True)
class TakeRequest:
    """Make a take of the shot along the camera file `path`.

    Attributes:
        source: the job's source in JSON.
        files: paths of the job's files by hash.
        generation, render: `GenerateSettings` and `RenderSettings` of `ex4d.pipeline.settings`, in plain JSON.
        preview: make only a path preview.
        scene, scene_uid: see `OpenRequest`.
        seen: current scene frame at the time of the request.
        camera: name of the camera; "" if not known.
        bystanders: the message about the artist's own objects.
        plate: absolute path of a clean plate; "" for the source's, if it has one.
        earlier: absolute path of the folder of an earlier take; "" for the source's, if it has one.
    """

    scene: str
    shot: str
    path: str
    source: str
    files: Mapping[str, str]
    generation: Mapping[str, Any] = field(default_factory=dict)
    render: Mapping[str, Any] = field(default_factory=dict)
    preview: bool = False
    scene_uid: int = 0
    seen: int | None = None
    camera: str = ""
    bystanders: str = ""
    plate: str = ""
    earlier: str = ""


@dataclass(frozen=True)
class FindRequest:
    """Use the file or folder `clip` as the shot's clip, which was moved, if it is the same. Needs no server.

    Attributes:
        scene, scene_uid, shot: see `OpenRequest`.
        clip: absolute path.
    """

    scene: str
    shot: str
    clip: str
    scene_uid: int = 0


@dataclass(frozen=True)
class DetailRequest:
    """Set the viewport detail of the shot's mesh to `detail`, see `ClipChoices.detail`. Needs no server.

    Attributes:
        scene, scene_uid, shot: see `OpenRequest`.
    """

    scene: str
    shot: str
    detail: str
    scene_uid: int = 0


@dataclass(frozen=True)
class FetchRequest:
    """Fetch a take that another Blender of the same user requested and left on the server.

    Attributes:
        scene, scene_uid: see `OpenRequest`; the scene in which it was requested.
        shot: shot of the take; its folder may or may not be known here.
        job_id: id of the job on the server.
        file: name of the .blend that it was made for; "" if not known.
    """

    scene: str
    shot: str
    job_id: str
    file: str = ""
    scene_uid: int = 0


Request = OpenRequest | TakeRequest | FindRequest | DetailRequest | FetchRequest

_KEPT = OpenRequest, TakeRequest, FetchRequest
"""Requests with a job on the server, which a file continues when it is opened again."""

FORMAT = 2
"""Format number of a stored request; version 0.1 wrote none."""


def undo_name(request: Request) -> str:
    """The name of a request in Blender's undo history, which has room for 64 bytes."""
    if isinstance(request, FindRequest):
        return told("EX-4D: Find Clip")
    if isinstance(request, DetailRequest):
        return told("EX-4D: Set Viewport Detail")
    if isinstance(request, FetchRequest):
        return told("EX-4D: Fetch Take")
    if isinstance(request, OpenRequest) and request.only_camera:
        return told("EX-4D: Source Camera")
    if isinstance(request, OpenRequest):
        return told("EX-4D: Open {clip}", clip=PurePath(request.clip).name).encode()[:63].decode(errors="ignore")
    return told("EX-4D: Preview Path") if request.preview else told("EX-4D: Generate")


def request_to_json(request: Request) -> str:
    """A request in the form stored in the .blend."""
    return json.dumps({"kind": type(request).__name__, "format": FORMAT, **asdict(request)})


def request_from_json(text: str) -> Request | None:
    """Inverse of `request_to_json`; None for requests written by another version of the add-on."""
    try:
        fields = json.loads(text)
        kind = {kind.__name__: kind for kind in _KEPT}[fields.pop("kind")]
        return kind(**fields) if fields.pop("format") == FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
