"""Learning how long things take: measures the job under way and stores finished ones for the next estimate."""

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
"""Stands for the server's address if Blender itself does the work."""


class Learning:
    """What has been measured of the server, and the stopwatch.

    Attributes:
        watch: stopwatch for the job under way.
        known: the server's name or address and its paces by kind of job, once read; see `paces`.
    """

    def __init__(self) -> None:
        self.watch = pace.Stopwatch()
        self.known: tuple[str, dict[str, pace.Known]] | None = None
        self._result: Mapping[str, Any] = {}

    @property
    def paces(self) -> dict[str, pace.Known]:
        """How long things take on the server, by kind of job."""
        address = preferences().server or preferences().address
        if self.known is None or self.known[0] != address:
            self.known = address, pace.load(_file(), address)
        return self.known[1]

    @property
    def here(self) -> dict[str, pace.Known]:
        """How long things take that Blender does itself, whatever the server."""
        return pace.load(_file(), BLENDER)

    def learn_here(self, kind: str, seconds: float, points: int, bytes_: float) -> None:
        """Learn from work that Blender has done itself.

        Args:
            kind: kind of work, such as `pace.DETAIL`.
            seconds: how long it took.
            points: number of vertices, summed over all frames.
            bytes_: size of the files on disk.
        """
        if points:
            known = self.here
            known[kind] = pace.learn(known.get(kind), {"all": seconds}, points, bytes_)
            pace.save(_file(), BLENDER, known)

    def follow(self, event: state.Event, before: State, after: State) -> None:
        """Measure the job under way, and learn from it if it ends well."""
        now = time.monotonic()
        if isinstance(event, state.Reopened | state.Reconnected):
            self.watch.stages = None  # its beginning, or some of it since, was not seen
        elif after.busy and (not before.busy or (isinstance(event, state.Pressed) and after.request is event.request)):
            self.watch.begin(now)
        self.watch.see(after.stage if after.busy and not after.trouble else "", now)
        if isinstance(event, state.Updated) and before.phase == "working" and after.phase == "importing":
            self._result = event.update.facts
        if isinstance(event, state.Imported) and before.phase == "importing" and self.watch.stages:
            with suppress(OSError):  # files that are already gone teach nothing
                self._learn(before.request, self.watch.stages)

    def take_turn(self, from_start: bool) -> None:
        """Start measuring a job that waited and is under way now, if it is seen from its start."""
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
            result = frames * told.get("width", 0) * told.get("height", 0)  # older servers do not report these
        self.paces[kind] = pace.learn(self.paces.get(kind), stages, pixels, _bytes(_folder(scene, request)), result)
        pace.save(_file(), preferences().server or preferences().address, self.paces)


def _file() -> Path:
    return compat.user_folder(PACKAGE) / "pace.json"


def _folder(scene: bpy.types.Scene, request: Request) -> Path | None:
    """Folder of the files that have just arrived."""
    facts = scene.ex4d
    if isinstance(request, OpenRequest):
        return files.absolute(facts.image.filepath).parent
    return takes.take_folder(scene, facts.takes[-1].number, facts.takes[-1].view)


def _bytes(folder: Path | None) -> int:
    """Total size of the files in a folder, without subfolders such as takes and openings."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) if folder is not None else 0
