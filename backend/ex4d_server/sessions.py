"""Sessions: what the control socket tells the bulk socket of a client that said hello."""

import secrets
import threading
from dataclasses import dataclass, field


@dataclass
class Session:
    """A client that said hello.

    Attributes:
        key: its public key.
        files: hashes of the results that it was told of, and so may fetch.
        is_open: whether it is served; not where it came back, was forgotten, or its key was taken back.
    """

    key: str
    files: set[str] = field(default_factory=set)
    is_open: bool = True


class Sessions:
    """All of them, by the secret that each was told. For any thread."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def open(self, key: str) -> str:
        """A new session; returns its secret."""
        secret = secrets.token_hex(16)
        with self._lock:
            self._sessions[secret.encode()] = Session(key)
        return secret

    def find(self, secret: bytes, key: str) -> Session | None:
        """The session, if this key has it."""
        with self._lock:
            session = self._sessions.get(secret)
        return session if session is not None and session.key == key else None

    def close(self, secret: str) -> None:
        """Forget a session; what it still has under way is answered no more."""
        with self._lock:
            if session := self._sessions.pop(secret.encode(), None):
                session.is_open = False
