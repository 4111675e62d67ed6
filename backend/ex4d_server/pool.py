"""Several workers as one executor: each has its own device and one job at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq

from ex4d.jobs.messages import Unloaded
from ex4d.pipeline.requests import Fill, Generate, Job
from ex4d_server.executor import NOTHING_LOADED, AttemptEvent
from ex4d_server.orders import work_folder
from ex4d_server.platform import remove_tree
from ex4d_server.worker_executor import WorkerExecutor


@dataclass
class Place:
    """One worker's place, and its last job, whose model and shot it has warm."""

    executor: WorkerExecutor
    job: Job | None = None
    lease: int = 0


class Pool:
    """An executor of several workers, see `Executor`.

    Args:
        executors: one for each worker.
        state: the state folder, which holds the attempts' folders; None if the workers do not see this disk.
    """

    def __init__(self, executors: Sequence[WorkerExecutor], state: Path | None) -> None:
        self._state = state
        self._places = [Place(executor) for executor in executors]
        self._busy: dict[int, Place] = {}

    @property
    def sockets(self) -> tuple[zmq.Socket, ...]:
        """See `Executor`."""
        return tuple(socket for place in self._places for socket in place.executor.sockets)

    def has_room(self) -> bool:
        """See `Executor`."""
        return any(place.executor.has_room() for place in self._places)

    def start(self, lease: int, job: Job, owner: str) -> None:
        """See `Executor`. The job goes to the free worker that has most of what it needs warm."""
        free = [place for place in self._places if place.executor.has_room()]
        # Among equals, the one whose last job started first, so that the others keep what they have warm.
        place = max(free, key=lambda place: (_warmth(place, job), -place.lease))
        place.job, place.lease = job, lease
        self._busy[lease] = place
        place.executor.start(lease, job, owner)

    def device(self, lease: int) -> str:
        """See `Executor`."""
        place = self._busy.get(lease)
        return place.executor.device if place else ""

    def cancel(self, lease: int) -> None:
        """See `Executor`."""
        if place := self._busy.get(lease):
            place.executor.cancel(lease)

    def tick(self) -> list[AttemptEvent]:
        """See `Executor`."""
        return [event for place in self._places for event in place.executor.tick()]

    def folder(self, lease: int) -> Path | None:
        """See `Executor`."""
        return None if self._state is None else work_folder(self._state, lease)

    def clean(self, lease: int) -> None:
        """See `Executor`."""
        self._busy.pop(lease, None)
        if folder := self.folder(lease):
            remove_tree(folder)

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
    """How much of what a job needs a worker has warm: the model counts most, because it takes a minute to load, then
    the shot. A worker that is not running has nothing warm, and nothing that another job would miss."""
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
    """The generator of a job; None if the job has none."""
    return job.generation.generator if isinstance(job, Generate | Fill) else None
