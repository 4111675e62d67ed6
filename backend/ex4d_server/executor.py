"""Where attempts run: the small interface between the supervisor and whatever manages processes.

The supervisor decides which job runs and records its outcome; it alone touches the journal. An executor manages
processes and timeouts, and knows attempts by their leases. `ex4d_server.worker_executor` implements it for one worker,
here or on a machine of a cluster, and `ex4d_server.pool` combines several of these into one.
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
    """The attempt ended without reporting an outcome: its process died, hung, or could not be started."""

    lease: int
    message: str


@dataclass(frozen=True)
class PutBack:
    """The attempt never began, for reasons unrelated to the job, so it does not count."""

    lease: int
    message: str


AttemptEvent = Step | Finished | Failed | Stopped | Lost | PutBack
"""An event of an attempt. Every event but a `Step` is the attempt's last."""


NOTHING_LOADED = Unloaded(False, "Nothing is loaded.")
WHOLE_STEPS = 4.0


@dataclass(frozen=True)
class Deadlines:
    """How long a worker may be silent, in seconds. docs/server.md explains the values.

    Attributes:
        beat: between two heartbeats, which a thread of the worker sends every second whatever the job does. If they
            stop, the process is suspended, thrashing, or blocked in native code; busy or idle, it is replaced.
        step: between two steps of a stage that has several.
        whole: for work without intermediate steps: a stage of a single step, such as loading or decoding, and
            everything before the first stage, such as downloading weights.
        cancel: for a cancelled job to stop, before its worker is asked to end.
        term: for a worker to end when asked, before it is killed.
        idle: without a job, before a worker is ended and its memory released.
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
        """The default deadlines with another one for steps; work without steps gets four times as long."""
        return cls(step=step, whole=WHOLE_STEPS * step)


class Executor(Protocol):
    """Runs attempts. No method blocks for longer than it takes to end a process."""

    @property
    def sockets(self) -> tuple[zmq.Socket, ...]:
        """Sockets to poll for input; `tick` reads them."""

    def has_room(self) -> bool:
        """Whether `start` may be called."""

    def start(self, lease: int, job: Job, owner: str) -> None:
        """Begin an attempt for an owner. Never raises: failures are reported as `Lost`."""

    def device(self, lease: int) -> str:
        """Display name of the device that an attempt runs on; empty if not known yet."""

    def cancel(self, lease: int) -> None:
        """Tell an attempt to stop, and end it if it does not."""

    def tick(self) -> list[AttemptEvent]:
        """Read incoming messages and check the deadlines; returns the events of attempts, in order."""

    def folder(self, lease: int) -> Path | None:
        """Folder of the attempt, with the files of a finished one in `out`; None if they are already in the store."""

    def clean(self, lease: int) -> None:
        """Remove the leftovers of an attempt that has ended."""

    def unload(self, owner: str) -> Unloaded:
        """Free the memory of idle workers whose last job belonged to this owner; others are told nothing is loaded."""

    def close(self) -> None:
        """End all workers and everything they started."""
