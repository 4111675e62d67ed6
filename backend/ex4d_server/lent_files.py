"""What workers that do not see the server's disk may fetch and send: the files of the attempts that they have.

It goes over the socket for files, by the messages that clients use, under a session for each attempt: it names what may
be fetched, and nothing comes or goes once it is closed.
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
        sessions: those of the socket for files.
        store: where the files are.
        port: of that socket now.
    """

    def __init__(self, sessions: Sessions, store: BlobStore, port: Callable[[], int]) -> None:
        self._sessions, self._store, self._port = sessions, store, port
        self._keys: dict[str, str] = {}

    @property
    def port(self) -> int:
        """Where the socket for files is."""
        return self._port()

    @property
    def keys(self) -> frozenset[str]:
        """The public keys of workers that have an attempt. For any thread."""
        return frozenset(self._keys.copy().values())

    def open(self, key: str, job: Job) -> str:
        """Let a worker fetch the files of a job; returns the session's secret."""
        secret = self._sessions.open(key)
        session = self._sessions.find(secret.encode(), key)
        assert session
        session.files.update(blob.sha256 for blob in blobs_of(job))
        self._keys[secret] = key
        return secret

    def expect(self, secret: str, made: Made) -> str:
        """Let a worker send what it has made, for as long as its session is open; returns why not, or ""."""
        try:
            self._store.missing(list(made.files), self._keys[secret], math.inf)
        except BlobError as error:
            return sentence(error)
        return ""

    def are_here(self, secret: str, finished: Finished) -> bool:
        """Whether the worker has sent all files of a result, each with the size that it names."""
        try:
            return not self._store.missing(list(finished.result.all_files), self._keys[secret])
        except BlobError:
            return False

    def close(self, secret: str) -> None:
        """Nothing comes or goes under this session any more."""
        if (key := self._keys.pop(secret, None)) is not None:
            self._store.forget(key)
        self._sessions.close(secret)
