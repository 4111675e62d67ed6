"""What workers that do not see the server's disk may fetch and send: the files of their current attempts.

Files go over the file socket, with the same messages that clients use, in a session per attempt. The session lists
what may be fetched, and nothing is transferred once it is closed.
"""

import math
from collections.abc import Callable

from ex4d.jobs.codec import sentence
from ex4d.pipeline.requests import Job, blobs_of
from ex4d_server.blobs import BlobStore
from ex4d_server.content import BlobError
from ex4d_server.orders import Finished, Made
from ex4d_server.sessions import Sessions


class LentFiles:
    """The sessions of attempts.

    Args:
        sessions: of the file socket.
        store: holds the files.
        port: current port of the file socket.
    """

    def __init__(self, sessions: Sessions, store: BlobStore, port: Callable[[], int]) -> None:
        self._sessions, self._store, self._port = sessions, store, port
        self._keys: dict[str, str] = {}

    @property
    def port(self) -> int:
        """Port of the file socket."""
        return self._port()

    @property
    def keys(self) -> frozenset[str]:
        """The public keys of workers that have an attempt. Thread-safe."""
        return frozenset(self._keys.copy().values())

    def open(self, key: str, job: Job) -> str:
        """Let the worker with this public key fetch the files of a job; returns the session's secret."""
        secret = self._sessions.open(key)
        session = self._sessions.find(secret.encode(), key)
        assert session
        session.files.update(blob.sha256 for blob in blobs_of(job))
        self._keys[secret] = key
        return secret

    def expect(self, secret: str, made: Made) -> str:
        """Let a worker send what it has made while its session is open; returns "", or the reason for refusing."""
        try:
            self._store.missing(list(made.files), self._keys[secret], math.inf)
        except BlobError as error:
            return sentence(error)
        return ""

    def are_here(self, secret: str, finished: Finished) -> bool:
        """Whether the worker has sent all files of a result, each with the announced size."""
        try:
            return not self._store.missing(list(finished.result.all_files), self._keys[secret])
        except BlobError:
            return False

    def close(self, secret: str) -> None:
        """Close a session; nothing is transferred in it any more."""
        if (key := self._keys.pop(secret, None)) is not None:
            self._store.forget(key)
        self._sessions.close(secret)
