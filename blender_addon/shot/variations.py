"""Variations: the same take with several seeds, all with the camera as it is when they are requested."""

import shutil
from dataclasses import replace

import bpy

from ex4d.jobs.messages import Capabilities

from ..shot import takes
from ..translations import told
from ..work import capabilities
from ..work.requests import TakeRequest


def refusal(scene: bpy.types.Scene, server: Capabilities | None) -> str:
    """Why several takes would all look the same, because no model makes them and the seed has no effect; else "".

    If the server has not answered yet, it is not known what would run, and nothing is refused.
    """
    chosen = capabilities.generator_for(scene.ex4d.generator_name, server).info if server is not None else None
    if chosen is None or not chosen.is_preview:
        return ""
    return told("The preview looks the same with every seed.")


def requests(scene: bpy.types.Scene, number: int, server: Capabilities | None = None) -> list[TakeRequest]:
    """Requests for `number` takes with seeds s, s+1, ..., where s is the panel's seed.

    The camera is sampled once, but each request gets its own path file, which is deleted when the request ends.

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
