"""Small things around sockets: reading a message of bounded size, and descriptors kept back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from ex4d.jobs.limits import MESSAGE_FRAMES

SPARE_DESCRIPTORS = 16
"""More than it takes to start a process."""


def receive(socket: zmq.Socket) -> list[bytes]:
    """One message, sender first; of one with too many frames the rest is thrown away unread.

    Raises:
        zmq.Again: there is none.
    """
    frames = [socket.recv(zmq.NOBLOCK)]
    while socket.rcvmore:
        frame = socket.recv(zmq.NOBLOCK)
        if len(frames) <= MESSAGE_FRAMES:
            frames.append(frame)
    return frames


class Spares:
    """Descriptors held back, so that a process can be started when connections have taken all others."""

    def __init__(self, count: int = SPARE_DESCRIPTORS) -> None:
        self._count = count
        self._held: list[int] = []
        self._take()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give them back for a moment."""
        self.close()
        try:
            yield
        finally:
            self._take()

    def close(self) -> None:
        """Give them back for good."""
        while self._held:
            os.close(self._held.pop())

    def _take(self) -> None:
        try:
            while len(self._held) < self._count:
                self._held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return  # not now; the next time, perhaps
