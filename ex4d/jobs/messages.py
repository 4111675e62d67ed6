"""All messages between client and server, for both ends of the wire; docs/protocol.md explains them.

A message is one msgpack map ``{"kind": "submit", ...fields}`` in one frame, see `ex4d.jobs.codec`; `Put` and `Chunk`
are followed by one raw frame of file content. File names on the wire are checked base names; paths never travel.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from ex4d.errors import InputError
from ex4d.geometry.camera_path import CameraPath
from ex4d.jobs.limits import CHUNK_BYTES, CREDIT, JOB_FILES, PICTURE_BYTES, VIEW_BYTES, VIEW_PIXELS
from ex4d.pipeline.requests import Blob, Job, Sha256
from ex4d.pipeline.settings import RenderSettings
from ex4d.plain import Described, Facts, Gigabytes, Stride, Tagged, Text, Word, between, length, matches
from ex4d.render.donors import DONOR_FRAMES, NEARBY

PROTOCOL_VERSION = 13

Count = Annotated[int, between(0, 2**53)]
JobId = Annotated[str, matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a uuid in lower case")]
Ticket = Annotated[str, matches("[0-9a-f]{32}", "32 hexadecimal digits")]
Jpeg = Annotated[bytes, length(0, PICTURE_BYTES)]
Matrix = Annotated[tuple[float, ...], length(16, 16)]
"""A (4,4) matrix, row by row."""
Side = Annotated[int, between(1, VIEW_PIXELS)]
State = Literal["queued", "running", "done", "failed", "cancelled"]
TERMINAL = ("done", "failed", "cancelled")
QUEUE_TOLD, DONE_TOLD = 100, 20
"""Maximum number of running and of waiting jobs, and of unfetched results, in one answer about the queue."""
Label = Annotated[str, length(0, 100)]
"""A name to display in other programs with the same client key."""


# -- messages of the control socket -----------------------------------------------------------------


@dataclass(frozen=True)
class Hello(Tagged):
    """First message of a client. Its shape, and that of `Error`, never change between versions."""

    protocol: Count
    client: Word


@dataclass(frozen=True)
class Limits:
    """What one client may send: bytes in a chunk, and chunks in flight."""

    chunk: Count = CHUNK_BYTES
    credit: Annotated[int, between(1, 1000)] = CREDIT


@dataclass(frozen=True)
class GeneratorInfo:
    """A generator that the server has, as panels show it; see `ex4d.generate.base.Spec`.

    `missing` is a sentence that says why it cannot run, empty if it can; `stride` is the step between frame counts that
    suit it; `least_gb` and `best_gb` are the GPU memory it needs with its default settings, see
    `ex4d.generate.base.Memory`; `files_gb` is the size of its model files, and `lacking_gb` that of the missing ones.
    """

    name: Word
    title: Word
    help: Text
    licence: Text
    is_preview: bool
    stride: Stride = 1
    missing: Text = ""
    settings: Described = ()
    least_gb: Gigabytes = 0.0
    best_gb: Gigabytes = 0.0
    files_gb: Gigabytes = 0.0
    lacking_gb: Gigabytes = 0.0


@dataclass(frozen=True)
class EstimatorInfo:
    """A depth estimator that the server has, see `ex4d.depth.base.Spec`.

    `missing` is a sentence that says why it cannot run, empty if it can; `terms` is what the user has to accept;
    `lacking_gb` is the size of its missing model files; `is_guess` means that its distances are a stand-in for a
    model's.
    """

    name: Word
    title: Word
    help: Text
    licence: Text
    commercial: bool
    terms: Text = ""
    missing: Text = ""
    lacking_gb: Gigabytes = 0.0
    is_guess: bool = False


@dataclass(frozen=True)
class Capabilities:
    """What the server has, best first; docs/protocol.md says which of them "auto" chooses."""

    generators: Annotated[tuple[GeneratorInfo, ...], length(0, 100)] = ()
    estimators: Annotated[tuple[EstimatorInfo, ...], length(0, 100)] = ()


@dataclass(frozen=True)
class Load:
    """How busy the server is: the running and the waiting jobs of all its clients."""

    running: Count = 0
    waiting: Count = 0


@dataclass(frozen=True)
class Welcome(Tagged):
    """Answer to `Hello`. `instance` is new each time the server starts; `bulk_port` is the port for files.

    `exchange` is a folder for tickets, empty if there is none: a client that finds `instance` in it sees the server's
    disk. `session` is a secret: the routing id that ties the client's bulk socket to this hello.
    """

    protocol: Count
    version: Word
    instance: Word
    bulk_port: Annotated[int, between(1, 65535)]
    capabilities: Capabilities
    limits: Limits
    exchange: Annotated[str, length(0, 4096)] = ""
    session: Annotated[str, length(0, 100)] = ""
    load: Load = field(default_factory=Load)


@dataclass(frozen=True)
class Submit(Tagged):
    """Run this job. Sending it twice is harmless; answered by `Status`, `Missing` or `Error`.

    `file` and `shot` tell the client's other programs what the job is for: the names of a .blend and of a shot in it.
    """

    job_id: JobId
    hash: Sha256
    job: Job
    file: Label = ""
    shot: Label = ""


@dataclass(frozen=True)
class Follow(Tagged):
    """Send this job's events after number `since`, now and as they occur; answered by `Status` or `Error`."""

    job_id: JobId
    since: Count


