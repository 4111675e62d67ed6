"""Reading a message of bounded size."""

import zmq

from ex4d.jobs.limits import MESSAGE_FRAMES


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
