"""The thread that moves files: all of the bulk socket, and with it reading, writing, hashing and flushing.

So the server's loop, which answers pings and takes jobs, never waits for a disk. Each request becomes steps
(`ex4d_server.content.Steps`); clients take turns, and the answers to one client come in the order of its requests.
"""

import json
import logging
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

import zmq

from ex4d.jobs.codec import ProtocolError, decode, encode, sentence
from ex4d.jobs.limits import CREDIT, MESSAGE_FRAMES
from ex4d.jobs.messages import CLIENT_BULK, Chunk, Error, Get, GetFile, Holds, Put, PutFile
from ex4d.plain import Tagged
from ex4d_server.blobs import BlobStore
from ex4d_server.content import BlobError, Steps

log = logging.getLogger("ex4d.server")

TICK_MS, FULL_MS = 100, 2
"""How long to wait for requests when nothing is to be done, and when only clients that do not read are left."""
TURN = 20

Answer = list[Tagged | bytes]


class Peer:
    """What one client asked for and has not been answered."""

    def __init__(self) -> None:
        self.asked: deque[Steps[Answer]] = deque()
        self.answer: Answer | None = None


class Bulk:
    """Serves the bulk socket from `start` to `close`.

    Args:
        socket: a bound ROUTER; nobody else may use it after `start`.
        store: where the files are.
        exchange: folder of tickets, see `docs/protocol.md`; made anew, for this user alone.
        instance: what a client must find there to know that it sees the same disk.

    Attributes:
        exchange: the folder of tickets as clients are told it; empty where it cannot be used.
    """

    def __init__(self, socket: zmq.Socket, store: BlobStore, exchange: Path, instance: str) -> None:
        self._socket, self._store, self._exchange = socket, store, exchange
        self._peers: dict[bytes, Peer] = {}
        self._housework = store.work()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bulk", daemon=True)
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
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the step under way; closes the socket and the store."""
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
                self._socket.poll(wait)
                self._receive()
                moved = [self._turn(identity, peer) for identity, peer in list(self._peers.items())]
                wait = TICK_MS if not self._peers else 0 if any(moved) else FULL_MS
                if next(self._housework, self) is self:
                    self._housework = self._store.work()
                else:
                    wait = 0
            except Exception:  # whatever it was, the other clients' files go on
                log.exception("moving files goes on after an unexpected error")
                wait = TICK_MS

    def _receive(self) -> None:
        for _ in range(TURN):
            try:
                identity, frames = self._next_message()
            except zmq.Again:
                return
            peer = self._peers.setdefault(identity, Peer())
            if len(peer.asked) >= 2 * CREDIT:
                peer.asked.append(_refuse("credit", "More chunks were sent than the server gives credit for."))
                continue
            peer.asked.append(self._steps(frames))

    def _next_message(self) -> tuple[bytes, list[zmq.Frame]]:
        """One message; of one with too many frames the rest is thrown away unread."""
        frames = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        while frames[-1].more:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            if len(frames) <= MESSAGE_FRAMES:
                frames.append(frame)
            elif not frame.more:
                break
        return frames[0].bytes, frames[1:]

    def _turn(self, identity: bytes, peer: Peer) -> bool:
        """One step for a client; False when it has no room for its answer."""
        if peer.answer is None:
            steps = peer.asked[0]
            try:
                next(steps)
                return True
            except StopIteration as end:
                peer.answer = end.value
            peer.asked.popleft()
        assert peer.answer is not None
        frames = [part if isinstance(part, bytes) else encode(part) for part in peer.answer]
        try:
            self._socket.send_multipart([identity, *frames], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # gone
            del self._peers[identity]
            return True
        peer.answer = None
        if not peer.asked:
            del self._peers[identity]
        return True

    def _steps(self, frames: list[zmq.Frame]) -> Steps[Answer]:
        """Do what a message asks for; returns the answer, whatever happens."""
        about = ""
        try:
            if not 1 <= len(frames) <= 2:
                raise ProtocolError("A bulk message has one or two frames.")
            message = decode(frames[0].bytes, CLIENT_BULK)
            about = message.sha256
            if isinstance(message, Get):
                data = yield from self._store.read(message.sha256, message.offset)
                return [Chunk(message.sha256, message.offset), data]
            if isinstance(message, Put):
                if len(frames) != 2:
                    raise ProtocolError("put needs a second frame with the content.")
                held = yield from self._store.put(message.sha256, message.size, message.offset, frames[1].buffer)
            elif isinstance(message, PutFile):
                held = yield from self._store.put_file(message.sha256, message.size, self._path(message.ticket))
            else:
                assert isinstance(message, GetFile)
                held = yield from self._store.get_file(message.sha256, self._path(message.ticket))
            return [Holds(message.sha256, held)]
        except BlobError as error:
            return [Error(error.code, sentence(error), about)]
        except ProtocolError as error:
            return [Error("protocol", sentence(error), about)]
        except Exception as error:
            log.exception("a file could not be moved")
            return [Error("internal", f"The server failed on this file ({type(error).__name__}): see its log.", about)]

    def _path(self, ticket: str) -> Path:
        """The path that a client wrote down where only this user can write.

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
