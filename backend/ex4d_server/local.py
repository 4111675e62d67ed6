"""The executor of one device: its worker process, and the clocks that end what does not end by itself."""

import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zmq

from ex4d.errors import InputError
from ex4d.jobs.codec import ProtocolError, decode, encode
from ex4d.jobs.keys import KeyPair, client_keys
from ex4d.jobs.limits import CONTROL_BYTES, CURVE_BYTES
from ex4d.jobs.messages import Unloaded
from ex4d.pipeline.requests import Job
from ex4d.plain import Tagged
from ex4d_server.devices import PROCESSOR, Device
from ex4d_server.executor import NOTHING_LOADED, AttemptEvent, Deadlines, Lost
from ex4d_server.gate import WORKERS, Gate
from ex4d_server.limited_log import LimitedLog
from ex4d_server.orders import (
    DEVICE_VARIABLE,
    KEYS_VARIABLE,
    NUMBER_VARIABLE,
    RUNS_ON_VARIABLE,
    STATE_VARIABLE,
    TOKEN_VARIABLE,
    WORKER_MESSAGES,
    Beat,
    Ready,
    Run,
    Step,
    Stop,
    Stopped,
    log_name,
    work_folder,
)
from ex4d_server.platform import host, kill_all, processes_with, remove_tree
from ex4d_server.wire import receive

log = logging.getLogger("ex4d.server")

TURN = 20
"""Messages read in one tick."""
QUEUE = 100
"""Messages that one peer of the workers' socket may have waiting."""
SLEPT_SECONDS = 5.0
"""Where two ticks are further apart, it was this process that stood still, and the clocks of others stood with it."""
ORPHAN_SECONDS = 5.0
"""How long to wait for the end of what an earlier server or worker has left."""
KILL_SECONDS = 1.0
"""How long the loop waits for the end of a process that was killed; it mostly takes milliseconds."""


@dataclass
class Attempt:
    """The job that the worker has, and its clocks."""

    lease: int
    job: Job
    stepped: float
    patience: float
    stage: str = ""
    sent: bool = False
    stop_at: float | None = None
    term_at: float | None = None


@dataclass
class Worker:
    """A worker process. `identity` is its address on the socket once it has shown its token."""

    process: subprocess.Popen
    token: str
    keys: KeyPair
    heard: float
    identity: bytes | None = None


