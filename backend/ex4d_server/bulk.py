"""The thread that moves files: it owns the bulk socket, and does all reading, writing, hashing and flushing.

The server's loop, which answers pings and accepts jobs, therefore never waits for a disk. Each request becomes steps
(`ex4d_server.content.Steps`); clients take turns, and each client gets its answers in the order of its requests.

The backlog is bounded: a client may have as many outstanding requests as it has credit, and all clients together
`HELD_BYTES` of content. Requests beyond that are counted, and refused when their turn comes.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zmq

from ex4d.jobs.codec import ProtocolError, decode, encode, sentence
from ex4d.jobs.limits import CREDIT
from ex4d.jobs.messages import CLIENT_BULK, Chunk, Error, Get, GetFile, Holds, Put, PutFile
from ex4d.plain import Tagged
from ex4d_server.blobs import NO_FILE, BlobStore
from ex4d_server.content import BlobError, Steps
from ex4d_server.limited_log import LimitedLog
from ex4d_server.sessions import Session, Sessions
from ex4d_server.wire import bind_again, receive

log = logging.getLogger("ex4d.server")

TICK_MS, FULL_MS = 100, 2
"""How long to wait for requests while idle, and while only clients that do not read their answers are left."""
TURN = 20
HELD_BYTES = 256 << 20
RENEW_SECONDS = 10.0

HELLO_FIRST = "hello_first", "Say hello on the control socket first."

Answer = list[Tagged | bytes]


class Peer:
    """Requests of one client that have not been answered yet.

    Attributes:
        asked: the requests, each with the size of its content in bytes and the session it came from.
        answer: an answer that the socket had no room for.
        beyond: how many further requests came without credit.
    """

    def __init__(self) -> None:
        self.asked: deque[tuple[Steps[Answer], int, Session | None]] = deque()
        self.answer: Answer | None = None
        self.beyond = 0


class Bulk:
    """Serves the bulk socket from `start` to `close`.

    Args:
        bind: makes the socket, a guarded ROUTER on any port; called again for each `renew`.
        sessions: of the clients that said hello; nobody else is served.
        store: holds the files.
        exchange: folder of tickets, see `docs/protocol.md`; emptied, and readable by this user only.
        instance: what a client must find there to know that it sees the same disk.

    Attributes:
        exchange: the folder of tickets, as announced to clients; empty if it cannot be used.
    """

    def __init__(
        self, bind: Callable[[], zmq.Socket], sessions: Sessions, store: BlobStore, exchange: Path, instance: str
    ) -> None:
        self._bind, self._sessions, self._store, self._exchange = bind, sessions, store, exchange
        self._socket = bind()
        self._held = 0
        self._renew, self._renewed = threading.Event(), threading.Event()
        self._peers: dict[bytes, Peer] = {}
        self._housework = store.work()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bulk", daemon=True)
        self._troubles = LimitedLog(log)
        self.exchange = str(exchange) if self._make_exchange(instance) else ""

    def _make_exchange(self, instance: str) -> bool:
        try:
            self._exchange.mkdir(mode=0o700, exist_ok=True)
            self._exchange.chmod(0o700)
            for left in self._exchange.iterdir():
                left.unlink(missing_ok=True)
            (self._exchange / "instance").write_text(instance)
        except OSError as error:
            log.warning("files go over the socket, as %s cannot be used: %s", self._exchange, error.strerror)
            return False
        return True

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    @property
    def port(self) -> int:
        """Port of the socket."""
        endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        return int(endpoint.rsplit(b":", 1)[1].rstrip(b"\0"))

    def renew(self) -> None:
        """Drop all connections and everything queued in them; `port` may change."""
        self._renewed.clear()
        self._renew.set()
        self._renewed.wait(RENEW_SECONDS)

    def close(self) -> None:
        """Stop after the current step; close the socket and the store."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close(0)
        self._store.close()
        with suppress(OSError):
            (self._exchange / "instance").unlink(missing_ok=True)

    def _run(self) -> None:
        wait = TICK_MS
        while not self._closing.is_set():
            try:
                if self._renew.is_set():
                    self._start_anew()
                self._socket.poll(wait)
                self._receive()
                moved = [self._turn(identity, peer) for identity, peer in list(self._peers.items())]
                wait = TICK_MS if not self._peers else 0 if any(moved) else FULL_MS
                if next(self._housework, self) is self:
                    self._housework = self._store.work()
                else:
                    wait = 0
            except Exception:  # whatever it was, other clients' transfers must continue
                self._troubles.warning("moving files goes on after an unexpected error", exc_info=True)
                wait = TICK_MS

    def _start_anew(self) -> None:
        self._socket.close(0)
        self._peers, self._held = {}, 0
        self._socket = bind_again(self._bind)
        self._renew.clear()
        self._renewed.set()

    def _receive(self) -> None:
        for _ in range(TURN):
            try:
                received = receive(self._socket)
            except zmq.Again:
                return
            peer = self._peers.setdefault(received.peer, Peer())
            size = sum(len(frame.buffer) for frame in received.frames)
            if peer.beyond or len(peer.asked) >= CREDIT or self._held + size > HELD_BYTES:
                peer.beyond += 1
                continue
            session = self._sessions.find(received.peer, received.key)
            if session is None:
                peer.asked.append((_refuse(*HELLO_FIRST), 0, None))
                continue
            self._held += size
            peer.asked.append((self._steps(received.frames, session), size, session))

    def _turn(self, identity: bytes, peer: Peer) -> bool:
        """Do one step for a client; returns False if the socket has no room for its answer."""
        if peer.answer is None and not peer.asked:
            peer.answer = [Error("credit", "More chunks were sent than the server gives credit for.")]
            peer.beyond -= 1
        elif peer.answer is None:
            steps, size, session = peer.asked[0]
            try:
                if session is not None and not session.is_open:  # closed since the request came
                    steps.close()
                    peer.answer = [Error(*HELLO_FIRST)]
                else:
                    next(steps)
                    return True
            except StopIteration as end:
                peer.answer = end.value
            peer.asked.popleft()
            self._held -= size
        assert peer.answer is not None
        frames = [part if isinstance(part, bytes) else encode(part) for part in peer.answer]
        try:
            self._socket.send_multipart([identity, *frames], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # the client is gone
            self._held -= sum(size for _, size, _ in peer.asked)
            del self._peers[identity]
            return True
        peer.answer = None
        if not peer.asked and not peer.beyond:
            del self._peers[identity]
        return True

    def _steps(self, frames: list[zmq.Frame], session: Session) -> Steps[Answer]:
        """Carry out a request; returns the answer, which is an `Error` if anything goes wrong."""
        about = ""
        try:
            if not 1 <= len(frames) <= 2:
                raise ProtocolError("A bulk message has one or two frames.")
            message = decode(frames[0].bytes, CLIENT_BULK)
            about = message.sha256
            if isinstance(message, Get | GetFile) and about not in session.files:
                raise BlobError("no_file", NO_FILE)  # the same answer whether it exists or not
            if isinstance(message, Get):
                content = yield from self._store.read(message.sha256, message.offset)
                return [Chunk(message.sha256, message.offset), content]
            if isinstance(message, Put):
                if len(frames) != 2:
                    raise ProtocolError("put needs a second frame with the content.")
                data = frames[1].buffer
                held = yield from self._store.put(about, message.size, message.offset, data, session.key)
            elif isinstance(message, PutFile):
                path = self._path(message.ticket)
                held = yield from self._store.put_file(about, message.size, path, session.key)
            else:
                assert isinstance(message, GetFile)
                held = yield from self._store.get_file(message.sha256, self._path(message.ticket))
            if isinstance(message, Put | PutFile) and held == message.size:
                session.files.add(about)  # a client that has sent all of it may fetch it again
            return [Holds(about, held)]
        except BlobError as error:
            return [Error(error.code, sentence(error), about)]
        except ProtocolError as error:
            return [Error("protocol", sentence(error), about)]
        except Exception as error:
            self._troubles.warning("a file could not be moved", exc_info=True)
            return [Error("internal", f"The server failed on this file ({type(error).__name__}): see its log.", about)]

    def _path(self, ticket: str) -> Path:
        """The path in a ticket, which only this user could have written.

        Raises:
            BlobError: there is no such ticket.
        """
        file = self._exchange / ticket
        try:
            text = file.read_text(encoding="utf-8")
            file.unlink()
            return Path(json.loads(text)["path"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BlobError("not_seen", "The server does not find the ticket.") from error


def _refuse(code: str, message: str) -> Steps[Answer]:
    yield
    return [Error(code, message)]
