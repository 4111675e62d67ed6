"""The job under way, and what waits, as the .blend remembers them: they are followed again when the file is opened."""

import json
from contextlib import suppress
from dataclasses import replace

import bpy
from bpy.props import BoolProperty, StringProperty

from ..scene import objects
from ..ui.preferences import preferences
from ..work import requests
from ..work.queue import Waiting


class JobMemory:
    """The memory, as a part of `scene.ex4d`."""

    job_id: StringProperty(name="Job", description="The job under way, followed again when the file is opened")
    request: StringProperty(name="Request", description="What the job under way was asked, in JSON")
    server: StringProperty(
        name="Server of Jobs",
        description="The server that has the job under way and what waits; empty for the one on this machine",
    )

    waiting: StringProperty(
        name="Waiting",
        description="Takes of the scene that wait, each with its place in the queue and its job, in JSON",
    )

    unsent: BoolProperty(name="Unsent", description="The server has not said yet that it has the take under way")

    def remember(self, request: requests.Request, job_id: str, taken: bool) -> None:
        """Keep a job; what the server has not said to have `taken` has to be sent anew."""
        self.job_id, self.request = job_id, requests.request_to_json(request)
        self.server = preferences().server
        self.unsent = not taken and isinstance(request, requests.TakeRequest)

    def forget(self) -> None:
        """No job is under way any more."""
        self.job_id, self.request, self.unsent = "", "", False

    @property
    def remembered(self) -> tuple[requests.Request, str] | None:
        """What was asked and the job's id; None without one that the server has, or with one of another version."""
        request = requests.request_from_json(self.request) if self.job_id and not self.unsent else None
        return None if request is None else (request, self.job_id)


def keep(waiting: tuple[Waiting, ...]) -> None:
    """Write what waits into the scenes that it is for; the job of one that the server may not have means nothing."""
    texts: dict[str, list] = {}
    for place, each in enumerate(waiting):
        if (scene := objects.find_scene(each.request)) is not None:
            texts.setdefault(scene.name, []).append(
                [place, each.job_id if each.taken else "", requests.request_to_json(each.request)]
            )
    for scene in bpy.data.scenes:
        text = json.dumps(texts[scene.name]) if scene.name in texts else ""
        if scene.library is None and scene.ex4d.waiting != text:
            scene.ex4d.waiting, scene.ex4d.server = text, preferences().server


def elsewhere() -> str | None:
    """Name of the server that has jobs of the open file, where another does the work now; else None."""
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        facts = scene.ex4d
        if (facts.job_id or facts.waiting) and facts.server != preferences().server:
            return str(facts.server)
    return None


def kept() -> tuple[Waiting, ...]:
    """What waited when the open file was saved, in order; what another version of the add-on wrote is left out."""
    found = []
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        entries = [(-1, "", scene.ex4d.request)] if scene.ex4d.unsent else []
        with suppress(ValueError, TypeError):  # nothing, or not ours
            entries += [(int(place), str(job_id), str(text)) for place, job_id, text in json.loads(scene.ex4d.waiting)]
        for place, job_id, text in entries:
            if isinstance(request := requests.request_from_json(text), requests.TakeRequest):
                here = replace(request, scene=scene.name, scene_uid=scene.session_uid)
                found.append((place, Waiting(here, job_id, taken=bool(job_id))))
    by_path: dict[str, Waiting] = {}
    for _place, each in sorted(found, key=lambda pair: pair[0]):
        by_path.setdefault(each.request.path, each)  # a scene that was copied has copies of them
    return tuple(by_path.values())
