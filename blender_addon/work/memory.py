"""Storing the job under way and waiting takes in the .blend, so that they are followed again when it is opened."""

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
    """Properties of `scene.ex4d` that remember jobs."""

    job_id: StringProperty(name="Job", description="Job under way, which is followed again when the file is opened")
    request: StringProperty(name="Request", description="Request of the job under way, in JSON")
    server: StringProperty(
        name="Server of Jobs",
        description="Server that has the job under way and the waiting takes; empty for the one on this machine",
    )

    waiting: StringProperty(
        name="Waiting",
        description="Waiting takes of the scene, each with its place in the queue and its job, in JSON",
    )

    elsewhere: StringProperty(
        name="Elsewhere",
        description="Jobs and waiting takes left on other servers, by server name, in JSON; empty if there are none",
    )

    unsent: BoolProperty(name="Unsent", description="The server has not yet confirmed that it has the take under way")

    def remember(self, request: requests.Request, job_id: str, taken: bool) -> None:
        """Store a job; a take that the server has not confirmed to have (`taken`) will have to be sent again."""
        self.turn_to(preferences().server)
        self.job_id, self.request = job_id, requests.request_to_json(request)
        self.unsent = not taken and isinstance(request, requests.TakeRequest)

    def forget(self) -> None:
        """Clear the job under way."""
        self.job_id, self.request, self.unsent = "", "", False

    def turn_to(self, server: str) -> None:
        """Set aside the scene's jobs on the current server, and bring back those on `server`, see `elsewhere`."""
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
        """Names of other servers that still have jobs of the scene."""
        return set(self._aside())

    def _aside(self) -> dict[str, list]:
        with suppress(ValueError, TypeError, AttributeError):  # empty, or not ours
            return {
                str(server): [str(job_id), str(request), bool(unsent), str(waiting)]
                for server, (job_id, request, unsent, waiting) in json.loads(self.elsewhere).items()
            }
        return {}

    @property
    def remembered(self) -> tuple[requests.Request, str] | None:
        """The request and id of the job under way; None if the server has none, or for another version's request."""
        request = requests.request_from_json(self.request) if self.job_id and not self.unsent else None
        return None if request is None else (request, self.job_id)


def keep(waiting: tuple[Waiting, ...]) -> None:
    """Write waiting takes into their scenes, with their job ids and whether the server has confirmed to have them."""
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
    """Switch all scenes of the open file to the jobs of the chosen server; returns names of others that have jobs."""
    names = set()
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        scene.ex4d.turn_to(preferences().server)
        names |= scene.ex4d.servers_elsewhere
    return tuple(sorted(names))


def kept() -> tuple[Waiting, ...]:
    """The takes that waited when the open file was saved, in order, without those written by other add-on versions."""
    found = []
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        entries = [(-1, scene.ex4d.job_id, scene.ex4d.request, False)] if scene.ex4d.unsent else []
        with suppress(ValueError, TypeError):  # empty, or not ours
            entries += [_entry(*each) for each in json.loads(scene.ex4d.waiting)]
        for place, job_id, text, taken in entries:
            if isinstance(request := requests.request_from_json(text), requests.TakeRequest):
                here = replace(request, scene=scene.name, scene_uid=scene.session_uid)
                known = {"job_id": job_id} if taken else {"again": job_id}
                found.append((place, Waiting(here, taken=taken, **known)))
    by_path: dict[str, Waiting] = {}
    for _place, each in sorted(found, key=lambda pair: pair[0]):
        by_path.setdefault(each.request.path, each)  # copied scenes have copies of them
    return tuple(by_path.values())


def _entry(place: int, job_id: str, text: str, taken: bool | None = None) -> tuple[int, str, str, bool]:
    """Parse an entry written by `keep`; earlier versions stored ids only of jobs that the server had."""
    return int(place), str(job_id), str(text), bool(job_id) if taken is None else bool(taken)
