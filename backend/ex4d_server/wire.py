"""Receiving messages of bounded size with their sender, and rebinding a socket to its port."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from ex4d.errors import InputError
from ex4d.jobs.limits import MESSAGE_FRAMES

REBIND_SECONDS = 5.0


@dataclass(frozen=True)
class Received:
    """A message: its connection, the key that the gate verified there, and its frames.

    At most `MESSAGE_FRAMES` frames are kept, one more than a message may have besides its address, so that a message
    with too many can be recognised. `address` is the IP address of the peer.
    """

    peer: bytes
    key: str
    frames: list[zmq.Frame]
    address: str = ""


def receive(socket: zmq.Socket) -> Received:
    """Receive a message from a guarded ROUTER; surplus frames are discarded unread.

    Raises:
        zmq.Again: there is no message.
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
    """Bind a socket to the port of one that was just closed, which ZeroMQ takes a moment to release.

    Raises:
        InputError: another program has taken the port.
    """
    end = time.monotonic() + REBIND_SECONDS
    while True:
        try:
            return bind()
        except InputError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
