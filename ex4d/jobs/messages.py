"""Every message between client and server, for both ends of the wire; explained in docs/protocol.md.

A message is one msgpack map ``{"kind": "submit", ...fields}`` in one frame, see `ex4d.jobs.codec`; `Put` and `Chunk`
have one raw frame of file content after it. File names on the wire are checked base names; paths never travel.
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
from ex4d.render.donors import DONOR_FRAMES

PROTOCOL_VERSION = 10

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
"""Maximum number of running jobs, waiting jobs and unfetched results that one answer about the queue names."""
Label = Annotated[str, length(0, 100)]
"""A name that people use, for other programs of the same client."""


# -- messages of the control socket -----------------------------------------------------------------


@dataclass(frozen=True)
class Hello(Tagged):
    """First message of a client. Its shape, and that of `Error`, never change between versions."""

    protocol: Count
    client: Word


@dataclass(frozen=True)
class Limits:
    """What one client may send: bytes in a chunk, and chunks under way."""

    chunk: Count = CHUNK_BYTES
    credit: Annotated[int, between(1, 1000)] = CREDIT


@dataclass(frozen=True)
class GeneratorInfo:
    """A generator that the server has, as panels show it; see `ex4d.generate.base.Spec`.

    `missing` is a sentence about why it cannot run, empty if it can; `stride` is that of frame counts that suit it;
    `least_gb` and `best_gb` are what of a GPU's memory it needs with its default settings, see
    `ex4d.generate.base.Memory`; `files_gb` are its model files, and `lacking_gb` those that are not there.
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

    `terms` is what the user has to accept; `lacking_gb` are model files that are not there; `is_guess` says that its
    distances stand in for those of a model.
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
    """What the server has, best first; docs/protocol.md says which "auto" takes."""

    generators: Annotated[tuple[GeneratorInfo, ...], length(0, 100)] = ()
    estimators: Annotated[tuple[EstimatorInfo, ...], length(0, 100)] = ()


@dataclass(frozen=True)
class Load:
    """How busy the server is: jobs of all its clients that run and that wait."""

    running: Count = 0
    waiting: Count = 0


@dataclass(frozen=True)
class Welcome(Tagged):
    """Answer to `Hello`. `instance` is new each time the server starts; `bulk_port` is where files go.

    `exchange` is a folder for tickets: who finds `instance` in it sees the server's disk. Empty where there is none.
    `session` is a secret: the routing id with which the client's bulk socket shows that it belongs to this hello.
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

    `file` and `shot` tell the client's other programs what it is for: the name of a .blend, and of a shot in it.
    """

    job_id: JobId
    hash: Sha256
    job: Job
    file: Label = ""
    shot: Label = ""


@dataclass(frozen=True)
class Follow(Tagged):
    """Send the events of this job after number `since`, now and as they come; answer: `Status` or `Error`."""

    job_id: JobId
    since: Count


@dataclass(frozen=True)
class Cancel(Tagged):
    """Stop this job; answered by `Status` or `Error`. A finished result is not taken back."""

    job_id: JobId


@dataclass(frozen=True)
class Fetched(Tagged):
    """The files of this job have arrived, or nobody wants them; answered by `Status` or `Error`."""

    job_id: JobId


@dataclass(frozen=True)
class First(Tagged):
    """Start this waiting job before the client's others of its kind; answered by `Status` or `Error`.

    `of_all`: before those of all clients, which only programs of the server's own user may ask for.
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
    """Which pixels are real from this camera? Answered by `Seen` or `Unseen` of the same number, or not at all where
    this client has asked anew before it was its turn: the newest wins.

    Attributes:
        number: rises with every look.
        depth: the shot's depth file, which a job of this client has sent or made.
        frame: of that file, from 0.
        camera_to_world, source_to_world: poses (4,4) of camera and source camera, OpenCV axes.
        intrinsics: (3,3) row by row, in pixels of the picture.
        width, height: of the picture.
        render: of it what decides the mask; which engine draws does not, and two eyes are not looked through.
        moving: what moves in the shot, a movie that a job of this client has sent or made; where it is None or not
            there, or `others` is empty, the frame is looked at alone.
        others: poses (4,4) of the source camera in the frames that `ex4d.render.donors` names, one after another.
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

    def __post_init__(self) -> None:
        if len(self.others) % 16:
            raise InputError(f"Poses of other frames have 16 numbers each, not {len(self.others)} in all.")
        if self.width * self.height > VIEW_PIXELS:
            raise InputError(f"A view of {self.width}x{self.height} is more than {VIEW_PIXELS} pixels.")

    @property
    def camera(self) -> CameraPath:
        """The camera, as a path of one.

        Raises:
            InputError: the numbers are those of no camera.
        """
        poses, k = np.reshape(self.camera_to_world, (1, 4, 4)), np.reshape(self.intrinsics, (3, 3))
        return CameraPath(poses, k, self.width, self.height)