@dataclass(frozen=True)
class Cancel(Tagged):
    """Stop this job; answered by `Status` or `Error`. A finished result stays."""

    job_id: JobId


@dataclass(frozen=True)
class Fetched(Tagged):
    """The files of this job have arrived, or are not wanted; answered by `Status` or `Error`."""

    job_id: JobId


@dataclass(frozen=True)
class First(Tagged):
    """Start this waiting job before the client's other jobs of its kind; answered by `Status` or `Error`.

    `of_all` puts it before the jobs of all clients, which only programs of the server's own user may request.
    """

    job_id: JobId
    of_all: bool = False


@dataclass(frozen=True)
class Unload(Tagged):
    """Free all memory that models hold, including GPU memory; answered by `Unloaded`."""


@dataclass(frozen=True)
class Unloaded(Tagged):
    """Whether something was freed, and a sentence about it."""

    freed: bool
    message: Text


@dataclass(frozen=True)
class Look(Tagged):
    """Which pixels are real, seen from this camera?

    Answered by `Seen` or `Unseen` with the same number. There is no answer if the client sends a newer look before this
    one's turn: only the newest counts.

    Attributes:
        number: increases with every look.
        depth: hash of the shot's depth file, which a job of this client has sent or made.
        frame: frame of that file, from 0.
        camera_to_world, source_to_world: poses (4,4) of the camera and the source camera, OpenCV axes.
        intrinsics: (3,3) row by row, in pixels of the picture.
        width, height: size of the picture in pixels.
        render: only the settings that decide the mask count; the engine does not, and stereo is ignored.
        moving: hash of a movie of what moves in the shot, which a job of this client has sent or made. If it is None or
            gone, or if `others` is empty, other frames do not fill anything in.
        others: poses (4,4) of the source camera in the frames that `ex4d.render.donors.donors` names, in that order.
        nearby: the same in the frames that `ex4d.render.donors.nearby` names for this one.
        plate: hash of a clean plate's `plate.npz`, which a job of this client has made. If it is None or gone, or if
            other frames do not fill anything in, neither does the plate.

    Raises:
        InputError: `others` or `nearby` does not hold whole poses, or the picture has more than `VIEW_PIXELS` pixels.
    """

    number: Count
    depth: Sha256
    frame: Count
    camera_to_world: Matrix
    source_to_world: Matrix
    intrinsics: Annotated[tuple[float, ...], length(9, 9)]
    width: Side
    height: Side
    render: RenderSettings = field(default_factory=RenderSettings)
    moving: Sha256 | None = None
    others: Annotated[tuple[float, ...], length(0, 16 * DONOR_FRAMES)] = ()
    nearby: Annotated[tuple[float, ...], length(0, 16 * len(NEARBY))] = ()
    plate: Sha256 | None = None

    def __post_init__(self) -> None:
        for poses in (self.others, self.nearby):
            if len(poses) % 16:
                raise InputError(f"Poses of other frames have 16 numbers each, not {len(poses)} in all.")
        if self.width * self.height > VIEW_PIXELS:
            raise InputError(f"A view of {self.width}x{self.height} is more than {VIEW_PIXELS} pixels.")

    @property
    def camera(self) -> CameraPath:
        """The camera, as a path of one frame.

        Raises:
            InputError: the numbers do not describe a camera.
        """
        poses, k = np.reshape(self.camera_to_world, (1, 4, 4)), np.reshape(self.intrinsics, (3, 3))
        return CameraPath(poses, k, self.width, self.height)


@dataclass(frozen=True)
class Seen(Tagged):
    """Result of a `Look`.

    Attributes:
        classes: packed by `ex4d.render.classes.pack`.
        real: fraction of the pixels that are real, 0 to 1.
        plate: whether the clean plate was used that the look named.
    """

    number: Count
    width: Side
    height: Side
    real: Annotated[float, between(0, 1)]
    classes: Annotated[bytes, length(0, VIEW_BYTES)]
    plate: bool = False


@dataclass(frozen=True)
class Unseen(Tagged):
    """Why a `Look` has no answer, in a sentence."""

    number: Count
    message: Text


@dataclass(frozen=True)
class Ping(Tagged):
    """Are you there?"""


@dataclass(frozen=True)
class Ahead:
    """How many jobs of all clients will start before this one, as things stand."""

    job_id: JobId
    jobs: Count


