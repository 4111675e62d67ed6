"""The executor of one worker, on any machine: its messages, and the deadlines that end what does not end on its own."""

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import zmq

from ex4d.errors import InputError
from ex4d.jobs.codec import ProtocolError, decode, encode
from ex4d.jobs.limits import CONTROL_BYTES, CURVE_BYTES, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
from ex4d.jobs.messages import Unloaded
from ex4d.pipeline.requests import Job
from ex4d.plain import Tagged
from ex4d_server.executor import NOTHING_LOADED, AttemptEvent, Deadlines, Lost, PutBack
from ex4d_server.gate import WORKERS, Gate
from ex4d_server.launcher import LOOPBACK, Door, Launched, Launcher
from ex4d_server.lent_files import LentFiles
from ex4d_server.limited_log import LimitedLog
from ex4d_server.orders import (
    AGAIN_SECONDS,
    BEAT_SECONDS,
    WORKER_MESSAGES,
    Beat,
    Bring,
    Failed,
    Finished,
    Made,
    Noted,
    Ready,
    Run,
    Step,
    Stop,
    Stopped,
    Taken,
)
from ex4d_server.wire import receive
from ex4d_server.worker_process import Whom, new_token

log = logging.getLogger("ex4d.server")

TURN = 20
"""Messages read per tick."""
QUEUE = 100
"""Messages that may be queued per peer of the workers' socket."""
SLEPT_SECONDS = 5.0
"""If two ticks are further apart than this, this process was suspended, and every deadline is extended by the gap."""


@dataclass
class Attempt:
    """The worker's current job, its deadlines, and the session by which its files are transferred.

    It is `sent` as soon as the worker is there, and `taken` from the worker's first message about it.
    """

    lease: int
    job: Job
    stepped: float
    patience: float
    stage: str = ""
    sent: bool = False
    sent_at: float = 0.0
    taken: bool = False
    stop_at: float | None = None
    term_at: float | None = None
    session: str = ""


@dataclass
class Worker:
    """A worker process. `identity` is its address on the socket once it has presented its token.

    `unsent` holds messages while it reconnects.
    """

    process: Launched
    token: str
    asked: float
    heard: float
    identity: bytes | None = None
    unsent: deque[bytes] = field(default_factory=deque)


