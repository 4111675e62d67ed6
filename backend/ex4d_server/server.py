"""The server: two ZeroMQ sockets, the journal, the files and the supervisor, in one single-threaded loop."""

import fcntl
import logging
import os
import secrets
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import platformdirs
import zmq

from ex4d import __version__
from ex4d.depth import registry
from ex4d.errors import EX4DError, InputError, ServerError
from ex4d.generate.base import Spec
from ex4d.generate.registry import AUTO, check_options, generators
from ex4d.jobs.address import DEFAULT_ADDRESS, parse_address
from ex4d.jobs.codec import ProtocolError, decode, encode, sentence, unpack
from ex4d.jobs.limits import CHUNK_BYTES, CONTROL_BYTES, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, MESSAGE_FRAMES
from ex4d.jobs.messages import (
    CLIENT_BULK,
    CLIENT_CONTROL,
    PROTOCOL_VERSION,
    Cancel,
    Capabilities,
    Chunk,
    Error,
    EstimatorInfo,
    Follow,
    GeneratorInfo,
    Get,
    Hello,
    Holds,
    Limits,
    Missing,
    Ping,
    Pong,
    Status,
    Submit,
    Unload,
    Welcome,
)
from ex4d.pipeline.requests import Fill, Generate, Job, blobs_of, job_hash
from ex4d.plain import Tagged
from ex4d.schema import describe
from ex4d_server.blobs import BlobError, BlobStore
from ex4d_server.journal import Journal
from ex4d_server.orders import blob_folder
from ex4d_server.supervisor import Supervisor

log = logging.getLogger("ex4d.server")

TICK_MS = 100
TURN = 20
"""Messages taken from one socket before the others have their turn."""
PEER_SECONDS = 600.0
"""A client that was silent for so long must say hello again."""
OWNER = "local"
JOURNAL_PROBLEM = "The server cannot write its journal ({}): free some space where its state folder is."


