"""Transfer of an attempt's files between the server and a worker that does not see its disk.

They go over the server's file socket, with the same messages that clients use: fetched files are checked by hash and
kept for later jobs; sent files are checked by the server.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zmq

from ex4d.errors import ServerError
from ex4d.jobs.codec import decode, encode
from ex4d.jobs.keys import ClientKeys
from ex4d.jobs.limits import CHUNK_BYTES, CREDIT, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
from ex4d.jobs.messages import SERVER_BULK, Chunk, Error, Get, Holds, Put
from ex4d.jobs.transfer import Upload
from ex4d.pipeline.requests import Blob
from ex4d.plain import Tagged
from ex4d.progress import FETCHING_FILES, SENDING_FILES, Progress
from ex4d_server.blobs import BlobStore, StoreLimits
from ex4d_server.content import BlobError, run
from ex4d_server.orders import blob_folder

WINDOW = CREDIT // 2
"""Chunks in flight."""
LOOK_SECONDS = 0.2
"""How often to check for cancellation while nothing arrives."""
SILENCE_SECONDS = 20.0
"""How long to wait for an answer before reconnecting."""
TRIES = 5
"""How many connections in a row may go unanswered before the attempt fails."""
ODD = "The server answered something other than what was requested: run the job again."

Connect = Callable[[], zmq.Socket]


def connecting(context: zmq.Context, address: str, port: int, keys: ClientKeys, session: str) -> Connect:
    """A function that makes and connects a socket for files.

    Args:
        address: where the worker reaches the server, but for the port.
        port: the server's port for files.
        session: the secret of the attempt's session.
    """

    def connect() -> zmq.Socket:
        socket = context.socket(zmq.DEALER)
        keys.put_on(socket)
        socket.routing_id = session.encode()
        socket.linger = 0
        socket.maxmsgsize = 2 * CHUNK_BYTES
        socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
        socket.connect(f"{address.rsplit(':', 1)[0]}:{port}")
        return socket

    return connect


class Depot:
    """The files that a worker has fetched, kept in its own state folder for later jobs.

    Args:
        state: the worker's state folder.
        limits: how much to keep; None for the defaults.
    """

    def __init__(self, state: Path, limits: StoreLimits | None = None) -> None:
        self._limits = limits or StoreLimits()
        # Everything here was fetched for this server's jobs, and is checked again before use.
        self.store = BlobStore(blob_folder(state), state / "incoming", self._limits, owns=lambda owner, sha256: True)

    def tidy(self) -> None:
        """Remove what exceeds the limits."""
        with suppress(OSError):
            run(self.store.remove(self._limits))


class Courier:
    """Transfers the files of one attempt.

    Args:
        connect: makes a socket for files; called again if the server falls silent.
        progress: called with the progress in megabytes; raises `Cancelled` if the job is to stop.
    """

    def __init__(self, connect: Connect, progress: Progress) -> None:
        self._connect, self._progress = connect, progress
        self._socket = connect()
        self._silences = 0
        self._stage, self._moved, self._total = "", 0, 0

    def close(self) -> None:
        """Close the connection."""
        self._socket.close(0)

    def fetch(self, blobs: list[Blob], store: BlobStore) -> None:
        """Fetch the files of a job that a store lacks.

        Raises:
            ServerError: the server no longer has a file, or does not answer; `BlobError`: the content does not match
                its hash, or the disk is full.
            Cancelled: the job is to stop.
        """
        offsets = store.missing(blobs)
        run(store.work())  # frees the space that `missing` counts on; nothing else does so here
        lacking = [blob for blob in blobs if blob.sha256 in offsets]
        self._begin(FETCHING_FILES, sum(blob.size - offsets[blob.sha256] for blob in lacking))
        for blob in lacking:
            held = offsets[blob.sha256]
            try:
                self._fetch(blob, held, store)
            except BlobError as error:
                if error.code != "corrupt" or not held:
                    raise
                self._fetch(blob, 0, store)  # the part already here was not its beginning

    def send(self, blobs: tuple[Blob, ...], folder: Path) -> None:
        """Send the files that a job has made, after they were announced to the server.

        Raises:
            ServerError: the server refuses a file, or does not answer.
            OSError: a file cannot be read.
            Cancelled: the job is to stop.
        """
        self._begin(SENDING_FILES, sum(blob.size for blob in blobs))
        for blob in blobs:
            self._send(blob, folder)

    def _fetch(self, blob: Blob, held: int, store: BlobStore) -> None:
        asked, under_way, whole = held, 0, False
        while not whole:
            asked = asked if under_way else held
            while under_way < WINDOW and (asked < blob.size or not under_way) and self._has_room():
                self._socket.send(encode(Get(blob.sha256, asked)))
                asked, under_way = asked + CHUNK_BYTES, under_way + 1
            answer = self._answer()
            if answer is None:
                under_way = 0
                continue
            message, content = answer
            under_way -= 1
            if not isinstance(message, Chunk) or message.sha256 != blob.sha256 or (blob.size and not content):
                raise ServerError(ODD)
            before, held = held, run(store.put(blob.sha256, blob.size, message.offset, content))
            self._note(held - before)
            whole = held == blob.size

    def _send(self, blob: Blob, folder: Path) -> None:
        upload = Upload(blob, folder / blob.name, 0)
        try:
            while not upload.done:
                while upload.under_way < WINDOW and not upload.sent_end and self._has_room():
                    put = encode(Put(blob.sha256, blob.size, upload.next))
                    self._socket.send_multipart([put, upload.chunk(CHUNK_BYTES)])
                before, answer = upload.held, self._answer()
                if answer is None:
                    upload.under_way = 0
                    upload.start_at(upload.held)
                    continue
                if not isinstance(answer[0], Holds) or answer[0].sha256 != blob.sha256:
                    raise ServerError(ODD)
                upload.acknowledged(answer[0].offset)
                self._note(upload.held - before)
        finally:
            upload.close()

    def _has_room(self) -> bool:
        """Whether a request can be sent now; False while there is no connection."""
        return bool(self._socket.poll(0, zmq.POLLOUT))

    def _answer(self) -> tuple[Tagged, bytes] | None:
        """The next answer and its content; None if it had to reconnect.

        Raises:
            ServerError: the server refuses, or several connections in a row went unanswered.
        """
        end = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < end:
            if self._socket.poll(int(LOOK_SECONDS * 1000)):
                frames = self._socket.recv_multipart()
                message = decode(frames[0], SERVER_BULK)
                if isinstance(message, Error):
                    raise ServerError(message.message)
                self._silences = 0
                return message, frames[1] if len(frames) > 1 else b""
            self._note(0)
        self._silences += 1
        if self._silences >= TRIES:
            raise ServerError("The port for files does not answer: let the machines of the cluster reach the server.")
        self._socket.close(0)
        self._socket = self._connect()
        return None

    def _begin(self, stage: str, total: int) -> None:
        self._stage, self._moved, self._total = stage, 0, total
        if total:
            self._note(0)

    def _note(self, moved: int) -> None:
        self._moved += moved
        self._progress(self._stage, _megabytes(self._moved), _megabytes(self._total))


def _megabytes(count: int) -> int:
    return -(-count // 10**6)
