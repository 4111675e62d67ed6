"""Reading a message of bounded size, and who sent it."""

from dataclasses import dataclass

import zmq

from ex4d.jobs.limits import MESSAGE_FRAMES


@dataclass(frozen=True)
class Received:
    """A message: the connection that it came by, the key that the gate has seen there, and its frames.

    Of a message with too many frames one more than are allowed is there.
    """

    peer: bytes
    key: str
    frames: list[zmq.Frame]


def receive(socket: zmq.Socket) -> Received:
    """One message of a guarded ROUTER; of one with too many frames the rest is thrown away unread.

    Raises:
        zmq.Again: there is none.
    """
    peer = socket.recv(zmq.NOBLOCK, copy=False)
    key = str(peer.get("User-Id"))
    frames: list[zmq.Frame] = []
    more = peer.more
    while more:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        more = frame.more
        if len(frames) < MESSAGE_FRAMES:
            frames.append(frame)
    return Received(peer.bytes, key, frames)
