"""The client of the server: submits jobs, moves their files, follows them. Never blocks in `poll`.

    client = Client("tcp://127.0.0.1:5750", downloads)
    job_id = client.submit(Reconstruct(source), {blob.sha256: path, ...})
    for update in client.poll(): ...          # from a timer, or
    last = client.wait(job_id)                # from a script

Needs zmq and msgpack, no threads. When the connection is lost it is built anew from nothing: fresh sockets,
hello, then for each job either the submission again or the events since the last one seen.
"""

import hashlib
import itertools
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Literal

import zmq

from ex4d import __version__
from ex4d.errors import InputError, ServerError
from ex4d.jobs.address import parse_address
from ex4d.jobs.codec import ProtocolError, decode, encode
from ex4d.jobs.limits import CHUNK_BYTES, CONTROL_BYTES, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, JOB_FILES
from ex4d.jobs.messages import (
    PROTOCOL_VERSION,
    SERVER_BULK,
    SERVER_CONTROL,
    TERMINAL,
    Cancel,
    Chunk,
    Error,
    Event,
    Follow,
    Get,
    Hello,
    Holds,
    Limits,
    Missing,
    Ping,
    Put,
    Status,
    Submit,
    Unload,
    Unloaded,
    Welcome,
)
from ex4d.pipeline.requests import Blob, Job, blobs_of, job_hash
from ex4d.plain import Tagged, from_plain, to_plain

ServerInfo = Welcome
"""What the server said of itself: version, protocol, capabilities.generators, limits."""

HELLO_SECONDS = 3.0
"""Without a welcome for so long, the server does not answer."""
PING_SECONDS, SILENCE_SECONDS = 2.0, 8.0
PATIENCE_SECONDS = 15.0
"""`wait` gives up on a server that does not answer for so long."""
SENDING_TRIES = 2
"""A file that arrives damaged is sent again this many times in all."""
NO_FILES: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True)
class JobUpdate:
    """Where a job stands.

    Attributes:
        stage, step, steps: what is done now; bytes while uploading and downloading.
        rate, eta_s: steps a second and seconds to the end of the stage; None where not known yet.
        message: a sentence for the user: why it failed, that the server does not answer; "" if all is well.
        facts, files: what the job found, and its files by name, when done.
        seq: number of the last event seen, for `Client.follow` after a restart.
        attempt: how often the server has started it.
        picture: small JPEG of what is being made, the latest there was; empty where there was none.
    """

    job_id: str
    state: Literal["uploading", "queued", "running", "downloading", "done", "failed", "cancelled"]
    stage: str = ""
    step: int = 0
    steps: int = 0
    rate: float | None = None
    eta_s: float | None = None
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    seq: int = 0
    attempt: int = 0
    picture: bytes = b""

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self.state in TERMINAL


class _Connection:
    """The sockets of one try to reach the server."""

    def __init__(self, context: zmq.Context, address: str, now: float) -> None:
        self._context, self._host = context, address.rsplit(":", 1)[0]
        self.control = _dealer(context, CONTROL_BYTES)
        self.monitors = [self.control.get_monitor_socket(zmq.EVENT_DISCONNECTED)]
        self.control.connect(address)
        self.bulk: zmq.Socket | None = None
        self.under_way = 0  # chunks of all files: what is left of the server's credit
        self.began = self.heard = self.pinged = now

    def open_bulk(self, port: int) -> None:
        self.bulk = _dealer(self._context, 2 * CHUNK_BYTES)
        self.monitors.append(self.bulk.get_monitor_socket(zmq.EVENT_DISCONNECTED))
        self.bulk.connect(f"{self._host}:{port}")

    def lost(self) -> bool:
        """The server closed the connection, or its machine stopped answering heartbeats."""
        return any(monitor.poll(0) for monitor in self.monitors)

    def send(self, *parts: Tagged | bytes, bulk: bool = False) -> None:
        """Queue a message; raises `zmq.Again` when the queue is full."""
        socket = self.bulk if bulk else self.control
        assert socket is not None
        socket.send_multipart([part if isinstance(part, bytes) else encode(part) for part in parts], zmq.NOBLOCK)

    def close(self) -> None:
        for socket in self.sockets():
            socket.disable_monitor()
            socket.close(0)
        for monitor in self.monitors:
            monitor.close(0)

    def sockets(self) -> list[zmq.Socket]:
        return [self.control] if self.bulk is None else [self.control, self.bulk]