@dataclass(frozen=True)
class Pong(Tagged):
    """Yes. `trouble` is a sentence about a problem that affects all clients, such as a full disk; empty if all is well.

    `ahead` covers the client's own waiting jobs, the next one first.
    """

    trouble: Text = ""
    ahead: Annotated[tuple[Ahead, ...], length(0, QUEUE_TOLD)] = ()


@dataclass(frozen=True)
class AskQueue(Tagged):
    """What is running and waiting? Answered by `Queue`."""


@dataclass(frozen=True)
class QueueEntry:
    """A running, waiting or unfetched job.

    Attributes:
        client: whose it is: the name under which the server lets the client in, or "this machine" for programs of the
            server's own user.
        work: the kind of job.
        device: what it runs on; empty if it is not running.
        stage, step, steps: its progress.
        job_id: its id; empty if it belongs to another client, unless the server's own user asks.
        own: whether it belongs to the client that asks.
        file, shot: as in `Submit`; empty unless it is the client's own.
        followed: whether a program that follows it is connected; False unless it is the client's own.
    """

    client: Word
    work: Word
    device: Annotated[str, length(0, 200)] = ""
    stage: Annotated[str, length(0, 100)] = ""
    step: Count = 0
    steps: Count = 0
    job_id: Annotated[str, length(0, 36)] = ""
    own: bool = False
    file: Label = ""
    shot: Label = ""
    followed: bool = False


@dataclass(frozen=True)
class Queue(Tagged):
    """The running jobs, and the waiting ones in the order in which they will start, as things stand.

    `more` is how many jobs are waiting behind those. `done` are finished takes of the client that asks which it has not
    fetched yet, the latest first.
    """

    running: Annotated[tuple[QueueEntry, ...], length(0, QUEUE_TOLD)]
    waiting: Annotated[tuple[QueueEntry, ...], length(0, QUEUE_TOLD)]
    more: Count = 0
    done: Annotated[tuple[QueueEntry, ...], length(0, DONE_TOLD)] = ()


@dataclass(frozen=True)
class Holds(Tagged):
    """The server has the first `offset` bytes of this file; if that is its size, the hash was right."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class Missing(Tagged):
    """The job was not accepted: send the rest of these files, then submit again."""

    job_id: JobId
    blobs: Annotated[tuple[Holds, ...], length(1, JOB_FILES)]


@dataclass(frozen=True)
class Status(Tagged):
    """The state of a job in the journal."""

    job_id: JobId
    state: State
    attempt: Count
    seq: Count


@dataclass(frozen=True)
class Result:
    """What a finished job made: plain facts, and files to fetch with `Get`.

    `proxy` is not one of the files: a small movie of a take's result, to watch while the files are in transit.
    """

    facts: Facts
    files: Annotated[tuple[Blob, ...], length(0, 1000)]
    proxy: Blob | None = None

    @property
    def all_files(self) -> tuple[Blob, ...]:
        """The files, and the proxy if there is one."""
        return self.files if self.proxy is None else (*self.files, self.proxy)


@dataclass(frozen=True)
class Event(Tagged):
    """Something happened to a job. `seq` counts each job's events; `elapsed` is seconds since the stage began.

    `picture` is a small JPEG of what is being made, sent only with the latest event of a running job.
    """

    job_id: JobId
    seq: Count
    state: State
    attempt: Count
    stage: Annotated[str, length(0, 100)] = ""
    step: Count = 0
    steps: Count = 0
    elapsed: Annotated[float, between(0, 1e9)] = 0.0
    message: Text = ""
    result: Result | None = None
    picture: Jpeg = b""


@dataclass(frozen=True)
class Error(Tagged):
    """A refusal: a code for programs, a sentence for people, and the job id or hash it is about."""

    code: Word
    message: Text
    about: Annotated[str, length(0, 100)] = ""


# -- messages of the bulk socket --------------------------------------------------------------------


@dataclass(frozen=True)
class Put(Tagged):
    """The next raw frame is content from `offset` of a file of `size` bytes; answered by `Holds` or `Error`."""

    sha256: Sha256
    size: Count
    offset: Count


@dataclass(frozen=True)
class Get(Tagged):
    """Send up to one chunk from `offset`; answered by `Chunk` or `Error`."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class Chunk(Tagged):
    """The next raw frame is file content from `offset`."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class PutFile(Tagged):
    """Copy the file that the ticket names, which is on the server's disk; answered by `Holds` or `Error`."""

    sha256: Sha256
    size: Count
    ticket: Ticket


@dataclass(frozen=True)
class GetFile(Tagged):
    """Copy a file into the empty one that the ticket names; answered by `Holds` once it is there, or by `Error`."""

    sha256: Sha256
    ticket: Ticket


CLIENT_CONTROL = (Hello, Submit, Follow, Cancel, Fetched, First, Unload, Look, Ping, AskQueue)
SERVER_CONTROL = (Welcome, Status, Missing, Event, Unloaded, Seen, Unseen, Error, Pong, Queue)
CLIENT_BULK = (Put, Get, PutFile, GetFile)
SERVER_BULK = (Holds, Chunk, Error)
