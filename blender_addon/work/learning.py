"""Learns how long things take: measures the job under way, and remembers what has ended for the next estimate."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import bpy

from ..identity import PACKAGE
from ..scene import compat, mesh_object, objects
from ..shot import files, takes
from ..ui.preferences import preferences
from ..work import pace, state
from ..work.requests import DetailRequest, OpenRequest, Request, TakeRequest
from ..work.state import State

BLENDER = "Blender"
"""Stands for the server's address where Blender does the work."""


class Learning:
    """What is known of the server, and the stopwatch.

    Attributes:
        watch: measures the job under way.
        known: the server's address and what is known of it by kind of job, once it was read; see `paces`.
    """

    def __init__(self) -> None:
        self.watch = pace.Stopwatch()
        self.known: tuple[str, dict[str, pace.Known]] | None = None
        self._result: Mapping[str, Any] = {}

    @property
    def paces(self) -> dict[str, pace.Known]:
        """What is known of how long things take on the server, by kind of job."""
        address = preferences().server or preferences().address
        if self.known is None or self.known[0] != address:
            self.known = address, pace.load(_file(), address)
        return self.known[1]

    @property
    def here(self) -> dict[str, pace.Known]:
        """The same of what Blender does itself, whatever the server."""
        return pace.load(_file(), BLENDER)

    def learn_here(self, kind: str, seconds: float, points: int, bytes_: float) -> None:
        """Learn from what Blender has done itself, for so many vertices in all frames."""
        if points:
            known = self.here
            known[kind] = pace.learn(known.get(kind), {"all": seconds}, points, bytes_)
            pace.save(_file(), BLENDER, known)

    def follow(self, event: state.Event, before: State, after: State) -> None:
        """Measure what goes on; learn from what has ended well."""
        now = time.monotonic()
        if isinstance(event, state.Reopened | state.Reconnected):
            self.watch.stages = None  # its beginning was not seen, or what followed
        elif after.busy and (not before.busy or (isinstance(event, state.Pressed) and after.request is event.request)):
            self.watch.begin(now)
        self.watch.see(after.stage if after.busy and not after.trouble else "", now)
        if isinstance(event, state.Updated) and before.phase == "working" and after.phase == "importing":
            self._result = event.update.facts
        if isinstance(event, state.Imported) and before.phase == "importing" and self.watch.stages:
            with suppress(OSError):  # files that are gone already teach nothing
                self._learn(before.request, self.watch.stages)

    def take_turn(self, from_start: bool) -> None:
        """A job that waited is the one under way now; measure it if its beginning can be seen."""
        if from_start:
            self.watch.begin(time.monotonic())
        else:
            self.watch.stages = None

    def _learn(self, request: Request, stages: Mapping[str, float]) -> None:
        scene = objects.find_scene(request)
        if scene is None:
            return
        facts = scene.ex4d
        if isinstance(request, DetailRequest):
            points = mesh_object.points(scene)
            self.learn_here(pace.DETAIL, sum(stages.values()), points, mesh_object.pc2_bytes(points, 1))
            return
        about = pace.of_job(request, self._result, (facts.width, facts.height))
        if about is None or not about[1]:
            return
        kind, pixels = about
        result = pixels
        if isinstance(request, TakeRequest) and not request.preview:
            frames, told = pixels // (facts.width * facts.height), self._result
            result = frames * told.get("width", 0) * told.get("height", 0)  # older servers do not tell
        self.paces[kind] = pace.learn(self.paces.get(kind), stages, pixels, _bytes(_folder(scene, request)), result)
        pace.save(_file(), preferences().server or preferences().address, self.paces)


def _file() -> Path:
    return compat.user_folder(PACKAGE) / "pace.json"


def _folder(scene: bpy.types.Scene, request: Request) -> Path | None:
    """Where the files are that have just come."""
    facts = scene.ex4d
    if isinstance(request, OpenRequest):
        return files.absolute(facts.image.filepath).parent
    return takes.take_folder(scene, facts.takes[-1].number, facts.takes[-1].view)


def _bytes(folder: Path | None) -> int:
    """Of the files in a folder, but not of takes and openings inside of it."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) if folder is not None else 0