def _dealer(context: zmq.Context, frame_bytes: int) -> zmq.Socket:
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.maxmsgsize = frame_bytes
    socket.sndhwm = socket.rcvhwm = 1000
    socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 1000
    socket.handshake_ivl = 3000
    socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
    return socket


class _Upload:
    """A file on its way to the server. Every chunk under way brings one answer, which is its credit back."""

    def __init__(self, blob: Blob, path: Path) -> None:
        self.blob, self.path = blob, path
        self.held = 0  # what the server has
        self.next = 0  # where the next chunk starts
        self.under_way = 0
        self.tries = 1
        self.sent_end = self.done = False
        self._file: BinaryIO | None = None

    def start_at(self, offset: int) -> None:
        self.held = self.next = offset
        self.under_way, self.sent_end = 0, False

    def chunk(self, size: int) -> bytes:
        """The next chunk; an empty file has one empty chunk."""
        if self._file is None:
            self._file = open(self.path, "rb")  # noqa: SIM115 - closed by `close`
        self._file.seek(self.next)
        data = self._file.read(min(size, self.blob.size - self.next))
        self.next += len(data)
        self.under_way += 1
        self.sent_end = self.next >= self.blob.size or not data
        return data

    def acknowledged(self, offset: int) -> bool:
        """Note an answer; True when the server has the whole file. After a mismatch go on from its number."""
        self.under_way -= 1
        self.held, self.done = offset, offset == self.blob.size
        if self.under_way == 0 and offset != self.next:
            self.next, self.sent_end = offset, False
        return self.done

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Download:
    """A result on its way here: what is there is checked, the rest asked for, then the whole renamed."""

    def __init__(self, blob: Blob, folder: Path) -> None:
        self.blob, self.path = blob, folder / blob.name
        self._part = folder / f"{blob.name}.part"
        self.held = 0
        self.next = 0
        self.under_way = 0
        self.done = False
        self._restarted = False
        self._hash = hashlib.sha256()
        self._checking = True
        if self.path.exists() and self.path.stat().st_size == blob.size:
            os.replace(self.path, self._part)
        self._file: BinaryIO = open(self._part, "a+b", buffering=0)  # noqa: SIM115 - closed by `close`
        self._file.truncate(min(self._file.seek(0, os.SEEK_END), blob.size))
        self._file.seek(0)

    def check(self) -> bool:
        """Hash a piece of what is there already; False when that is done and `next` can be asked for."""
        if self._checking:
            data = self._file.read(CHUNK_BYTES)
            self._hash.update(data)
            self.held += len(data)
            if not data:
                self._checking = False
                self.next = self.held
                self._finish_if_whole()
            return True
        return False

    def add(self, offset: int, data: bytes) -> None:
        """Write an answered chunk."""
        self.under_way -= 1
        if offset != self.held:
            return
        if not data or self.held + len(data) > self.blob.size:
            raise ServerError(f"The server's file {self.blob.name} is not as long as it said: run the job again.")
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash.update(data)
        self.held += len(data)
        self._finish_if_whole()

    def _finish_if_whole(self) -> None:
        if self.held < self.blob.size:
            return
        if self._hash.hexdigest() == self.blob.sha256:
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self.path)
            self.done = True
        elif self._restarted:
            self.discard()
            raise ServerError(f"The result {self.blob.name} arrived damaged twice: follow the job again.")
        else:  # what was lying here was of something else: fetch all of it
            self._restarted = True
            self._file.truncate(0)
            self._hash = hashlib.sha256()
            self.held = self.next = 0

    def forget_under_way(self) -> None:
        """The connection is new: ask again from what is written."""
        self.under_way = 0
        if not self._checking:
            self.next = self.held

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


class _Tracked:
    """A job that this client looks after."""

    def __init__(self, update: JobUpdate, submit: Submit | None, files: Mapping[str, Path]) -> None:
        self.update = update
        self.submit = submit  # None once the server has the job, or when it is only followed
        self.files = files
        self.uploads: dict[str, _Upload] = {}
        self.result: Event | None = None
        self.to_fetch: list[Blob] = []
        self.download: _Download | None = None
        self.fetched: dict[str, Path] = {}
        self.cancelled = False

    def close(self) -> None:
        for upload in self.uploads.values():
            upload.close()
        self.uploads = {}
        if self.download:
            self.download.close()
            self.download = None


