"""A peer that sends arbitrary frames, with the keys of the server's user or with others."""

import zmq
from server_process import PATIENCE

from ex4d.jobs.codec import decode, encode
from ex4d.jobs.keys import ClientKeys, client_keys, find_state
from ex4d.jobs.messages import PROTOCOL_VERSION, SERVER_BULK, SERVER_CONTROL, Event, Hello, Welcome


class Raw:
    def __init__(self, address: str, *, hello: bool = True, keys: ClientKeys | None = None) -> None:
        self.context = zmq.Context()
        keys = keys or client_keys(find_state(address))
        self.control, self.bulk = self.context.socket(zmq.DEALER), self.context.socket(zmq.DEALER)
        for socket in (self.control, self.bulk):
            keys.put_on(socket)
            socket.linger = 0
            socket.rcvtimeo = int(1000 * PATIENCE)
        self.control.connect(address)
        if hello:
            self.welcome = self.ask(Hello(PROTOCOL_VERSION, "raw"))
            assert isinstance(self.welcome, Welcome)
            self.bulk.routing_id = self.welcome.session.encode()
            self.bulk.connect(f"{address.rsplit(':', 1)[0]}:{self.welcome.bulk_port}")

    def ask(self, message):
        return self.ask_frames([encode(message)])

    def ask_frames(self, frames):
        """The answer to arbitrary frames; events that arrive in between are dropped."""
        self.control.send_multipart(frames)
        while isinstance(answer := decode(self.control.recv_multipart()[0], SERVER_CONTROL), Event):
            pass
        return answer

    def ask_bulk(self, message, *frames):
        self.bulk.send_multipart([encode(message), *frames])
        return decode(self.bulk.recv_multipart()[0], SERVER_BULK)

    def close(self) -> None:
        self.context.destroy(linger=0)
