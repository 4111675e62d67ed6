"""The messages between the server's processes, encoded like those of `ex4d.jobs.messages`.

Supervisor and worker exchange messages about attempts, lookout and looker about looks.

A worker is admitted by the keys in its environment, and identifies itself with the token there. Every message about an
attempt carries the attempt's lease. Folders are derived from the state folder, so no paths are sent here either.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ex4d.jobs.messages import Count, Jpeg, Look, Result, Seen, Text, Unseen, Word
from ex4d.pipeline.requests import Blob, Job
from ex4d.plain import Tagged, length

TOKEN_VARIABLE = "EX4D_WORKER_TOKEN"
KEYS_VARIABLE = "EX4D_WORKER_KEYS"
"""Environment of a worker: the server's public key, and a key pair made for this worker alone."""
STATE_VARIABLE = "EX4D_WORKER_OF"
"""Environment of a worker and its child processes: the state folder, by which the next server finds leftovers."""
NUMBER_VARIABLE = "EX4D_WORKER_NUMBER"
"""The same, preceded by the worker's number, by which each worker's successor finds what it left behind."""
DEVICE_VARIABLE = "EX4D_WORKER_DEVICE"
RUNS_ON_VARIABLE = "EX4D_WORKER_RUNS_ON"
"""Environment of a worker: the name of its device for display, and for torch."""
LOG_VARIABLE = "EX4D_WORKER_LOG"
"""Environment of a worker: where its output goes, for display."""
LOOKER_VARIABLE = "EX4D_LOOKER_OF"
"""Like `STATE_VARIABLE`, for the looker process, which starts and ends independently of the workers."""
GONE = "The server has no depth of this shot: press Preview Path to send it."
"""Answer to a look at a file that is missing or belongs to another client."""
BEAT_SECONDS = 1.0
"""Interval of a worker's heartbeat."""
AGAIN_SECONDS = 5.0
"""Messages that must arrive are repeated at this interval until they are answered, since whatever is in transit when a
connection breaks is lost."""


@dataclass(frozen=True)
class Ready(Tagged):
    """Worker: it is there. Repeated until the first `Run`."""

    token: Word


@dataclass(frozen=True)
class Beat(Tagged):
    """Worker, from a separate thread and socket: the process is alive, whatever the job is doing."""

    token: Word


@dataclass(frozen=True)
class Run(Tagged):
    """Supervisor: run this job.

    `proxy` says that a client on another machine will fetch the result, see `proxy_of`. A worker that does not see the
    server's disk is given the port and the session by which it fetches and sends the job's files.
    """

    lease: Count
    job: Job
    proxy: bool = False
    files_port: Count = 0
    session: Annotated[str, length(0, 100)] = ""


@dataclass(frozen=True)
class Noted(Tagged):
    """Supervisor: the message that ended this attempt has arrived. Until then, the worker repeats it."""

    lease: Count


@dataclass(frozen=True)
class Stop(Tagged):
    """Supervisor: stop at the next step."""

    lease: Count


@dataclass(frozen=True)
class Bring(Tagged):
    """Supervisor: send the files announced by `Made`; or, with a `refusal`, why they are not accepted."""

    lease: Count
    refusal: Text = ""


@dataclass(frozen=True)
class Taken(Tagged):
    """Worker: it has the job. Until then, the supervisor repeats `Run`."""

    lease: Count


@dataclass(frozen=True)
class Made(Tagged):
    """Worker that does not see the server's disk: these files are ready to be sent on `Bring`."""

    lease: Count
    files: Annotated[tuple[Blob, ...], length(0, 1000)]


@dataclass(frozen=True)
class Step(Tagged):
    """Worker: a step is done, `elapsed` seconds after its stage began; `picture` is a JPEG of the work in progress."""

    lease: Count
    stage: Word
    step: Count
    steps: Count
    elapsed: float
    picture: Jpeg = b""


@dataclass(frozen=True)
class Finished(Tagged):
    """Worker: the job is done; its files are in the attempt's `out` folder, or have all been sent."""

    lease: Count
    result: Result


@dataclass(frozen=True)
class Failed(Tagged):
    """Worker: the job failed, and why."""

    lease: Count
    message: Text


@dataclass(frozen=True)
class Stopped(Tagged):
    """Worker: the job was stopped as ordered."""

    lease: Count


WORKER_MESSAGES = (Ready, Beat, Taken, Step, Made, Finished, Failed, Stopped)
SUPERVISOR_MESSAGES = (Run, Stop, Bring, Noted)
LOOKER_MESSAGES = (Ready, Seen, Unseen)
LOOKOUT_MESSAGES = (Look,)


def log_name(number: int) -> str:
    """Name of a worker's log in the state folder's `logs`."""
    return "worker.log" if number == 1 else f"worker-{number}.log"


def work_folder(state: Path, lease: int) -> Path:
    """Folder of one attempt: `in` holds links to its input files, `out` its results."""
    return state / "work" / str(lease)


def proxy_of(out: Path) -> Path | None:
    """Where a runner should write a small movie of a take, see `ex4d.jobs.messages.Result`; None if none is needed.

    Args:
        out: the runner's folder for results.
    """
    folder = out.parent / "proxy"
    return folder / "proxy.mp4" if folder.is_dir() else None


def blob_folder(state: Path) -> Path:
    """Folder of the stored files, each named after its SHA-256."""
    return state / "blobs"