class WorkerExecutor:
    """One worker process, started when it is needed, kept warm afterwards, and ended after being idle for long.

    Args:
        context: the server's ZeroMQ context.
        gate: the context's gate; admits only the worker.
        launcher: starts the process.
        number: this worker's number, from 1.
        door: where it connects.
        files: transfers the files of attempts if the worker does not see this machine's disk; None if it does.
        wants_proxy: whether the owner of a job also gets a proxy of its result, see `orders.proxy_of`.
        deadlines: how long a worker may be silent, in seconds.
        clock: monotonic seconds.

    Raises:
        InputError: the door's port is in use.
    """

    def __init__(
        self,
        context: zmq.Context,
        gate: Gate,
        launcher: Launcher,
        number: int = 1,
        *,
        door: Door = LOOPBACK,
        files: LentFiles | None = None,
        wants_proxy: Callable[[str], bool] = lambda owner: False,
        deadlines: Deadlines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launcher, self._files, self._clock = launcher, files, clock
        self._wants_proxy = wants_proxy
        self._deadlines = deadlines or Deadlines()
        self._key = gate.public
        self._worker: Worker | None = None
        self._attempt: Attempt | None = None
        self._owner = ""
        self._events: list[AttemptEvent] = []
        self._refusals = LimitedLog(log, clock)
        self._ticked = clock()
        self._dying: list[Launched] = []
        self._idle_since = self._ticked
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.router_mandatory = True
        self._socket.maxmsgsize = CONTROL_BYTES + CURVE_BYTES
        self._socket.rcvhwm = QUEUE
        self._socket.handshake_ivl = 5000
        # A worker that reconnects returns under its old identity; the gate admits nobody else.
        self._socket.router_handover = True
        if files:
            self._socket.heartbeat_ivl, self._socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
        gate.guard(self._socket, f"{WORKERS}-{number}", self._admitted)
        try:
            self._socket.bind(f"tcp://{door.ip}:{door.port or '*'}")
        except zmq.ZMQError as error:
            self._socket.close()
            raise InputError(
                f"The server cannot listen on port {door.port} for worker {number} ({error.strerror}): stop the"
                " program that uses it, or choose another port for files; workers use the ports after that."
            ) from error
        port = self._socket.last_endpoint.decode().rsplit(":", 1)[1]
        self._address = f"tcp://{door.reached_at}:{port}"

    def _admitted(self) -> tuple[str, ...]:
        """The keys that the gate admits: only the worker's."""
        worker = self._worker
        return (worker.process.public,) if worker and worker.process.public else ()

    @property
    def sockets(self) -> tuple[zmq.Socket, ...]:
        """See `Executor`."""
        return (self._socket,)

    def has_room(self) -> bool:
        """See `Executor`. A worker being killed may occupy the GPU until it is gone."""
        self._dying = [process for process in self._dying if process.poll() is None]
        is_free = self._attempt is None and not self._dying
        return is_free and (self._worker is not None or self._launcher.can_launch())

    @property
    def is_running(self) -> bool:
        """Whether the worker process is running, with the models it has loaded."""
        return self._worker is not None

    @property
    def device(self) -> str:
        """What the worker runs on; empty if there is no worker, or it has no machine yet."""
        return self._worker.process.device if self._worker else ""

    def start(self, lease: int, job: Job, owner: str) -> None:
        """See `Executor`."""
        assert self._attempt is None
        self._owner = owner
        now = self._clock()
        self._attempt = Attempt(lease, job, now, self._deadlines.whole)
        if self._worker is None:
            token = new_token()
            try:
                process = self._launcher.launch(Whom(self._address, self._key, token))
            except OSError as error:
                self._lose(f"No worker process could be started ({error}): free some memory, disk or open files.")
                return
            self._worker = Worker(process, token, now, now)
        self._hand_over()

    def cancel(self, lease: int) -> None:
        """See `Executor`."""
        attempt = self._attempt
        if attempt and attempt.lease == lease and attempt.stop_at is None:
            attempt.stop_at = self._clock() + self._deadlines.cancel
            if attempt.sent:
                self._send_stop(attempt)

    def tick(self) -> list[AttemptEvent]:
        """See `Executor`."""
        self._read()
        self._send_what_waits()
        self._send_again()
        if self._worker and (how := self._worker.process.poll()):
            self._worker_died(self._worker, how)
        self._look_at_clocks()
        events, self._events = self._events, []
        return events

    def unload(self, owner: str) -> Unloaded:
        """See `Executor`. Ending the worker frees everything it holds, on the GPU too."""
        if owner != self._owner:
            return NOTHING_LOADED
        if self._attempt:
            return Unloaded(False, "A job is running: wait for it, or cancel it first.")
        if self._worker is None:
            return NOTHING_LOADED
        self._end_worker(self._worker)
        log.info("the worker was ended to free its memory")
        return Unloaded(True, "The memory has been freed; models are loaded again when they are needed.")

    def close(self) -> None:
        """See `Executor`."""
        if self._worker:
            self._worker.process.ask_to_end()
            end = time.monotonic() + self._deadlines.term
            while self._worker.process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            self._end_worker(self._worker)
        self._finish_attempt()
        self._socket.close()

    # -- messages from the worker

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
        """Handle one message; anything from elsewhere or under another lease is rejected."""
        worker, attempt = self._worker, self._attempt
        if isinstance(message, Ready | Beat):
            # As bytes: compare_digest does not accept non-ASCII text.
            if worker is None or not secrets.compare_digest(message.token.encode(), worker.token.encode()):
                self._refusals.warning("refused a worker with a wrong token")
                return
            worker.heard = self._clock()
            if isinstance(message, Ready) and worker.identity is None:
                worker.identity = peer
                self._hand_over()
            return
        lease = getattr(message, "lease", None)
        if worker is None or peer != worker.identity:
            self._refusals.warning("refused a message of no worker")
            return
        worker.heard = self._clock()
        if isinstance(message, Finished | Failed | Stopped):
            self._send(Noted(message.lease))
            if attempt is None or message.lease != attempt.lease:  # a repeated ending
                return
        if attempt is None or lease != attempt.lease:
            self._refusals.warning("refused a message of an older lease")
            return
        attempt.taken = True
        if isinstance(message, Taken):
            return
        if isinstance(message, Made):
            self._expect(attempt, message)
            return
        if isinstance(message, Step):
            self._stepped(attempt, message)
        else:
            if isinstance(message, Finished) and self._files and not self._files.are_here(attempt.session, message):
                message = Failed(attempt.lease, "The worker did not send all files of the result: run the job again.")
            self._finish_attempt()
        self._events.append(message)  # type: ignore[arg-type]  # one of WORKER_MESSAGES

    def _expect(self, attempt: Attempt, made: Made) -> None:
        """Let a worker that does not see this machine's disk send its results."""
        if self._files is None:
            self._refusals.warning("refused files that a worker of this machine wants to send")
            return
        self._send(Bring(attempt.lease, self._files.expect(attempt.session, made)))

    def _stepped(self, attempt: Attempt, step: Step) -> None:
        """Set the deadline for the next step. After the last step of a stage, an unknown stage follows."""
        attempt.stepped, attempt.stage = self._clock(), step.stage
        between = step.steps > 1 and step.step < step.steps
        attempt.patience = self._deadlines.step if between else self._deadlines.whole

    # -- deadlines

    def _look_at_clocks(self) -> None:
        now = self._clock()
        slept, self._ticked = now - self._ticked, now
        worker, attempt = self._worker, self._attempt
        if worker and slept > SLEPT_SECONDS:
            worker.heard += slept
            worker.asked += slept
            self._idle_since += slept
            if attempt:
                attempt.stepped += slept
        if attempt:
            self._idle_since = now
        if worker is None:
            return
        if worker.process.waits:
            worker.heard = now
            if attempt:
                attempt.stepped = now
                self._look_for_place(worker, attempt, now)
            return
        silent = now - worker.heard
        if silent > self._deadlines.beat:
            self._give_up(worker, f"did not answer for {silent:.0f} s, as if it were stopped, and was ended")
        elif attempt and attempt.term_at is not None:
            if now >= attempt.term_at:
                self._give_up(worker, "did not stop when it was told to and was ended")
        elif attempt and attempt.stop_at is not None:
            if now >= attempt.stop_at:
                worker.process.ask_to_end()
                attempt.term_at = now + self._deadlines.term
        elif attempt and now - attempt.stepped > attempt.patience:
            where = f"in the stage {attempt.stage!r}" if attempt.stage else "before its first stage"
            self._give_up(worker, f"made no step for {now - attempt.stepped:.0f} s {where} and was ended")
        elif now - self._idle_since > self._deadlines.idle:
            log.info("%s was idle for long and is ended", worker.process.name)
            self._end_worker(worker)

    def _look_for_place(self, worker: Worker, attempt: Attempt, now: float) -> None:
        """Return a job to the queue instead of waiting forever for a machine that others may have taken."""
        if attempt.stop_at is not None:
            self._events.append(Stopped(attempt.lease))
        elif not worker.process.has_machine and now - worker.asked > self._deadlines.place:
            self._events.append(PutBack(attempt.lease, "No machine of the cluster was free: the job is waiting again."))
        else:
            return
        self._end_worker(worker)
        self._finish_attempt()

    def _give_up(self, worker: Worker, why: str) -> None:
        """End a worker that is not worth waiting for; the next attempt starts a new one."""
        log.warning("%s %s", worker.process.name, why)
        self._end_worker(worker)
        if self._attempt:
            self._lose(f"The worker process {why} while it ran this job: see {worker.process.log_said}.")

    # -- the process

    def _hand_over(self) -> None:
        """Give the attempt to the worker as soon as both exist."""
        attempt, worker = self._attempt, self._worker
        if attempt is None or attempt.sent or worker is None or worker.identity is None:
            return
        if attempt.stop_at is not None:
            self._events.append(Stopped(attempt.lease))
            self._finish_attempt()
            return
        attempt.sent = True
        if self._files is not None:
            attempt.session = self._files.open(worker.process.public, attempt.job)
        self._send_job(attempt)

    def _send_job(self, attempt: Attempt) -> None:
        attempt.sent_at = self._clock()
        port = self._files.port if self._files is not None else 0
        self._send(Run(attempt.lease, attempt.job, self._wants_proxy(self._owner), port, attempt.session))

    def _send_again(self) -> None:
        """Repeat the job until the worker has it, and the order to stop, in case they were lost with a connection."""
        worker, attempt = self._worker, self._attempt
        if worker is None or attempt is None or not attempt.sent or worker.unsent:
            return
        since = self._clock() - attempt.sent_at
        if attempt.stop_at is not None and since > BEAT_SECONDS:
            self._send_stop(attempt)
        elif attempt.stop_at is None and not attempt.taken and since > AGAIN_SECONDS:
            self._send_job(attempt)

    def _send_stop(self, attempt: Attempt) -> None:
        attempt.sent_at = self._clock()
        self._send(Stop(attempt.lease))

    def _send(self, message: Tagged) -> None:
        worker = self._worker
        assert worker is not None
        assert worker.identity is not None
        try:
            worker.unsent.append(encode(message))
        except ProtocolError as error:
            log.warning("the worker cannot be told (%s)", error)
            worker.process.kill()
        self._send_what_waits()

    def _send_what_waits(self) -> None:
        """Send what is queued as soon as there is a connection; if none is made, the deadlines end the worker."""
        worker = self._worker
        while worker and worker.unsent:
            try:
                self._socket.send_multipart([worker.identity, worker.unsent[0]], zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            worker.unsent.popleft()

    def _worker_died(self, worker: Worker, how: str) -> None:
        self._read_last_words()
        self._end_worker(worker)
        log.warning("%s %s", worker.process.name, how)
        if self._attempt and not worker.process.has_begun:
            why = f"The job is waiting again: {worker.process.name} {how}."
            self._events.append(PutBack(self._attempt.lease, why))
            self._finish_attempt()
        elif self._attempt:
            self._lose(f"The worker process {how} while it ran this job: see {worker.process.log_said}.")

    def _read_last_words(self) -> None:
        """Read what the worker sent before it died: a result among it counts."""
        for _ in range(QUEUE):
            if not self._socket.poll(0):
                return
            self._read()

    def _lose(self, message: str) -> None:
        assert self._attempt
        self._events.append(Lost(self._attempt.lease, message))
        self._finish_attempt()

    def _finish_attempt(self) -> None:
        """End the attempt, and with it all transfers of its files."""
        if self._files and self._attempt and self._attempt.session:
            self._files.close(self._attempt.session)
        self._attempt = None

    def _end_worker(self, worker: Worker) -> None:
        with suppress(OSError):
            worker.process.kill()
        self._worker = None
        if worker.process.poll() is None:
            self._dying.append(worker.process)
