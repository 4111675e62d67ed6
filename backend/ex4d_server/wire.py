"""Reading a message of bounded size, and who sent it; and a socket instead of another."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from ex4d.errors import InputError
from ex4d.jobs.limits import MESSAGE_FRAMES

REBIND_SECONDS = 5.0


@dataclass(frozen=True)
class Received:
    """A message: the connection that it came by, the key that the gate has seen there, and its frames.

    Of a message with too many frames one more than are allowed is there. `address` is whence the connection comes.
    """

    peer: bytes
    key: str
    frames: list[zmq.Frame]
    address: str = ""


def receive(socket: zmq.Socket) -> Received:
    """One message of a guarded ROUTER; of one with too many frames the rest is thrown away unread.

    Raises:
        zmq.Again: there is none.
    """
    peer = socket.recv(zmq.NOBLOCK, copy=False)
    key, address = str(peer.get("User-Id")), str(peer.get("Peer-Address"))
    frames: list[zmq.Frame] = []
    more = peer.more
    while more:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        more = frame.more
        if len(frames) < MESSAGE_FRAMES:
            frames.append(frame)
    return Received(peer.bytes, key, frames, address)


def bind_again(bind: Callable[[], zmq.Socket]) -> zmq.Socket:
    """Bind a socket to the port of one that was just closed, which takes ZeroMQ a moment.

    Raises:
        InputError: somebody else holds the port now.
    """
    end = time.monotonic() + REBIND_SECONDS
    while True:
        try:
            return bind()
        except InputError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
