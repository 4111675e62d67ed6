"""What the server's processes say to each other, over loopback sockets, in the coding of ex4d.jobs.messages.

Supervisor and worker speak of attempts, lookout and looker of looks.

The worker gets in by the keys, and proves itself with the token, that it found in its environment; every message of an
attempt carries the attempt's lease. Folders follow from the state folder, so no paths travel here either.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ex4d.jobs.messages import Count, Jpeg, Look, Result, Seen, Text, Unseen, Word
from ex4d.pipeline.requests import Blob, Job
from ex4d.plain import Tagged, length

TOKEN_VARIABLE = "EX4D_WORKER_TOKEN"
KEYS_VARIABLE = "EX4D_WORKER_KEYS"
"""In the environment of a worker: the public key of its server, and its own pair, which no other worker gets."""
STATE_VARIABLE = "EX4D_WORKER_OF"
"""In the environment of a worker and of all it starts: the state folder. So the next server finds what was left."""
NUMBER_VARIABLE = "EX4D_WORKER_NUMBER"
"""The same with the worker's number before it: each of several finds what an earlier one in its place has left."""
DEVICE_VARIABLE = "EX4D_WORKER_DEVICE"
RUNS_ON_VARIABLE = "EX4D_WORKER_RUNS_ON"
"""In the environment of a worker: what it runs on, for people and for torch."""
LOG_VARIABLE = "EX4D_WORKER_LOG"
"""In the environment of a worker: where it prints to, for people."""
LOOKER_VARIABLE = "EX4D_LOOKER_OF"
"""The same for the process that looks for clients, which comes and goes without the worker."""
GONE = "The server has no depth of this shot: press Preview Path to send it."
"""What a look is answered that names a file which is not here, or not this client's."""
BEAT_SECONDS = 1.0
"""A worker says this often that its process runs."""
AGAIN_SECONDS = 5.0
"""A message that must arrive is sent again this often until it is answered: a breaking connection loses what is under
way."""


@dataclass(frozen=True)
class Ready(Tagged):
    """First message of a worker."""

    token: Word


@dataclass(frozen=True)
class Beat(Tagged):
    """Worker, from a thread and a socket of its own: the process runs, whatever the job is doing."""

    token: Word


@dataclass(frozen=True)
class Run(Tagged):
    """Supervisor: run this job.

    `proxy` says that somebody on another machine will fetch the result, see `proxy_of`. A worker that does not see the
    server's disk is told how to get the files of it.
    """

    lease: Count
    job: Job
    proxy: bool = False
    files_port: Count = 0
    session: Annotated[str, length(0, 100)] = ""


@dataclass(frozen=True)
class Noted(Tagged):
    """Supervisor: it knows how this attempt ended. Until then, the worker says so again and again."""

    lease: Count


@dataclass(frozen=True)
class Stop(Tagged):
    """Supervisor: stop at the next step."""

    lease: Count


@dataclass(frozen=True)
class Bring(Tagged):
    """Supervisor: send the files that you have `Made`, or why they are not wanted."""

    lease: Count
    refusal: Text = ""


@dataclass(frozen=True)
class Taken(Tagged):
    """Worker: it has the job. Until then, the supervisor sends `Run` again and again."""

    lease: Count


@dataclass(frozen=True)
class Made(Tagged):
    """Worker that does not see the server's disk: these files are made, and wait for `Bring`."""

    lease: Count
    files: Annotated[tuple[Blob, ...], length(0, 1000)]


@dataclass(frozen=True)
class Step(Tagged):
    """Worker: a step is done, `elapsed` seconds after its stage began; `picture` shows what is being made."""

    lease: Count
    stage: Word
    step: Count
    steps: Count
    elapsed: float
    picture: Jpeg = b""


@dataclass(frozen=True)
class Finished(Tagged):
    """Worker: the job is done; its files are in the attempt's out folder, or all sent."""

    lease: Count
    result: Result


@dataclass(frozen=True)
class Failed(Tagged):
    """Worker: the job cannot be done, and why."""

    lease: Count
    message: Text


@dataclass(frozen=True)
class Stopped(Tagged):
    """Worker: stopped because it was told to."""

    lease: Count


WORKER_MESSAGES = (Ready, Beat, Taken, Step, Made, Finished, Failed, Stopped)
SUPERVISOR_MESSAGES = (Run, Stop, Bring, Noted)
LOOKER_MESSAGES = (Ready, Seen, Unseen)
LOOKOUT_MESSAGES = (Look,)


def log_name(number: int) -> str:
    """File, in the state folder's `logs`, of what a worker prints."""
    return "worker.log" if number == 1 else f"worker-{number}.log"


def work_folder(state: Path, lease: int) -> Path:
    """Folder of one attempt: `in` with links to its files, `out` for what it makes."""
    return state / "work" / str(lease)


def proxy_of(out: Path) -> Path | None:
    """Where a runner is to leave a small movie of a take, see `ex4d.jobs.messages.Result`; None if nobody wants one.

    Args:
        out: the runner's folder for results.
    """
    folder = out.parent / "proxy"
    return folder / "proxy.mp4" if folder.is_dir() else None


def blob_folder(state: Path) -> Path:
    """Folder of the stored files, each named by its sha256."""
    return state / "blobs"