@dataclass(frozen=True)
class Seen(Tagged):
    """What a `Look` has found: `classes` as `ex4d.render.classes.pack` has them, and the part that is real, 0 to 1."""

    number: Count
    width: Side
    height: Side
    real: Annotated[float, between(0, 1)]
    classes: Annotated[bytes, length(0, VIEW_BYTES)]


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
    """How many jobs of anybody start before this one, as things stand."""

    job_id: JobId
    jobs: Count


@dataclass(frozen=True)
class Pong(Tagged):
    """Yes. `trouble` is a sentence about the server that concerns all its clients, as of a full disk; else empty.

    `ahead` tells of the client's own jobs that wait, the next of them first.
    """

    trouble: Text = ""
    ahead: Annotated[tuple[Ahead, ...], length(0, QUEUE_TOLD)] = ()


@dataclass(frozen=True)
class AskQueue(Tagged):
    """Who waits for what? Answered by `Queue`."""


@dataclass(frozen=True)
class QueueEntry:
    """A job that runs or waits.

    Attributes:
        client: whose it is: the name by which the server lets it in, or "this machine" for programs of its own
            user.
        work: what it does: the kind of its job.
        device: what it runs on; empty if it waits.
        stage, step, steps: how far it is.
        job_id: of a job of the client that asks; empty for those of others, but for the server's own user.
        own: it is the client's that asks. Only then:
        file, shot: as in `Submit`.
        followed: a program that looks after it is connected.
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
    """What runs, and what waits in the order in which it will start as things stand; `more` jobs wait behind those.

    `done` are takes of the client that asks which are finished and not fetched yet, the latest first.
    """

    running: Annotated[tuple[QueueEntry, ...], length(0, QUEUE_TOLD)]
    waiting: Annotated[tuple[QueueEntry, ...], length(0, QUEUE_TOLD)]
    more: Count = 0
    done: Annotated[tuple[QueueEntry, ...], length(0, DONE_TOLD)] = ()


@dataclass(frozen=True)
class Holds(Tagged):
    """The server holds the first `offset` bytes of this file; when that is its size, the hash was right."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class Missing(Tagged):
    """The job was not accepted: send the rest of these files, then submit again."""

    job_id: JobId
    blobs: Annotated[tuple[Holds, ...], length(1, JOB_FILES)]


@dataclass(frozen=True)
class Status(Tagged):
    """Where a job stands in the journal."""

    job_id: JobId
    state: State
    attempt: Count
    seq: Count


@dataclass(frozen=True)
class Result:
    """What a finished job made: plain facts, and files to be fetched with `Get`.

    `proxy` is none of them: a small movie of a take's result, to look at while the files are on their way.
    """

    facts: Facts
    files: Annotated[tuple[Blob, ...], length(0, 1000)]
    proxy: Blob | None = None

    @property
    def all_files(self) -> tuple[Blob, ...]:
        """The files, and the proxy."""
        return self.files if self.proxy is None else (*self.files, self.proxy)


@dataclass(frozen=True)
class Event(Tagged):
    """Something happened to a job; `seq` rises by job. `elapsed` is seconds since the stage began.

    `picture` is a small view of what is being made, with the latest event of a running job only.
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
    """A refusal: a code for programs, a sentence for people, and the job id or hash that it is about."""

    code: Word
    message: Text
    about: Annotated[str, length(0, 100)] = ""


# -- messages of the bulk socket --------------------------------------------------------------------


@dataclass(frozen=True)
class Put(Tagged):
    """The raw frame after this is content of a file of `size` bytes from `offset`; answer: `Holds` or `Error`."""

    sha256: Sha256
    size: Count
    offset: Count


@dataclass(frozen=True)
class Get(Tagged):
    """Send up to one chunk from `offset`; answer: `Chunk` or `Error`."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class Chunk(Tagged):
    """The raw frame after this is file content from `offset`."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class PutFile(Tagged):
    """Copy the file that the ticket names, which is on the disk of the server; answer: `Holds` or `Error`."""

    sha256: Sha256
    size: Count
    ticket: Ticket


@dataclass(frozen=True)
class GetFile(Tagged):
    """Copy a file to the empty one that the ticket names; answer: `Holds` when it is there, or `Error`."""

    sha256: Sha256
    ticket: Ticket


CLIENT_CONTROL = (Hello, Submit, Follow, Cancel, Fetched, First, Unload, Look, Ping, AskQueue)
SERVER_CONTROL = (Welcome, Status, Missing, Event, Unloaded, Seen, Unseen, Error, Pong, Queue)
CLIENT_BULK = (Put, Get, PutFile, GetFile)
SERVER_BULK = (Holds, Chunk, Error)
