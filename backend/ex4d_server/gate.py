"""The gate: who may connect to the server's sockets. It knows CURVE keys, and lets nobody in whom it does not know.

ZeroMQ asks in the process itself (ZAP, RFC 27) before a connection's first message is taken; all sockets of the
server enforce that it is asked. Where nobody answers, nobody gets in.
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
"""Domains: the doors of the gate."""
TICK_MS = 100


class Gate:
    """Answers ZeroMQ in a thread of its own, so that no client waits for the server's loop.

    Args:
        context: the one whose sockets are guarded.
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
        """The key that clients and workers must know to get in."""
        return self._own.public

    def guard(self, socket: zmq.Socket, domain: str, admitted: Callable[[], Collection[str]]) -> None:
        """Let only those through to a socket, which is not bound yet, whose public keys are `admitted` at the time."""
        self._admitted[domain] = admitted
        socket.curve_server = True
        socket.curve_secretkey = self._own.secret.encode()
        socket.zap_domain = domain.encode()
        socket.zap_enforce_domain = True

    def close(self) -> None:
        """Nobody gets in any more."""
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
        """The verdict about one who knocks: frames are version, request, domain, address, identity, mechanism, key."""
        request, key = frames[1], ""
        with suppress(Exception):  # whatever it is, it is no key that is admitted
            if frames[0] == b"1.0" and frames[5] == b"CURVE" and len(frames) == 7:
                asked = z85.encode(frames[6]).decode()
                if asked in self._admitted[frames[2].decode()]():
                    key = asked
        verdict = [b"200", b"OK", key.encode()] if key else [b"400", b"This key is not known here.", b""]
        return [b"1.0", request, *verdict, b""]
