"""Sessions: what the control socket tells the bulk socket about a client that said hello."""

import secrets
import threading
from dataclasses import dataclass, field


@dataclass
class Session:
    """A client that said hello.

    Attributes:
        key: the client's public key.
        files: hashes of the files that it may fetch.
        is_open: whether it is served; False once the client reconnected, was forgotten, or its key was revoked.
    """

    key: str
    files: set[str] = field(default_factory=set)
    is_open: bool = True


class Sessions:
    """All sessions, by the secret that each client was given. Thread-safe."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def open(self, key: str) -> str:
        """Open a session; returns its secret."""
        secret = secrets.token_hex(16)
        with self._lock:
            self._sessions[secret.encode()] = Session(key)
        return secret

    def find(self, secret: bytes, key: str) -> Session | None:
        """The session with this secret; None if there is none, or if it belongs to another key."""
        with self._lock:
            session = self._sessions.get(secret)
        return session if session is not None and session.key == key else None

    def close(self, secret: str) -> None:
        """Close and forget a session; its pending requests are refused."""
        with self._lock:
            if session := self._sessions.pop(secret.encode(), None):
                session.is_open = False