class Client:
    """One server, seen from here. Make it, then call `poll` again and again.

    Args:
        address: "tcp://127.0.0.1:5750"; only loopback in this version.
        downloads: folder for results; each job gets a folder of its own in it.
        clock: monotonic seconds.

    Attributes:
        status: "refused" means that the server answers but does not want this client; no job is sent then.
        problem: a sentence for the user, "" if there is none.
        server: what the server said of itself, once it has.
        unloaded: the answer to the last `unload`; None until it comes.

    Raises:
        InputError: the address is none, or not loopback.
    """

    def __init__(self, address: str, downloads: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        host, port = parse_address(address)
        if port == 0:
            raise InputError(f"{address} names no port: write the one that the server prints when it starts.")
        self.status: Literal["connecting", "ready", "unreachable", "refused"] = "connecting"
        self.problem = ""
        self.server: ServerInfo | None = None
        self.unloaded: Unloaded | None = None
        self._address, self._connect_to = address, f"tcp://{host}:{port}"
        self._folder, self._clock = Path(downloads), clock
        self._limits = Limits()
        self._context = zmq.Context()
        self._jobs: dict[str, _Tracked] = {}
        self._to_cancel: set[str] = set()
        self._updates: list[JobUpdate] = []
        self._polled = clock()
        self._connection = self._connect()

    # -- what callers use

    def submit(self, job: Job, files: Mapping[str, Path] = NO_FILES, *, job_id: str | None = None) -> str:
        """Hand a job over; returns its id at once.

        Args:
            job: what to do.
            files: where the content of each blob in it is on this machine, by sha256.
            job_id: one that was made earlier, to submit the same job once more; None makes a new one.

        Raises:
            ProtocolError: a field of the job is not allowed; names it.
            InputError: a file of the job is not among `files`.
            ServerError: the server refused this client.
        """
        if self.status == "refused":
            raise ServerError(self.problem)
        job = from_plain(Job, to_plain(job), "job")
        if len(blobs_of(job)) > JOB_FILES:
            raise InputError(
                f"This shot has {len(blobs_of(job))} pictures, and {JOB_FILES} at most can be sent in one job: use"
                " fewer, or make a video of them."
            )
        if lacking := [blob.name for blob in blobs_of(job) if blob.sha256 not in files]:
            raise InputError(
                f"The job names the file {lacking[0]}, but it was not given: pass its place on this machine."
            )
        submit = Submit(job_id or str(uuid.uuid4()), job_hash(job), job)
        encode(submit)
        self._track(_Tracked(JobUpdate(submit.job_id, "uploading"), submit, files))
        return submit.job_id

    def follow(self, job_id: str, since: int = 0) -> None:
        """Look after a job submitted before, from event number `since`; its results are fetched again."""
        from_plain(Follow, {"kind": "follow", "job_id": job_id, "since": since}, "follow")
        self._track(_Tracked(JobUpdate(job_id, "queued", seq=since), None, {}))

    def cancel(self, job_id: str) -> None:
        """Ask the server to stop a job.

        While the server cannot be reached the job counts as cancelled at once, and it is told when it is back.
        """
        tracked = self._jobs.get(job_id)
        if tracked is None or tracked.update.ended:
            return
        tracked.cancelled = True
        if self.status == "ready":
            self._send(Cancel(job_id))
        elif self.status == "unreachable" or tracked.submit:
            self._to_cancel.add(job_id)
            self._end(tracked, "cancelled")

    def unload(self) -> None:
        """Ask the server to free the memory that its models hold; the answer is in `unloaded` when it has come.

        Raises:
            ServerError: the server cannot be reached.
        """
        if self.status != "ready":
            raise ServerError(self.problem or f"The EX-4D server at {self._address} has not answered yet.")
        self.unloaded = None
        self._send(Unload())

    def poll(self, budget: float = 0.004) -> list[JobUpdate]:
        """Do what can be done now, for about `budget` seconds at most, and return what has changed."""
        now = self._clock()
        deadline = now + budget
        self._look_after_connection(now)
        while self._one_thing() and self._clock() < deadline:
            pass
        updates, self._updates = self._updates, []
        return [
            update for update, later in itertools.zip_longest(updates, updates[1:]) if not _superseded(update, later)
        ]

    def wait(
        self,
        job_id: str,
        on_update: Callable[[JobUpdate], None] | None = None,
        timeout: float | None = None,
    ) -> JobUpdate:
        """Poll until the job has ended, and return its last update: done, failed or cancelled.

        Raises:
            ServerError: the server refused this client, or did not answer for 15 s, or `timeout` s are over.
        """
        began = answered = self._clock()
        while True:
            for update in self.poll(0.05):
                if update.job_id != job_id:
                    continue
                if on_update:
                    on_update(update)
                if update.ended:
                    return update
            tracked, now = self._jobs.get(job_id), self._clock()
            if tracked is None:
                raise ServerError(f"The job {job_id} was never submitted or followed here.")
            if tracked.update.ended:
                return tracked.update
            if self.status == "ready":
                answered = now
            if self.status == "refused" or now - answered > PATIENCE_SECONDS:
                raise ServerError(self.problem)
            if timeout is not None and now - began > timeout:
                raise ServerError(f"The job did not end within {timeout:g} s: it goes on on the server.")
            self._sleep_until_readable(50)

    def close(self) -> None:
        """Close the sockets and files; jobs go on on the server."""
        if self._context.closed:
            return
        for tracked in self._jobs.values():
            tracked.close()
        self._connection.close()
        self._context.term()

    # -- connection

    def _connect(self) -> _Connection:
        connection = _Connection(self._context, self._connect_to, self._clock())
        connection.send(Hello(PROTOCOL_VERSION, __version__))
        return connection

    def _look_after_connection(self, now: float) -> None:
        link = self._connection
        if now - self._polled > PING_SECONDS:  # we slept, not the server: give it time to answer
            link.heard = link.pinged = now
            link.began = max(link.began, now - HELLO_SECONDS / 2)
        self._polled = now
        silent = self.status == "ready" and now - link.heard > SILENCE_SECONDS
        unheard = self.status in ("connecting", "unreachable") and now - link.began > HELLO_SECONDS
        if link.lost() or silent or unheard:
            self._reconnect()
        elif self.status == "ready" and now - link.pinged > PING_SECONDS:
            link.pinged = now
            self._send(Ping())

    def _reconnect(self) -> None:
        self._connection.close()
        self._connection = self._connect()
        if self.status == "unreachable":
            return
        self.status = "unreachable"
        self.problem = (
            f"The EX-4D server at {self._address} does not answer: start it with `ex4d serve`, or check the address."
        )
        for tracked in self._active():
            self._emit(tracked, message=self.problem)

    def _send(self, *parts: Tagged | bytes, bulk: bool = False) -> None:
        try:
            self._connection.send(*parts, bulk=bulk)
        except zmq.Again:  # a queue of 1000 is full: the server has stopped reading
            self._reconnect()

    def _welcomed(self, welcome: Welcome) -> None:
        self.status, self.problem, self.server, self._limits = "ready", "", welcome, welcome.limits
        self._connection.open_bulk(welcome.bulk_port)
        for job_id in self._to_cancel:
            self._send(Cancel(job_id))
        self._to_cancel.clear()
        for tracked in self._active():
            if tracked.update.message:
                self._emit(tracked, message="")
            if tracked.download:
                tracked.download.forget_under_way()
            self._introduce(tracked)

    def _refused(self, sentence: str) -> None:
        self.status, self.problem = "refused", sentence
        for tracked in self._active():
            self._end(tracked, "failed", sentence)

    def _sleep_until_readable(self, milliseconds: int) -> None:
        poller = zmq.Poller()
        for socket in (*self._connection.sockets(), *self._connection.monitors):
            poller.register(socket, zmq.POLLIN)
        poller.poll(milliseconds)

    # -- jobs

    def _active(self) -> list[_Tracked]:
        return [tracked for tracked in self._jobs.values() if not tracked.update.ended]

    def _track(self, tracked: _Tracked) -> None:
        self._jobs[tracked.update.job_id] = tracked
        self._emit(tracked, message="" if self.status == "ready" else self.problem)
        if self.status == "ready":
            self._introduce(tracked)

    def _introduce(self, tracked: _Tracked) -> None:
        """Tell the server of a job, after each hello and whenever it has all files."""
        job_id = tracked.update.job_id
        if tracked.submit:
            tracked.close()
            self._send(tracked.submit)
        else:
            self._send(Follow(job_id, tracked.update.seq))
        if tracked.cancelled:
            self._send(Cancel(job_id))

    def _emit(self, tracked: _Tracked, **changes: Any) -> None:
        tracked.update = replace(tracked.update, **changes)
        self._updates.append(tracked.update)

    def _end(self, tracked: _Tracked, state: str, message: str = "", **changes: Any) -> None:
        tracked.close()
        self._emit(tracked, state=state, message=message, rate=None, eta_s=None, picture=b"", **changes)

    # -- one thing at a time

    def _one_thing(self) -> bool:
        """Handle one message or move one chunk; False when there is nothing to do."""
        link = self._connection
        try:
            if link.control.poll(0):
                self._control(link.control.recv_multipart(zmq.NOBLOCK))
                return True
            if link.bulk is not None and link.bulk.poll(0):
                self._bulk(link.bulk.recv_multipart(zmq.NOBLOCK))
                return True
        except ProtocolError as error:
            self._refused(f"The server at {self._address} sent what this client does not understand: {error}")
            return True
        return any(self._move(tracked) for tracked in self._active())

    def _control(self, frames: list[bytes]) -> None:
        self._connection.heard = self._clock()
        message = decode(frames[0], SERVER_CONTROL)
        if isinstance(message, Welcome):
            self._welcomed(message)
        elif isinstance(message, Error):
            self._error(message)
        elif isinstance(message, Unloaded):
            self.unloaded = message
        elif isinstance(message, Status | Missing | Event):
            tracked = self._jobs.get(message.job_id)
            if tracked is None or tracked.update.ended:
                return
            if isinstance(message, Missing):
                self._missing(tracked, message)
            elif isinstance(message, Status):
                tracked.submit = None
                tracked.close()
            elif message.seq > tracked.update.seq:
                self._event(tracked, message)

    def _error(self, error: Error) -> None:
        tracked = self._jobs.get(error.about)
        if error.code == "hello_first":
            self._reconnect()
        elif tracked is None or tracked.update.ended:
            if not error.about:
                self._refused(error.message)
        elif error.code != "unknown_job":
            self._end(tracked, "failed", error.message)
        elif tracked.cancelled:
            self._end(tracked, "cancelled")
        elif not tracked.submit:
            message = "The server does not know this job (its state folder may be another now): start the job again."
            self._end(tracked, "failed", message)

    def _event(self, tracked: _Tracked, event: Event) -> None:
        rate = event.step / event.elapsed if event.step and event.elapsed > 0 else None
        changes: dict[str, Any] = {
            "stage": event.stage,
            "step": event.step,
            "steps": event.steps,
            "rate": rate,
            "eta_s": (event.steps - event.step) / rate if rate else None,
            "message": event.message,
            "attempt": event.attempt,
            "picture": event.picture or tracked.update.picture,
        }
        if event.state != "done" or event.result is None:
            self._emit(tracked, **changes, state=event.state, seq=event.seq)
        elif tracked.result is None:
            tracked.result, tracked.to_fetch = event, list(event.result.files)
            self._emit(tracked, **changes, state="downloading")

    # -- files

    def _move(self, tracked: _Tracked) -> bool:
        """Send, ask for or check one chunk of a job's files; False when there is nothing to do for it now."""
        if self.status != "ready" or not (tracked.uploads or tracked.result):
            return False
        try:
            if tracked.result:
                return self._fetch(tracked, tracked.result)
            for upload in tracked.uploads.values():
                if not upload.sent_end and self._has_credit():
                    offset = upload.next
                    data = upload.chunk(self._limits.chunk)
                    self._connection.under_way += 1
                    self._send(Put(upload.blob.sha256, offset), data, bulk=True)
                    return True
        except OSError as error:
            name = Path(error.filename).name if isinstance(error.filename, str | Path) else "of this job"
            self._end(
                tracked,
                "failed",
                f"The file {name} could not be read or written ({error.strerror}): check that it is where it was and"
                " that the disk has room, then open the clip again.",
            )
        except ServerError as error:
            self._end(tracked, "failed", str(error))
        return False

    def _has_credit(self) -> bool:
        return self._connection.under_way < self._limits.credit

    def _bulk(self, frames: list[bytes]) -> None:
        """Handle one answer about a file: it gives its credit back, and goes to every job with that file."""
        self._connection.heard = self._clock()
        self._connection.under_way -= 1
        message = decode(frames[0], SERVER_BULK)
        sha256 = message.about if isinstance(message, Error) else message.sha256
        for tracked in self._active():
            upload, download = tracked.uploads.get(sha256), tracked.download
            try:
                if upload and isinstance(message, Holds):
                    self._held(tracked, upload, message)
                elif upload and isinstance(message, Error):
                    self._not_taken(tracked, upload, message)
                elif download and download.blob.sha256 == sha256 and isinstance(message, Chunk):
                    download.add(message.offset, frames[1])
                elif download and download.blob.sha256 == sha256 and isinstance(message, Error):
                    raise ServerError(message.message)
            except OSError as error:
                assert download
                download.discard()
                self._end(
                    tracked,
                    "failed",
                    f"The result {download.blob.name} could not be written ({error.strerror}): free some space,"
                    " then start the job again.",
                )
            except ServerError as error:
                self._end(tracked, "failed", str(error))

    def _missing(self, tracked: _Tracked, missing: Missing) -> None:
        assert tracked.submit
        tracked.close()
        blobs = {blob.sha256: blob for blob in blobs_of(tracked.submit.job)}
        for holds in missing.blobs:
            if blob := blobs.get(holds.sha256):
                upload = tracked.uploads[blob.sha256] = _Upload(blob, tracked.files[blob.sha256])
                upload.start_at(holds.offset)
        self._emit_uploads(tracked)

    def _held(self, tracked: _Tracked, upload: _Upload, holds: Holds) -> None:
        if upload.acknowledged(holds.offset):
            upload.close()
        self._emit_uploads(tracked)
        if all(upload.done for upload in tracked.uploads.values()):
            self._introduce(tracked)

    def _not_taken(self, tracked: _Tracked, upload: _Upload, error: Error) -> None:
        if error.code != "corrupt" or upload.tries == SENDING_TRIES:
            raise ServerError(error.message)
        upload.tries += 1
        upload.start_at(0)

    def _emit_uploads(self, tracked: _Tracked) -> None:
        uploads = tracked.uploads.values()
        done, size = sum(upload.held for upload in uploads), sum(upload.blob.size for upload in uploads)
        self._emit(tracked, stage="upload", step=done, steps=size)

    def _fetch(self, tracked: _Tracked, event: Event) -> bool:
        """One thing of the download: open the next file, check what is there, ask for a chunk, or end."""
        assert event.result
        download = tracked.download
        if download is None and tracked.to_fetch:
            folder = self._folder / event.job_id
            folder.mkdir(parents=True, exist_ok=True)
            tracked.download = _Download(tracked.to_fetch.pop(0), folder)
        elif download is None:
            self._end(tracked, "done", facts=event.result.facts, files=tracked.fetched, seq=event.seq)
        elif download.done:
            tracked.fetched[download.blob.name] = download.path
            tracked.download = None
            sizes = {blob.name: blob.size for blob in event.result.files}
            done = sum(sizes[name] for name in tracked.fetched)
            self._emit(tracked, stage="download", step=done, steps=sum(sizes.values()), rate=None, eta_s=None)
        elif not download.check():
            if download.next >= download.blob.size or not self._has_credit():
                return False
            offset, download.next = download.next, download.next + self._limits.chunk
            self._connection.under_way += 1
            self._send(Get(download.blob.sha256, offset), bulk=True)
        return True


def _superseded(update: JobUpdate, later: JobUpdate | None) -> bool:
    """Only bytes were moved between the two: the later one says it all."""
    same = later is not None and (update.job_id, update.state, update.stage) == (
        later.job_id,
        later.state,
        later.stage,
    )
    return same and update.stage in ("upload", "download") and not update.message
