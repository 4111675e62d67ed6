"""Bringing in a take that another Blender has left on the server."""

from pathlib import Path
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.pipeline import take

from ..scene import objects
from ..shot import files, take_list, takes
from ..shot.source import Steps
from ..translations import told
from ..work.requests import FetchRequest


def bring_in(request: FetchRequest, update: Any) -> Steps:
    """Add the take to the list of its shot if a scene of the open file has that shot; otherwise keep its files.

    Raises:
        InputError: the take cannot be shown in the current shot; its files are then with those of the other takes.
    """
    yield ("Adding Take", 0, 1)
    scene = _scene_of(request)
    if scene is None:
        _number, folder = files.numbered(files.user_shots().parent / "fetched", "take")
        files.bring(update.files, folder)
        return told("The take is in {folder}, because its shot is not in this file.", folder=folder)
    shot = scene.ex4d.folder
    number, folder = takes.new_folder(scene, shot, view=False)
    placed = files.bring(update.files, folder)
    _tell_inputs(scene, folder, placed)
    rendered = takes.keep_rendering_the_scene(scene)
    entry = take_list.list_one(scene, folder, number, view=False)
    said = told("{title} was fetched. It is in the sequencer.", title=entry.title)
    return " ".join(filter(None, (said, rendered)))


def _scene_of(request: FetchRequest) -> bpy.types.Scene | None:
    """The scene with the shot: the one in which it was requested, or another in the file; None if there is none."""
    asked = objects.find_scene(request)
    scenes = [*([asked] if asked is not None else []), *bpy.data.scenes]
    fits = (s for s in scenes if s.library is None and request.shot and s.ex4d.shot == request.shot and s.ex4d.folder)
    return next(fits, None)


def _tell_inputs(scene: bpy.types.Scene, folder: Path, placed: dict[str, Path]) -> None:
    """Write the paths of the take's input files, as far as the shot knows them, into the take's record."""
    try:
        record = take.read_record(placed[take.SIDECAR])
    except (InputError, KeyError):  # reported when the record is needed
        return
    places = {sha: Path(path) for sha, path in scene.ex4d.input_files.items()}
    take.write_record(placed[take.SIDECAR], take.with_inputs(record, folder, places))
