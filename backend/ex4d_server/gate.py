"""The gate: who may connect to the server's sockets. It admits only CURVE keys that it knows.

ZeroMQ asks it inside the process (ZAP, RFC 27) before it accepts a connection's first message, and all sockets of the
server enforce this. If the gate does not answer, nobody gets in.
"""

import logging
import threading
from collections.abc import Callable, Collection
from contextlib import suppress

import zmq
from zmq.utils import z85

from ex4d.jobs.keys import KeyPair

log = logging.getLogger("ex4d.server")

CLIENTS, FILES, WORKERS, LOOKERS = "clients", "files", "workers", "lookers"
"""ZAP domains, one per guarded socket."""
TICK_MS = 100


class Gate:
    """Answers ZeroMQ in its own thread, so that no client waits for the server's loop.

    Args:
        context: the context whose sockets are guarded.
        own: the server's key pair.
    """

    def __init__(self, context: zmq.Context, own: KeyPair) -> None:
        self._own = own
        self._admitted: dict[str, Callable[[], Collection[str]]] = {}
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()

    @property
    def public(self) -> str:
        """The server's public key, which clients and workers must know to connect."""
        return self._own.public

    def guard(self, socket: zmq.Socket, domain: str, admitted: Callable[[], Collection[str]]) -> None:
        """Let only keys in `admitted`, evaluated at each connection, through to a socket that is not bound yet."""
        self._admitted[domain] = admitted
        socket.curve_server = True
        socket.curve_secretkey = self._own.secret.encode()
        socket.zap_domain = domain.encode()
        socket.zap_enforce_domain = True

    def close(self) -> None:
        """Stop answering; nobody gets in any more."""
        self._closing.set()
        self._thread.join()
        self._socket.close(0)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                if self._socket.poll(TICK_MS):
                    self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
            except zmq.ContextTerminated:
                return
            except Exception:
                log.exception("the gate stays closed for one who knocked")

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        """The reply to a ZAP request with frames version, request, domain, address, identity, mechanism and key."""
        request, key = frames[1], ""
        with suppress(Exception):  # whatever it is, it is not an admitted key
            if frames[0] == b"1.0" and frames[5] == b"CURVE" and len(frames) == 7:
                asked = z85.encode(frames[6]).decode()
                if asked in self._admitted[frames[2].decode()]():
                    key = asked
        verdict = [b"200", b"OK", key.encode()] if key else [b"400", b"This key is not known here.", b""]
        return [b"1.0", request, *verdict, b""]
