"""What an artist can ask for, as data that the .blend keeps: opening, taking, finding the clip, another detail."""

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
        scene_uid: Blender's `session_uid` of it, which stays when it is renamed; 0 where only the name is known.
        shot: names the folder to make, or is the scene's own shot: then its camera and takes stay.
        clip, depth, camera: files or folders; depth and camera are "" where there is none.
        settings: `ex4d.pipeline.settings.SourceSettings` in plain JSON.
        asked: the panel's settings behind all this, in JSON.
        pixels: of the working picture; 0 where that is not known.
        before: the panel's settings of the shot that stands, as long as it stands; empty if they are not others.
        notes: what the add-on itself has to say.
        match_scene: give a new shot's scene the clip's range, rate and size.
        again: estimate the depth anew.
        source, files: as below; known once the files are hashed.
        viewport: address of the 3D View that was asked, which will look at the shot; 0 for any.
        then: the `camera_motion` to look for by itself once the shot stands; "" looks for none.
        only_camera: look for the camera of the shot that stands, and change nothing else.
        moving: a mask of what moves, for that search; "" where there is none.
        moving_mask: name of a mask drawn in Blender, whose pictures `moving` will be; "" where there is none.
        said: what was said before the search, which its message goes on from.
        standing: file with the depth of the shot, which stays while that of new frames is estimated; "" where all
            frames are estimated, or none.
        standing_source: what the shot was opened with, in JSON, where its depth is `standing`.
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
    """Take the shot again along the camera file `path`.

    Attributes:
        source: the job's source in JSON.
        files: where the job's files are by hash.
        generation, render: `GenerateSettings` and `RenderSettings` of `ex4d.pipeline.settings`, in plain JSON.
        preview: asks only for what the camera will see.
        scene, scene_uid: as in `OpenRequest`.
        seen: scene frame that was shown when it was asked for.
        camera: name of the camera that is followed; "" where that is not known.
        bystanders: what has to be said of the artist's own objects.
        plate: absolute path of a clean plate; "" takes that of the source, if it has one.
        earlier: absolute path of the folder of an earlier take; "" takes that of the source, if it has one.
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
    """The shot's clip was moved: is it the file or folder `clip` now? Needs no server.

    Attributes:
        scene, scene_uid, shot: as in `OpenRequest`.
        clip: its absolute path.
    """

    scene: str
    shot: str
    clip: str
    scene_uid: int = 0


@dataclass(frozen=True)
class DetailRequest:
    """Let the shot's mesh stand as fine as `detail` says, see `ClipChoices.detail`. Needs no server.

    Attributes:
        scene, scene_uid, shot: as in `OpenRequest`.
    """

    scene: str
    shot: str
    detail: str
    scene_uid: int = 0


@dataclass(frozen=True)
class FetchRequest:
    """Fetch a take that another Blender of the same user has asked for and left on the server.

    Attributes:
        scene, scene_uid: as in `OpenRequest`, of the scene where this was asked.
        shot: that the take is of; its folder may be known here or not.
        job_id: the server's name for it.
        file: name of the .blend that it was made for; "" where that is not known.
    """

    scene: str
    shot: str
    job_id: str
    file: str = ""
    scene_uid: int = 0


Request = OpenRequest | TakeRequest | FindRequest | DetailRequest | FetchRequest

_KEPT = OpenRequest, TakeRequest, FetchRequest
"""What a job of the server is for, so that a file which is opened again goes on with it."""

FORMAT = 2
"""Of a request in the .blend; 0.1 wrote none."""


def undo_name(request: Request) -> str:
    """What a request is called in Blender's list of undo steps, which has room for 64 bytes."""
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
    """A request as it is kept in the .blend."""
    return json.dumps({"kind": type(request).__name__, "format": FORMAT, **asdict(request)})


def request_from_json(text: str) -> Request | None:
    """Inverse of `request_to_json`; None for what another version of the add-on wrote."""
    try:
        fields = json.loads(text)
        kind = {kind.__name__: kind for kind in _KEPT}[fields.pop("kind")]
        return kind(**fields) if fields.pop("format") == FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
