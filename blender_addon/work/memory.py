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

    elsewhere: StringProperty(
        name="Elsewhere",
        description="The same of servers that do the work no longer, by their names, in JSON; empty without one",
    )

    unsent: BoolProperty(name="Unsent", description="The server has not said yet that it has the take under way")

    def remember(self, request: requests.Request, job_id: str, taken: bool) -> None:
        """Keep a job; what the server has not said to have `taken` has to be sent anew."""
        self.turn_to(preferences().server)
        self.job_id, self.request = job_id, requests.request_to_json(request)
        self.unsent = not taken and isinstance(request, requests.TakeRequest)

    def forget(self) -> None:
        """No job is under way any more."""
        self.job_id, self.request, self.unsent = "", "", False

    def turn_to(self, server: str) -> None:
        """Set aside what another server has of the scene, and bring back what this one has, see `elsewhere`."""
        if self.server == server:
            return
        aside = self._aside()
        if self.job_id or self.waiting:
            aside[self.server] = [self.job_id, self.request, self.unsent, self.waiting]
        self.server = server
        self.job_id, self.request, self.unsent, self.waiting = aside.pop(server, ["", "", False, ""])
        self.elsewhere = json.dumps(aside) if aside else ""

    @property
    def servers_elsewhere(self) -> set[str]:
        """Names of servers that do the work no longer and have something of the scene."""
        return set(self._aside())

    def _aside(self) -> dict[str, list]:
        with suppress(ValueError, TypeError, AttributeError):  # nothing, or not ours
            return {
                str(server): [str(job_id), str(request), bool(unsent), str(waiting)]
                for server, (job_id, request, unsent, waiting) in json.loads(self.elsewhere).items()
            }
        return {}

    @property
    def remembered(self) -> tuple[requests.Request, str] | None:
        """What was asked and the job's id; None without one that the server has, or with one of another version."""
        request = requests.request_from_json(self.request) if self.job_id and not self.unsent else None
        return None if request is None else (request, self.job_id)


def keep(waiting: tuple[Waiting, ...]) -> None:
    """Write what waits into the scenes that it is for, with the id under which it was sent, and whether the server has
    said to have it."""
    texts: dict[str, list] = {}
    for place, each in enumerate(waiting):
        if (scene := objects.find_scene(each.request)) is not None:
            texts.setdefault(scene.name, []).append(
                [place, each.job_id or each.again, requests.request_to_json(each.request), each.taken]
            )
    for scene in bpy.data.scenes:
        text = json.dumps(texts[scene.name]) if scene.name in texts else ""
        if scene.library is None and scene.ex4d.waiting != text:
            scene.ex4d.turn_to(preferences().server)
            scene.ex4d.waiting = text


def turn() -> tuple[str, ...]:
    """Let all scenes of the open file remember what the chosen server has; names of others that have something."""
    names = set()
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        scene.ex4d.turn_to(preferences().server)
        names |= scene.ex4d.servers_elsewhere
    return tuple(sorted(names))


def kept() -> tuple[Waiting, ...]:
    """What waited when the open file was saved, in order; what another version of the add-on wrote is left out."""
    found = []
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        entries = [(-1, scene.ex4d.job_id, scene.ex4d.request, False)] if scene.ex4d.unsent else []
        with suppress(ValueError, TypeError):  # nothing, or not ours
            entries += [_entry(*each) for each in json.loads(scene.ex4d.waiting)]
        for place, job_id, text, taken in entries:
            if isinstance(request := requests.request_from_json(text), requests.TakeRequest):
                here = replace(request, scene=scene.name, scene_uid=scene.session_uid)
                known = {"job_id": job_id} if taken else {"again": job_id}
                found.append((place, Waiting(here, taken=taken, **known)))
    by_path: dict[str, Waiting] = {}
    for _place, each in sorted(found, key=lambda pair: pair[0]):
        by_path.setdefault(each.request.path, each)  # a scene that was copied has copies of them
    return tuple(by_path.values())


def _entry(place: int, job_id: str, text: str, taken: bool | None = None) -> tuple[int, str, str, bool]:
    """What `keep` wrote of a take; earlier versions kept ids only of what the server had."""
    return int(place), str(job_id), str(text), bool(job_id) if taken is None else bool(taken)
