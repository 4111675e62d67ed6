"""The small movie of a take that stands in the sequencer while the take's files are on their way over a slow link.

Nothing else knows such a strip: it is in no list, and goes when the take comes, or comes to nothing. What undo, or a
file that was saved meanwhile, brings back is removed too.
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
"""Custom properties of the strip: the job that it is of; and that it is the first strip of its scene."""


FILE = "proxy.mp4"
"""Name of the movie, as the server makes it."""


def show(request: TakeRequest, update: Any) -> None:
    """Put the movie where the take will be. Where that cannot be, nothing happens: the take comes all the same."""
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
    """Whether there is such a strip."""
    return any(MARK in strip for scene in bpy.data.scenes for strip in compat.all_strips(scene))


def remove(but: str = "") -> None:
    """Remove all such strips, and their movies, but those of the job `but`."""
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        for strip in [strip for strip in compat.all_strips(scene) if strip.get(MARK, but) != but]:
            movie, was_first = Path(bpy.path.abspath(strip.filepath)), strip[MADE_SCENE_RENDER]
            compat.remove_strip(scene, strip)
            _render_strips_again(scene, was_first)
            discard(movie)


def discard(movie: Path | None) -> None:
    """Remove the movie of a proxy; nothing that lies elsewhere than results that have come."""
    if movie is not None and files.lies_in(movie.parent, _downloads()):
        with suppress(OSError):  # another program has it open, say
            movie.unlink(missing_ok=True)
            movie.parent.rmdir()


def tidy() -> None:
    """At start: remove movies of a Blender that was closed while it showed them."""
    for movie in _downloads().glob(f"*/{FILE}"):
        if files.is_left_over(movie):
            discard(movie)


def _downloads() -> Path:
    """Where results of jobs come, each job's in a folder of its own."""
    return compat.user_folder(PACKAGE) / "downloads"


def _render_strips_again(scene: bpy.types.Scene, was_first: bool) -> None:
    """Undo `keep_rendering_the_scene`, which the strip that is gone again was the reason for."""
    if was_first and not compat.all_strips(scene):
        scene.render.use_sequencer = True
