"""Proxies: small movies of takes, shown in the sequencer while a take's files arrive over a slow connection.

Nothing else knows about such a strip: it is in no list, and it is removed when the take arrives or fails. Proxies
brought back by undo, or by a file saved in the meantime, are removed as well.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import bpy

from ex4d.errors import InputError

from ..identity import PACKAGE
from ..scene import compat, objects
from ..shot import files, part, takes
from ..translations import told
from ..work.requests import TakeRequest

MARK, MADE_SCENE_RENDER = "ex4d_proxy", "ex4d_proxy_before"
"""Custom properties of the strip: its job, and whether it is the first strip of its scene."""


FILE = "proxy.mp4"
"""Name that the server gives the movie."""


def show(request: TakeRequest, update: Any) -> None:
    """Put the movie where the take will be; if that is not possible, discard it, because the take arrives anyway."""
    scene = objects.find_scene(request)
    if scene is None or scene.ex4d.shot != request.shot:
        discard(update.proxy)
        return
    is_first = bool(takes.keep_rendering_the_scene(scene))
    start = part.scene_frame(scene.ex4d, json.loads(request.source)["settings"]["start"])
    try:
        strip = takes.insert_strip(scene, told("EX-4D Proxy"), update.proxy, start, len(update.facts["coverage"]))
    except InputError:
        discard(update.proxy)
        _render_strips_again(scene, is_first)
        return
    strip[MARK], strip[MADE_SCENE_RENDER] = update.job_id, is_first


def is_shown() -> bool:
    """Whether there is any proxy strip."""
    return any(MARK in strip for scene in bpy.data.scenes for strip in compat.all_strips(scene))


def remove(but: str = "") -> None:
    """Remove all proxy strips and their movies, except those of the job `but`."""
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        for strip in [strip for strip in compat.all_strips(scene) if strip.get(MARK, but) != but]:
            movie, was_first = Path(bpy.path.abspath(strip.filepath)), strip[MADE_SCENE_RENDER]
            compat.remove_strip(scene, strip)
            _render_strips_again(scene, was_first)
            discard(movie)


def discard(movie: Path | None) -> None:
    """Delete the movie of a proxy, but only inside the folder of downloaded results."""
    if movie is not None and files.lies_in(movie.parent, _downloads()):
        with suppress(OSError):  # for example, another program has it open
            movie.unlink(missing_ok=True)
            movie.parent.rmdir()


def tidy() -> None:
    """At startup, remove movies left by a Blender that was closed while it showed them."""
    for movie in _downloads().glob(f"*/{FILE}"):
        if files.is_left_over(movie):
            discard(movie)


def _downloads() -> Path:
    """Folder for downloaded results, with a folder for each job."""
    return compat.user_folder(PACKAGE) / "downloads"


def _render_strips_again(scene: bpy.types.Scene, was_first: bool) -> None:
    """Undo `keep_rendering_the_scene` if the removed strip was the reason for it."""
    if was_first and not compat.all_strips(scene):
        scene.render.use_sequencer = True
