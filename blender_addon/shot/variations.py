"""Variations: the same take with other seeds, all with the camera as it is when they are asked for."""

import shutil
from dataclasses import replace

import bpy

from ex4d.jobs.messages import Capabilities

from ..shot import takes
from ..translations import told
from ..work import capabilities
from ..work.requests import TakeRequest


def refusal(scene: bpy.types.Scene, server: Capabilities | None) -> str:
    """Why several takes would all be the same one: no model makes them, so nothing depends on the seed; "" otherwise.

    What a server that has not answered yet would run is not known, and not refused.
    """
    chosen = capabilities.generator_for(scene.ex4d.generator_name, server).info if server is not None else None
    if chosen is None or not chosen.is_preview:
        return ""
    return told("The preview looks the same with every seed.")


def requests(scene: bpy.types.Scene, number: int, server: Capabilities | None = None) -> list[TakeRequest]:
    """What to ask for `number` takes with the seeds s, s+1, ..., where s is that of the panel.

    The camera is read once; each request has a file of its own with its path, as whoever ends a request removes that.

    Raises:
        InputError: see `takes.request_take`.
    """
    first = takes.request_take(scene, preview=False, server=server)
    found = [first]
    for further in range(1, number):
        path = takes.new_path_file()
        shutil.copyfile(first.path, path)
        seed = first.generation["seed"] + further
        found.append(replace(first, path=str(path), generation={**first.generation, "seed": seed}))
    return found