class LocalExecutor:
    """One worker process, started when it is needed, kept warm after it, and ended when it was idle for long.

    Args:
        context: the server's ZeroMQ context.
        gate: that of the context; it lets in nobody but the worker.
        state: the state folder, absolute.
        device: what the worker runs on.
        number: of this worker, from 1.
        runner: "module:function" that makes what the worker calls for each job.
        deadlines: how long a worker may be silent.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        context: zmq.Context,
        gate: Gate,
        state: Path,
        device: Device = PROCESSOR,
        number: int = 1,
        *,
        runner: str = "ex4d_server.worker:pipeline",
        deadlines: Deadlines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._runner, self._clock = state, runner, clock
        self._deadlines = deadlines or Deadlines()
        self._gate, self._device = gate, device
        self._admitted: tuple[str, ...] = ()
        self._worker: Worker | None = None
        self._attempt: Attempt | None = None
        self._owner = ""
        self._events: list[AttemptEvent] = []
        self._refusals = LimitedLog(log, clock)
        self._ticked = clock()
        self._dying: list[subprocess.Popen] = []
        self._idle_since = self._ticked
        self._mark = {STATE_VARIABLE: str(state.resolve()), NUMBER_VARIABLE: f"{number} {state.resolve()}"}
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.router_mandatory = True
        self._socket.maxmsgsize = CONTROL_BYTES + CURVE_BYTES
        self._socket.rcvhwm = QUEUE
        self._socket.handshake_ivl = 5000
        gate.guard(self._socket, f"{WORKERS}-{number}", lambda: self._admitted)
        self._port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._log = state / "logs" / log_name(number)
        self._hint = f"see logs/{self._log.name} in the server's state folder."
        with suppress(OSError):
            self._log.parent.mkdir(exist_ok=True)
            if self._log.exists():
                os.replace(self._log, self._log.with_suffix(".old.log"))

    @property
    def sockets(self) -> tuple[zmq.Socket, ...]:
        """See `Executor`."""
        return (self._socket,)

    def has_room(self) -> bool:
        """See `Executor`. A worker that is being killed may hold the GPU until it is gone."""
        self._dying = [process for process in self._dying if process.poll() is None]
        return self._attempt is None and not self._dying

    @property
    def is_running(self) -> bool:
        """Whether the worker process is there, with what it has loaded."""
        return self._worker is not None

    def start(self, lease: int, job: Job, owner: str) -> str:
        """See `Executor`."""
        assert self._attempt is None
        self._owner = owner
        self._attempt = Attempt(lease, job, self._clock(), self._deadlines.whole)
        if self._worker is None:
            try:
                self._worker = self._spawn()
            except (OSError, subprocess.SubprocessError) as error:
                self._lose(f"No worker process could be started ({error}): free some memory, disk or open files.")
                return self._device.title
        self._hand_over()
        return self._device.title

    def cancel(self, lease: int) -> None:
        """See `Executor`."""
        attempt = self._attempt
        if attempt and attempt.lease == lease and attempt.stop_at is None:
            attempt.stop_at = self._clock() + self._deadlines.cancel
            if attempt.sent:
                self._send(Stop(attempt.lease))

    def tick(self) -> list[AttemptEvent]:
        """See `Executor`."""
        self._read()
        if self._worker and self._worker.process.poll() is not None:
            self._worker_died(self._worker)
        self._look_at_clocks()
        events, self._events = self._events, []
        return events

    def folder(self, lease: int) -> Path:
        """See `Executor`."""
        return work_folder(self._state, lease)

    def clean(self, lease: int) -> None:
        """See `Executor`."""
        remove_tree(self.folder(lease))

    def unload(self, owner: str) -> Unloaded:
        """See `Executor`. The worker ends, and with it everything that it holds, on the GPU too."""
        if owner != self._owner:
            return NOTHING_LOADED
        if self._attempt:
            return Unloaded(False, "A job is running: wait for it, or cancel it first.")
        if self._worker is None:
            return NOTHING_LOADED
        self._end_worker(self._worker)
        log.info("the worker was ended to free its memory")
        return Unloaded(True, "The memory is free; models are loaded again when they are needed.")

    def close(self) -> None:
        """See `Executor`."""
        if self._worker:
            host.ask_to_end(self._worker.process)
            with suppress(subprocess.TimeoutExpired):
                self._worker.process.wait(self._deadlines.term)
            self._end_worker(self._worker)
        self._attempt = None
        self._socket.close()

    # -- what the worker says

    def _read(self) -> None:
        for _ in range(TURN):
            try:
                received = receive(self._socket)
            except zmq.Again:
                return
            try:
                if len(received.frames) != 1:
                    raise ProtocolError("A message of a worker has one frame.")
                self._receive(received.peer, decode(received.frames[0].bytes, WORKER_MESSAGES))
            except ProtocolError as error:
                self._refusals.warning("refused a worker message: %s", error)

    def _receive(self, peer: bytes, message: Tagged) -> None:
        """Handle one message; anything from elsewhere or under another lease is refused."""
        worker, attempt = self._worker, self._attempt
        if isinstance(message, Ready | Beat):
            # As bytes: compare_digest takes no text beyond ASCII.
            if worker is None or not secrets.compare_digest(message.token.encode(), worker.token.encode()):
                self._refusals.warning("refused a worker with a wrong token")
                return
            worker.heard = self._clock()
            if isinstance(message, Ready) and worker.identity is None:
                worker.identity = peer
                self._hand_over()
            return
        lease = getattr(message, "lease", None)
        if worker is None or peer != worker.identity or attempt is None or lease != attempt.lease:
            self._refusals.warning("refused a message of an older lease, or of no worker")
            return
        worker.heard = self._clock()
        if isinstance(message, Step):
            self._stepped(attempt, message)
        else:
            self._attempt = None
        self._events.append(message)  # type: ignore[arg-type]  # one of WORKER_MESSAGES

    def _stepped(self, attempt: Attempt, step: Step) -> None:
        """Set the clock for the next step. The last step of a stage is followed by a stage that is not known yet."""
        attempt.stepped, attempt.stage = self._clock(), step.stage
        between = step.steps > 1 and step.step < step.steps
        attempt.patience = self._deadlines.step if between else self._deadlines.whole

    # -- clocks

    def _look_at_clocks(self) -> None:
        now = self._clock()
        slept, self._ticked = now - self._ticked, now
        worker, attempt = self._worker, self._attempt
        if worker and slept > SLEPT_SECONDS:
            worker.heard += slept
            self._idle_since += slept
            if attempt:
                attempt.stepped += slept
        if attempt:
            self._idle_since = now
        if worker is None:
            return
        silent = now - worker.heard
        if silent > self._deadlines.beat:
            self._give_up(worker, f"did not answer for {silent:.0f} s, as if it were stopped, and was ended")
        elif attempt and attempt.term_at is not None:
            if now >= attempt.term_at:
                self._give_up(worker, "did not stop when it was told to and was ended")
        elif attempt and attempt.stop_at is not None:
            if now >= attempt.stop_at:
                host.ask_to_end(worker.process)
                attempt.term_at = now + self._deadlines.term
        elif attempt and now - attempt.stepped > attempt.patience:
            where = f"in the stage {attempt.stage!r}" if attempt.stage else "before its first stage"
            self._give_up(worker, f"made no step for {now - attempt.stepped:.0f} s {where} and was ended")
        elif now - self._idle_since > self._deadlines.idle:
            log.info("worker %d was idle for long and is ended", worker.process.pid)
            self._end_worker(worker)

    def _give_up(self, worker: Worker, why: str) -> None:
        """End a worker that is not worth waiting for; the next attempt gets a new one."""
        log.warning("worker %d %s", worker.process.pid, why)
        self._end_worker(worker)
        if self._attempt:
            self._lose(f"The worker process {why} while it ran this job: {self._hint}")

    # -- the process

    def _spawn(self) -> Worker:
        token, keys = secrets.token_hex(16), KeyPair.new()
        self._admitted = (keys.public,)
        secret = {TOKEN_VARIABLE: token, KEYS_VARIABLE: f"{self._gate.public} {keys.public} {keys.secret}"}
        about = {**self._mark, DEVICE_VARIABLE: self._device.title, RUNS_ON_VARIABLE: self._device.names}
        with host.spare_descriptors(), self._open_log() as output:
            leavings = processes_with(NUMBER_VARIABLE, self._mark[NUMBER_VARIABLE])
            for orphan in kill_all(leavings, ORPHAN_SECONDS):
                raise OSError(f"process {orphan.pid} of an earlier worker cannot be ended")
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ex4d_server.worker", "--connect", f"tcp://127.0.0.1:{self._port}"),
                    *("--state", str(self._state), "--runner", self._runner),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._device.environment, **about, **secret},
                **host.spawn_options,
            )
        log.info("worker %d started on %s", process.pid, self._device.title)
        return Worker(process, token, keys, self._clock())

    def _open_log(self) -> IO[bytes]:
        try:
            self._log.parent.mkdir(exist_ok=True)
            return open(self._log, "ab")
        except OSError as error:
            log.warning("the worker's log cannot be written: %s", error)
            return open(os.devnull, "ab")

    def _hand_over(self) -> None:
        """Give the attempt to the worker as soon as both are there."""
        attempt = self._attempt
        if attempt is None or attempt.sent or self._worker is None or self._worker.identity is None:
            return
        if attempt.stop_at is not None:
            self._events.append(Stopped(attempt.lease))
            self._attempt = None
            return
        attempt.sent = True
        self._send(Run(attempt.lease, attempt.job, proxy=not self._is_of_own_user()))

    def _is_of_own_user(self) -> bool:
        """Whether the job is of a program of the server's own user, which is on this machine."""
        try:
            keys = client_keys(self._state)
        except InputError:  # somebody has changed them; a proxy too many does no harm
            return False
        return keys is not None and keys.own.public == self._owner

    def _send(self, message: Tagged) -> None:
        worker = self._worker
        assert worker is not None
        assert worker.identity is not None
        try:
            self._socket.send_multipart([worker.identity, encode(message)], zmq.NOBLOCK)
        except (zmq.ZMQError, ProtocolError) as error:
            log.warning("the worker cannot be reached (%s)", error)
            host.kill_tree(worker.process)

    def _worker_died(self, worker: Worker) -> None:
        self._read_last_words()
        self._end_worker(worker)
        how = host.how_it_ended(worker.process.returncode)
        log.warning("worker %d %s", worker.process.pid, how)
        if self._attempt:
            self._lose(f"The worker process {how} while it ran this job: {self._hint}")

    def _read_last_words(self) -> None:
        """A result that was sent before the process died counts."""
        for _ in range(QUEUE):
            if not self._socket.poll(0):
                return
            self._read()

    def _lose(self, message: str) -> None:
        assert self._attempt
        self._events.append(Lost(self._attempt.lease, message))
        self._attempt = None

    def _end_worker(self, worker: Worker) -> None:
        """Leave nothing of a worker: kill what is left of its tree, collect it, close its pipe."""
        host.kill_tree(worker.process)
        try:
            worker.process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:  # a driver holds it: no reason for all clients to wait
            log.warning("worker %d was killed but is not gone yet", worker.process.pid)
            self._dying.append(worker.process)
        assert worker.process.stdin
        with suppress(OSError):
            worker.process.stdin.close()
        self._worker = None
