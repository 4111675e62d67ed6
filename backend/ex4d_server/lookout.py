"""Clients' looks, handed one at a time to a separate process, so that the server's loop never waits for a picture.

Only the newest look of each client counts, and clients take turns. The process starts with the first look, and ends
when there have been no looks for a while. If it dies or hangs, the current look is lost and the next starts a new one.
"""

import logging
import os
import secrets
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zmq

from ex4d.jobs.codec import ProtocolError, decode, encode
from ex4d.jobs.keys import KeyPair
from ex4d.jobs.limits import CONTROL_BYTES, CURVE_BYTES
from ex4d.jobs.messages import Look, Seen, Unseen
from ex4d_server.gate import LOOKERS, Gate
from ex4d_server.limited_log import LimitedLog
from ex4d_server.orders import KEYS_VARIABLE, LOOKER_MESSAGES, LOOKER_VARIABLE, TOKEN_VARIABLE, Ready
from ex4d_server.platform import host, kill_all, processes_with
from ex4d_server.wire import receive

log = logging.getLogger("ex4d.server")

START_SECONDS, ANSWER_SECONDS = 120.0, 30.0
"""How long the process may be silent before it is ended. A first start compiles; a first look reads a whole shot."""
IDLE_SECONDS = 600.0
RETRY_SECONDS = 2.0
"""Delay before the process is restarted."""
ORPHAN_SECONDS = 5.0


@dataclass
class Process:
    """The process. `identity` is its address on the socket once it has presented its token; `since` is when it last
    started, became ready, got a look or answered one, in monotonic seconds."""

    popen: subprocess.Popen
    token: str
    since: float
    identity: bytes | None = None


class Lookout:
    """Hands looks to the process and returns its answers.

    Args:
        context, gate: the server's.
        state: the state folder, absolute.
        clock: monotonic seconds.
    """

    def __init__(
        self, context: zmq.Context, gate: Gate, state: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gate, self._state, self._clock = gate, state, clock
        self._mark = str(state.resolve())
        kill_all(processes_with(LOOKER_VARIABLE, self._mark), ORPHAN_SECONDS)  # of a server that was killed
        self._admitted: tuple[str, ...] = ()
        self._refusals = LimitedLog(log, clock)
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.router_mandatory = True
        self._socket.maxmsgsize = CONTROL_BYTES + CURVE_BYTES
        self._socket.handshake_ivl = 5000
        gate.guard(self._socket, LOOKERS, lambda: self._admitted)
        self._port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._process: Process | None = None
        self._waiting: OrderedDict[bytes, Look] = OrderedDict()
        self._under_way: tuple[bytes, Look] | None = None
        self._not_before = -RETRY_SECONDS

    @property
    def socket(self) -> zmq.Socket:
        """Socket to poll for input; `tick` reads it."""
        return self._socket

    def ask(self, peer: bytes, look: Look) -> None:
        """Queue a look for a client; it replaces an earlier look of that client that is still waiting."""
        self._waiting[peer] = look  # keeps its place in the turns
        self._hand_over()

    def forget(self, peer: bytes) -> None:
        """Drop the waiting look of a client that is gone."""
        self._waiting.pop(peer, None)

    def tick(self) -> list[tuple[bytes, Seen | Unseen]]:
        """Read incoming messages and check the deadlines; returns answers for clients."""
        answers = self._read()
        answers += self._look_at_process()
        self._hand_over()
        return answers

    def close(self) -> None:
        """End the process."""
        self._end()
        self._socket.close()

    # -- messages from the process

    def _read(self) -> list[tuple[bytes, Seen | Unseen]]:
        answers: list[tuple[bytes, Seen | Unseen]] = []
        while True:
            try:
                received = receive(self._socket)
            except zmq.Again:
                return answers
            try:
                if len(received.frames) != 1:
                    raise ProtocolError("A message of a looker has one frame.")
                message = decode(received.frames[0].bytes, LOOKER_MESSAGES)
            except ProtocolError as error:
                self._refusals.warning("refused a looker's message: %s", error)
                continue
            process = self._process
            if process is None:
                continue
            if isinstance(message, Ready):
                if secrets.compare_digest(message.token.encode(), process.token.encode()):
                    process.identity, process.since = received.peer, self._clock()
            elif received.peer == process.identity and self._under_way is not None:
                peer, look = self._under_way
                if message.number == look.number:
                    self._under_way, process.since = None, self._clock()
                    answers.append((peer, message))

    def _look_at_process(self) -> list[tuple[bytes, Seen | Unseen]]:
        process = self._process
        if process is None:
            return []
        quiet = self._clock() - process.since
        if process.popen.poll() is not None:
            why = host.how_it_ended(process.popen.returncode)
        elif process.identity is None and quiet > START_SECONDS:
            why = f"was not ready after {quiet:.0f} s and was ended"
        elif self._under_way is not None and quiet > ANSWER_SECONDS:
            why = f"gave no answer for {quiet:.0f} s and was ended"
        elif self._under_way is None and not self._waiting and quiet > IDLE_SECONDS:
            self._end()
            return []
        else:
            return []
        log.warning("looker %d %s", process.popen.pid, why)
        self._end()
        self._not_before = self._clock() + RETRY_SECONDS
        lost, self._under_way = self._under_way, None
        if lost is None and self._waiting:  # it never became ready
            lost = self._waiting.popitem(last=False)
        said = f"The server's process for Live Coverage {why}: see logs/looker.log in its state folder."
        return [(lost[0], Unseen(lost[1].number, said))] if lost is not None else []

    # -- the process

    def _hand_over(self) -> None:
        """Give the process the next look if it is idle."""
        if self._under_way is not None or not self._waiting:
            return
        process = self._process
        if process is None:
            if self._clock() >= self._not_before:
                self._start()
            return
        if process.identity is None:
            return
        peer, look = self._waiting.popitem(last=False)
        self._under_way, process.since = (peer, look), self._clock()
        try:
            self._socket.send_multipart([process.identity, encode(look)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.warning("the looker cannot be reached (%s)", error)
            host.kill_tree(process.popen)  # the next tick informs the client

    def _start(self) -> None:
        token, keys = secrets.token_hex(16), KeyPair.new()
        self._admitted = (keys.public,)
        secret = {TOKEN_VARIABLE: token, KEYS_VARIABLE: f"{self._gate.public} {keys.public} {keys.secret}"}
        try:
            with host.spare_descriptors(), self._open_log() as output:
                popen = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "ex4d_server.looker"),
                        *("--connect", f"tcp://127.0.0.1:{self._port}", "--state", str(self._state)),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **secret, LOOKER_VARIABLE: self._mark},
                    **host.spawn_options,
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._refusals.warning("no looker could be started: %s", error)
            self._not_before = self._clock() + RETRY_SECONDS
            return
        log.info("looker %d started", popen.pid)
        self._process = Process(popen, token, self._clock())

    def _open_log(self) -> IO[bytes]:
        path = self._state / "logs" / "looker.log"
        try:
            path.parent.mkdir(exist_ok=True)
            return open(path, "wb")
        except OSError as error:
            log.warning("the looker's log cannot be written: %s", error)
            return open(os.devnull, "wb")

    def _end(self) -> None:
        process, self._process, self._admitted = self._process, None, ()
        if process is None:
            return
        host.kill_tree(process.popen)
        with suppress(subprocess.TimeoutExpired):
            process.popen.wait(1.0)
        assert process.popen.stdin
        with suppress(OSError):
            process.popen.stdin.close()
