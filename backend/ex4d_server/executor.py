"""Where attempts run: the small interface between the supervisor and whatever has processes.

The supervisor decides which job runs and writes down what came of it; it alone touches the journal. An executor has
processes and clocks, and knows attempts by their leases. `ex4d_server.worker_executor` has that of one worker, here or
on a machine of a cluster, and `ex4d_server.pool` several of these as one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zmq

from ex4d.jobs.messages import Unloaded
from ex4d.pipeline.requests import Job
from ex4d_server.orders import Failed, Finished, Step, Stopped


@dataclass(frozen=True)
class Lost:
    """The attempt is gone without a word of its own: its process died, hung, or could not be started."""

    lease: int
    message: str


@dataclass(frozen=True)
class PutBack:
    """The attempt did not begin, for reasons that have nothing to do with the job: it does not count."""

    lease: int
    message: str


AttemptEvent = Step | Finished | Failed | Stopped | Lost | PutBack
"""What becomes of an attempt. After any but a `Step` nothing more comes of it."""


NOTHING_LOADED = Unloaded(False, "Nothing is loaded.")
WHOLE_STEPS = 4.0


@dataclass(frozen=True)
class Deadlines:
    """How long a worker may be silent, in seconds. docs/server.md says why these.

    Attributes:
        beat: between two signs of life, which a thread of the worker gives each second whatever the job does. Without
            them the process is stopped, thrashing, or held by native code; idle or not, it is replaced.
        step: between two steps of a stage that has several.
        whole: for what has no steps between which it could say something: a stage of a single step, such as loading or
            decoding, and what comes before the first stage, such as a download of weights.
        cancel: for a job that was told to stop, before its worker is asked to end.
        term: for a worker that was asked to end, before it is ended.
        idle: for a worker without a job, before it is ended and gives back what it holds.
        place: for a cluster to find a machine for a worker, before the job goes back to the queue.
    """

    beat: float = 120.0
    step: float = 1800.0
    whole: float = WHOLE_STEPS * 1800.0
    cancel: float = 5.0
    term: float = 2.0
    idle: float = 900.0
    place: float = 60.0

    @classmethod
    def for_step(cls, step: float) -> "Deadlines":
        """Deadlines with another one for steps; what has no steps gets four times as long."""
        return cls(step=step, whole=WHOLE_STEPS * step)


class Executor(Protocol):
    """Runs attempts. None of its methods waits longer than it takes to end a process."""

    @property
    def sockets(self) -> tuple[zmq.Socket, ...]:
        """To be polled for input; `tick` reads them."""

    def has_room(self) -> bool:
        """Whether `start` may be called."""

    def start(self, lease: int, job: Job, owner: str) -> None:
        """Begin an attempt for an owner. Never raises: what goes wrong comes as `Lost`."""

    def device(self, lease: int) -> str:
        """What an attempt runs on, for people; empty if that is not known yet."""

    def cancel(self, lease: int) -> None:
        """Tell an attempt to stop, and end it when it does not."""

    def tick(self) -> list[AttemptEvent]:
        """Read what has come and look at the clocks; returns what became of attempts, in order."""

    def folder(self, lease: int) -> Path | None:
        """Folder of the attempt, in whose `out` a finished one has its files; None if these are in the store."""

    def clean(self, lease: int) -> None:
        """Remove what is left of an attempt that has ended."""

    def unload(self, owner: str) -> Unloaded:
        """Free the memory of idle workers whose last job was this owner's; to others nothing is loaded."""

    def close(self) -> None:
        """End all workers with all they started."""
