"""The sockets of a client: connecting, saying hello, and working out from ZeroMQ's events who is listening."""

import errno
from collections import deque
from contextlib import suppress

import zmq
from zmq.utils.monitor import recv_monitor_message

from ex4d import __version__
from ex4d.jobs.address import is_loopback
from ex4d.jobs.codec import encode
from ex4d.jobs.keys import ClientKeys
from ex4d.jobs.limits import CHUNK_BYTES, CONTROL_BYTES, CURVE_BYTES, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
from ex4d.jobs.messages import PROTOCOL_VERSION, Hello
from ex4d.jobs.name_lookup import NameLookup
from ex4d.jobs.tracked import Tracked
from ex4d.jobs.transfer import Download, Upload
from ex4d.plain import Tagged

WATCHED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
DROPS = 2
"""A listener that drops this many connections during the handshake cannot read what is meant for our server."""


class Link:
    """The sockets of one attempt to reach the server.

    Attributes:
        asked: for each chunk in flight, its job and transfer. Answers come in this order, and each returns its credit.
        keys: the keys to connect with; None if this user's server is not known.
        host: the host, whose address is looked up before anything is sent.
        reached, files_reached: something listens at the address; something listens at `files_port`.
        files_port: the port for files; 0 before the welcome.
        not_admitted: the server does not let these keys in.
        is_another: the listener is not the server that the keys are for.
        control, bulk, monitors: the sockets; `bulk` is None before the welcome.
        began, heard, pinged: when the link was made, when the server last spoke, and when it was last pinged.
    """

    def __init__(self, context: zmq.Context, host: NameLookup, port: int, keys: ClientKeys | None, now: float) -> None:
        self._context, self.host, self._port = context, host, port
        self.keys, self._used = keys, keys or ClientKeys.nobodys()
        self.reached = self.not_admitted = self.is_another = False
        self._drops, self._failed, self._connected, self._greeted = 0, False, False, False
        self.control = _dealer(context, CONTROL_BYTES + CURVE_BYTES, self._used)
        self.monitors = [self.control.get_monitor_socket(WATCHED)]
        self.bulk: zmq.Socket | None = None
        self.files_reached, self.files_port, self.files_began = False, 0, now
        self.asked: deque[tuple[Tracked, Upload | Download]] = deque()
        self.began = self.heard = self.pinged = now
        self.reach()

    def reach(self) -> None:
        """Connect once the address is known, and say hello. Without keys, connect only on this machine and send
        nothing, just to see whether something is listening."""
        if not self.host.address or (self.keys is None and not is_loopback(self.host.host)):
            return
        if not self._connected:
            self._connected = True
            self.control.connect(f"tcp://{self.host.address}:{self._port}")
        if self.keys is not None and not self._greeted:
            with suppress(zmq.Again):  # already turned away: there is no queue until ZeroMQ tries again
                self.send(Hello(PROTOCOL_VERSION, __version__))
                self._greeted = True

    def open_bulk(self, port: int, session: str, now: float) -> None:
        """Connect to the port for files, as the client to whom the server has given this session secret."""
        self.files_port, self.files_began = port, now
        self.bulk = _dealer(self._context, 2 * CHUNK_BYTES, self._used)
        if session:
            self.bulk.routing_id = session.encode()
        self.monitors.append(self.bulk.get_monitor_socket(WATCHED))
        self.bulk.connect(f"tcp://{self.host.address}:{port}")

    def lost(self) -> bool:
        """Whether the server closed the connection, or its machine stopped answering heartbeats.

        Also updates what is known about the listener.
        """
        lost = False
        for number, monitor in enumerate(self.monitors):
            while monitor.poll(0):
                event = recv_monitor_message(monitor)
                if event["event"] == zmq.EVENT_CONNECTED:
                    self.reached = True
                    self.files_reached |= number == 1
                elif event["event"] == zmq.EVENT_DISCONNECTED:  # after a failed handshake ZeroMQ tries again
                    lost, self._failed = lost or not self._failed, False
                else:
                    self._failed = True
                    self._judge(event["event"], event["value"])
        return lost

    def _judge(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self.not_admitted = True
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self.is_another = True
        elif value not in (errno.EAGAIN, errno.ETIMEDOUT):
            self._drops += 1
            self.is_another = self._drops >= DROPS

    def send(self, *parts: Tagged | memoryview, bulk: bool = False) -> None:
        """Queue a message.

        Raises:
            zmq.Again: the queue is full.
        """
        socket = self.bulk if bulk else self.control
        assert socket is not None
        socket.send_multipart([part if isinstance(part, memoryview) else encode(part) for part in parts], zmq.NOBLOCK)

    def close(self) -> None:
        """Close all sockets; unsent messages are lost."""
        for socket in self.sockets():
            socket.disable_monitor()
            socket.close(0)
        for monitor in self.monitors:
            monitor.close(0)

    def sockets(self) -> list[zmq.Socket]:
        """The sockets that receive messages."""
        return [self.control] if self.bulk is None else [self.control, self.bulk]


def _dealer(context: zmq.Context, frame_bytes: int, keys: ClientKeys) -> zmq.Socket:
    socket = context.socket(zmq.DEALER)
    keys.put_on(socket)
    socket.linger = 0
    socket.maxmsgsize = frame_bytes
    socket.sndhwm = socket.rcvhwm = 1000
    socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 1000
    socket.handshake_ivl = 3000
    socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
    return socket