class Server:
    """One state folder served on one loopback address.

    Args:
        address: "tcp://127.0.0.1:PORT"; port 0 takes any free one.
        state: folder for journal, files and logs; made if it is missing.
        runner, cancel_grace: see `Supervisor`.
        clock: monotonic seconds.

    Raises:
        InputError: the address is not loopback, or its port is taken; the folder cannot be used.
        ServerError: another server uses the folder, or its journal is of another version.
    """

    def __init__(
        self,
        address: str,
        state: Path,
        *,
        runner: str = "ex4d_server.worker:pipeline",
        cancel_grace: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host, port = parse_address(address)
        self._clock = clock
        self._instance = secrets.token_hex(8)
        self._peers: dict[bytes, float] = {}
        self._followers: dict[str, dict[bytes, int]] = {}
        self._lock = _lock(state)
        self._context = zmq.Context()
        try:
            self._control = self._bind(f"tcp://{host}:{port or '*'}", CONTROL_BYTES)
            self._bulk = self._bind(f"tcp://{host}:*", CHUNK_BYTES + 1024)
            self._journal = Journal(state / "journal.sqlite")
            self._blobs = BlobStore(blob_folder(state), state / "incoming")
            self._supervisor = Supervisor(
                self._context,
                state,
                self._journal,
                self._blobs,
                runner=runner,
                cancel_grace=cancel_grace,
                clock=clock,
            )
        except BaseException:
            self._context.destroy(linger=0)
            self._lock.close()
            raise
        self.address = f"tcp://{host}:{_port(self._control)}"
        self._journal.recover()

    def _bind(self, address: str, frame_bytes: int) -> zmq.Socket:
        socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.router_mandatory = True
        socket.maxmsgsize = frame_bytes
        socket.sndhwm = socket.rcvhwm = 1000
        socket.handshake_ivl = 5000
        socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise InputError(
                f"The server cannot listen on {address} ({error.strerror}): stop what uses the port, or choose"
                " another one."
            ) from error
        return socket

    def run(self, stop: Callable[[], bool]) -> None:
        """Serve until `stop` says so; it is asked at least every tenth of a second or so."""
        poller = zmq.Poller()
        for socket in (self._control, self._bulk, self._supervisor.socket):
            poller.register(socket, zmq.POLLIN)
        while not stop():
            ready = dict(poller.poll(TICK_MS))
            if self._control in ready:
                self._drain(self._control, self._handle_control)
            if self._supervisor.socket in ready:
                for _ in range(TURN):
                    if not self._supervisor.socket.poll(0):
                        break
                    self._supervisor.receive()
            if self._bulk in ready:
                self._drain(self._bulk, self._handle_bulk)
            self._supervisor.tick()
            self._push_events()

    def close(self) -> None:
        """End the worker, close everything, give the folder free."""
        self._supervisor.close()
        self._context.destroy(linger=0)
        self._blobs.close()
        self._journal.close()
        self._lock.close()

    # -- both sockets

    def _drain(self, socket: zmq.Socket, handle: Callable[[bytes, list[bytes]], list[Tagged | bytes]]) -> None:
        for _ in range(TURN):
            try:
                frames = _receive(socket)
            except zmq.Again:
                return
            try:
                if len(frames) > MESSAGE_FRAMES:
                    raise ProtocolError(f"A message has more than {MESSAGE_FRAMES} frames.")
                answer = handle(frames[0], frames[1:])
            except BlobError as error:
                answer = [Error(error.code, sentence(error))]
            except ProtocolError as error:
                answer = [Error("protocol", sentence(error))]
            except sqlite3.Error as error:
                log.error("the journal cannot be written: %s", error)
                answer = [Error("journal", JOURNAL_PROBLEM.format(error))]
            if answer:
                self._send(socket, frames[0], answer)

    def _send(self, socket: zmq.Socket, peer: bytes, parts: list[Tagged | bytes]) -> bool:
        """Send to one client; False when its queue is full or it is gone."""
        frames = [part if isinstance(part, bytes) else encode(part) for part in parts]
        try:
            socket.send_multipart([peer, *frames], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError:
            self._forget(peer)
            return False
        return True

    def _forget(self, peer: bytes) -> None:
        self._peers.pop(peer, None)
        for followers in self._followers.values():
            followers.pop(peer, None)

    # -- control: hello, jobs, events

    def _handle_control(self, peer: bytes, frames: list[bytes]) -> list[Tagged | bytes]:
        if len(frames) != 1:
            raise ProtocolError("A control message has one frame.")
        now = self._clock()
        plain = unpack(frames[0])
        if plain.get("kind") == "hello" and plain.get("protocol") != PROTOCOL_VERSION:
            return [_version_error(plain)]
        message = decode(frames[0], CLIENT_CONTROL)
        if isinstance(message, Hello):
            for old in [old for old, heard in self._peers.items() if now - heard > PEER_SECONDS]:
                self._forget(old)
            self._peers[peer] = now
            limits, capabilities = Limits(), _capabilities()
            port = _port(self._bulk)
            return [Welcome(PROTOCOL_VERSION, __version__, self._instance, port, capabilities, limits)]
        if peer not in self._peers:
            return [Error("hello_first", "The first message must be a hello.")]
        self._peers[peer] = now
        if isinstance(message, Ping):
            return [Pong()]
        if isinstance(message, Unload):
            return [self._supervisor.unload()]
        if isinstance(message, Submit):
            return [self._submit(peer, message)]
        row = self._journal.get(message.job_id)
        if row is None:
            return [Error("unknown_job", "The server does not know this job.", message.job_id)]
        if isinstance(message, Cancel):
            self._journal.ask_to_cancel(message.job_id)
            self._supervisor.cancel(message.job_id)
        self._follow(peer, message.job_id, message.since if isinstance(message, Follow) else None)
        return [self._status(message.job_id)]

    def _submit(self, peer: bytes, message: Submit) -> Tagged:
        if message.hash != job_hash(message.job):
            return Error("conflict", "The job does not fit its hash.", message.job_id)
        row = self._journal.get(message.job_id)
        if row is not None and row.hash != message.hash:
            return Error("conflict", "This job id stands for another job already: make a new id.", message.job_id)
        if row is None:
            if refused := _refused(message.job):
                return Error("refused", refused, message.job_id)
            try:
                missing = self._blobs.missing(blobs_of(message.job))
            except BlobError as error:
                return Error(error.code, sentence(error), message.job_id)
            if missing:
                return Missing(message.job_id, tuple(Holds(sha256, offset) for sha256, offset in missing.items()))
            self._journal.add(message.job_id, message.job, OWNER)
        self._follow(peer, message.job_id, 0)
        return self._status(message.job_id)

    def _status(self, job_id: str) -> Status:
        row = self._journal.get(job_id)
        assert row is not None
        return Status(job_id, row.state, row.attempt, row.seq)

    def _follow(self, peer: bytes, job_id: str, since: int | None) -> None:
        """Send `peer` the events after `since`; None goes on where it was, or begins at the first."""
        followers = self._followers.setdefault(job_id, {})
        if since is not None or peer not in followers:
            followers[peer] = since or 0
        self._journal.changed.add(job_id)

    def _push_events(self) -> None:
        """Send new events to who follows. Where a queue is full, the next change or `Follow` sends them."""
        changed, self._journal.changed = self._journal.changed, set()
        for job_id in changed:
            for peer, seen in list(self._followers.get(job_id, {}).items()):
                for event in self._journal.events(job_id, seen):
                    if not self._send(self._control, peer, [event]):
                        break
                    self._followers[job_id][peer] = event.seq

    # -- bulk: file content

    def _handle_bulk(self, peer: bytes, frames: list[bytes]) -> list[Tagged | bytes]:
        if not 1 <= len(frames) <= 2:
            raise ProtocolError("A bulk message has one or two frames.")
        message = decode(frames[0], CLIENT_BULK)
        try:
            if isinstance(message, Get):
                return [
                    Chunk(message.sha256, message.offset),
                    self._blobs.read(message.sha256, message.offset),
                ]
            if len(frames) != 2:
                raise ProtocolError("put needs a second frame with the content.")
            return [Holds(message.sha256, self._blobs.put(message.sha256, message.offset, frames[1]))]
        except BlobError as error:
            return [Error(error.code, sentence(error), message.sha256)]


def serve(
    address: str = DEFAULT_ADDRESS,
    state_folder: Path | None = None,
    *,
    runner: str = "ex4d_server.worker:pipeline",
    cancel_grace: float = 5.0,
) -> None:
    """Serve until SIGTERM or SIGINT. Prints one line with the address when it listens.

    Args:
        address: a loopback address; port 0 takes any free one.
        state_folder: where jobs, files and logs are kept; None for the user's own folder.
        runner, cancel_grace: see `ex4d_server.supervisor.Supervisor`.

    Raises:
        InputError, ServerError: as `Server`.
    """
    stopping = threading.Event()
    state = platformdirs.user_state_path("ex4d") if state_folder is None else state_folder
    server = Server(address, state.absolute(), runner=runner, cancel_grace=cancel_grace)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        print(f"EX-4D server {__version__} listening on {server.address}", flush=True)
        server.run(stopping.is_set)
    except sqlite3.Error as error:
        raise ServerError(JOURNAL_PROBLEM.format(error)) from error
    finally:
        server.close()


def _receive(socket: zmq.Socket) -> list[bytes]:
    """One message; of one with too many frames the rest is thrown away unread."""
    frames = [socket.recv(zmq.NOBLOCK)]
    while socket.rcvmore:
        frame = socket.recv(zmq.NOBLOCK)
        if len(frames) <= MESSAGE_FRAMES:
            frames.append(frame)
    return frames


def _capabilities() -> Capabilities:
    """What can be run here now; files and GPUs come and go, so it is asked for each client."""
    return Capabilities(
        tuple(_announced(spec) for spec in generators().values()),
        tuple(
            EstimatorInfo(
                name=spec.name,
                title=spec.title,
                help=spec.help,
                licence=spec.licence,
                commercial=spec.commercial,
                terms=spec.terms,
                missing=sentence(_lacking(partial(registry.missing, spec))),
            )
            for spec in registry.estimators().values()
            if not spec.is_helper
        ),
    )


def _announced(spec: Spec) -> GeneratorInfo:
    memory = spec.memory(spec.settings())
    return GeneratorInfo(
        name=spec.name,
        title=spec.title,
        help=spec.help,
        licence=spec.licence,
        is_preview=spec.is_preview,
        missing=sentence(_lacking(partial(spec.missing, False))),
        settings=describe(spec.settings),
        least_gb=memory.least,
        best_gb=memory.best,
        files_gb=spec.gigabytes,
    )


def _refused(job: Job) -> str:
    """Why a job cannot run whatever happens: a generator that is not installed, or a setting that it does not take."""
    if not isinstance(job, Generate | Fill):
        return ""
    known, wish = generators(), job.generation.generator
    if wish != AUTO and wish not in known:
        return f"This server has no generator {wish[:100]!r}: choose one of {AUTO}, {', '.join(known)}."
    try:
        check_options(job.generation.options, known)
    except InputError as error:
        return sentence(error)
    return ""


def _lacking(look: Callable[[], str]) -> str:
    """What is missing, also where it cannot be looked at, as in a folder that is gone."""
    try:
        return look()
    except (EX4DError, OSError) as error:
        return str(error)


def _port(socket: zmq.Socket) -> int:
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return int(endpoint.rsplit(b":", 1)[1].rstrip(b"\0"))


def _version_error(hello: dict) -> Error:
    theirs, name = hello.get("protocol"), sentence(hello.get("client"))[:50]
    if not isinstance(theirs, int):
        raise ProtocolError("hello.protocol must be a whole number.")
    older = "the server" if theirs > PROTOCOL_VERSION else "the client (in Blender: the EX-4D extension)"
    return Error(
        "version",
        f"The EX-4D server {__version__} speaks protocol {PROTOCOL_VERSION}, but the client {name} speaks protocol"
        f" {theirs}: update {older}.",
    )


def _lock(state: Path) -> IO[str]:
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = open(state / "lock", "a+")  # noqa: SIM115 - held as long as the server lives
    except OSError as error:
        raise InputError(f"The state folder {state} cannot be used ({error.strerror}): choose another.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise ServerError(
            f"Another EX-4D server (process {owner}) uses the state folder {state}: stop it, or choose another folder."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
