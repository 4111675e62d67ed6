"""Several workers as one executor: each on a device of its own, a job for each at a time."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zmq

from ex4d.jobs.messages import Unloaded
from ex4d.pipeline.requests import Fill, Generate, Job
from ex4d_server.devices import Device
from ex4d_server.executor import NOTHING_LOADED, AttemptEvent, Deadlines
from ex4d_server.gate import Gate
from ex4d_server.local import ORPHAN_SECONDS, LocalExecutor
from ex4d_server.orders import STATE_VARIABLE, work_folder
from ex4d_server.platform import kill_all, processes_with, remove_tree

log = logging.getLogger("ex4d.server")


@dataclass
class Place:
    """One worker's place, and the job that it had last, whose models and shot are what it has warm."""

    executor: LocalExecutor
    job: Job | None = None
    lease: int = 0


class Pool:
    """An executor with as many workers as there are devices, see `Executor`.

    Args:
        context, gate, state, runner, deadlines, clock: see `LocalExecutor`.
        devices: of the workers.
    """

    def __init__(
        self,
        context: zmq.Context,
        gate: Gate,
        state: Path,
        devices: tuple[Device, ...],
        *,
        runner: str = "ex4d_server.worker:pipeline",
        deadlines: Deadlines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Of a server that was killed, which may have had more workers than this one.
        kill_all(processes_with(STATE_VARIABLE, str(state.resolve())), ORPHAN_SECONDS)
        self._state = state
        self._places = [
            Place(LocalExecutor(context, gate, state, device, number, runner=runner, deadlines=deadlines, clock=clock))
            for number, device in enumerate(devices, 1)
        ]
        self._busy: dict[int, Place] = {}

    @property
    def sockets(self) -> tuple[zmq.Socket, ...]:
        """See `Executor`."""
        return tuple(socket for place in self._places for socket in place.executor.sockets)

    def has_room(self) -> bool:
        """See `Executor`."""
        return any(place.executor.has_room() for place in self._places)

    def start(self, lease: int, job: Job, owner: str) -> str:
        """See `Executor`. Of the workers that are free, the one that has most of it warm gets the job."""
        free = [place for place in self._places if place.executor.has_room()]
        # Of equals the one that waited longest, so that what others have warm stays warm.
        place = max(free, key=lambda place: (_warmth(place, job), -place.lease))
        place.job, place.lease = job, lease
        self._busy[lease] = place
        return place.executor.start(lease, job, owner)

    def cancel(self, lease: int) -> None:
        """See `Executor`."""
        if place := self._busy.get(lease):
            place.executor.cancel(lease)

    def tick(self) -> list[AttemptEvent]:
        """See `Executor`."""
        return [event for place in self._places for event in place.executor.tick()]

    def folder(self, lease: int) -> Path:
        """See `Executor`."""
        return work_folder(self._state, lease)

    def clean(self, lease: int) -> None:
        """See `Executor`."""
        self._busy.pop(lease, None)
        remove_tree(self.folder(lease))

    def unload(self, owner: str) -> Unloaded:
        """See `Executor`."""
        answers = [place.executor.unload(owner) for place in self._places]
        freed = [answer for answer in answers if answer.freed]
        others = [answer for answer in answers if answer != NOTHING_LOADED]
        return next(iter(freed or others), NOTHING_LOADED)

    def close(self) -> None:
        """See `Executor`."""
        for place in self._places:
            place.executor.close()


def _warmth(place: Place, job: Job) -> int:
    """How much of what a job needs a worker has warm: its model counts most, which takes a minute to load, then its
    shot. One that is not running has nothing warm, and nothing that others would miss."""
    last = place.job if place.executor.is_running else None
    if last is None:
        return 2
    same_shot = _shot(job) is not None and _shot(last) == _shot(job)
    if _model(job) is not None and _model(last) == _model(job):
        return 3 + same_shot
    if _model(job) is None and same_shot:
        return 3
    return 1 if _model(last) is None else 0


def _shot(job: Job) -> object:
    return None if isinstance(job, Fill) else job.source


def _model(job: Job) -> str | None:
    """The generator of a job that has one."""
    return job.generation.generator if isinstance(job, Generate | Fill) else None
