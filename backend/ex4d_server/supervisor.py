"""One worker process, the leases of its attempts, and the clocks that end what does not end by itself.

The supervisor is part of the server's single loop: `receive` when its socket can be read, `tick` often.
"""

import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zmq

from ex4d.errors import EX4DError
from ex4d.jobs.codec import ProtocolError, decode, encode
from ex4d.jobs.messages import Unloaded
from ex4d.plain import Tagged
from ex4d_server.blobs import BlobStore
from ex4d_server.journal import Journal
from ex4d_server.orders import (
    TOKEN_VARIABLE,
    WORKER_MESSAGES,
    Failed,
    Finished,
    Ready,
    Run,
    Step,
    Stop,
    Stopped,
    work_folder,
)

log = logging.getLogger("ex4d.server")

TERM_SECONDS = 2.0
"""Time that a worker has between SIGTERM and SIGKILL."""


@dataclass
class Worker:
    """A worker process. `identity` is its address on the socket once it has shown its token."""

    process: subprocess.Popen
    token: str
    identity: bytes | None = None


@dataclass
class Attempt:
    """The job that the worker has."""

    job_id: str
    lease: int
    sent: bool = False
    stop_at: float | None = None
    kill_at: float | None = None


class Supervisor:
    """Takes queued jobs from the journal, one at a time, and gives them to a worker process.

    Args:
        context: the server's ZeroMQ context.
        state: the state folder.
        journal, blobs: the server's.
        runner: "module:function" that the worker calls for each job.
        cancel_grace: seconds that a job has to stop by itself before its worker is ended.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        context: zmq.Context,
        state: Path,
        journal: Journal,
        blobs: BlobStore,
        *,
        runner: str = "ex4d_server.worker:pipeline",
        cancel_grace: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._journal, self._blobs = state, journal, blobs
        self._runner, self._grace, self._clock = runner, cancel_grace, clock
        self._worker: Worker | None = None
        self._attempt: Attempt | None = None
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = True
        self._port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        shutil.rmtree(state / "work", ignore_errors=True)
        (state / "logs").mkdir(exist_ok=True)
        self._log = state / "logs" / "worker.log"
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".old.log"))

    def tick(self) -> None:
        """Notice a dead worker, run the clocks of a cancel, start the next job."""
        if self._worker and self._worker.process.poll() is not None:
            self._worker_died(self._worker)
        attempt, now = self._attempt, self._clock()
        if attempt and attempt.kill_at is not None and now >= attempt.kill_at:
            self._signal_worker(signal.SIGKILL)
        elif attempt and attempt.kill_at is None and attempt.stop_at is not None and now >= attempt.stop_at:
            self._signal_worker(signal.SIGTERM)
            attempt.kill_at = now + TERM_SECONDS
        if self._attempt is None and (job_id := self._journal.next_queued()) is not None:
            self._start(job_id)

    def cancel(self, job_id: str) -> None:
        """Tell the worker to stop this job, if it has it, and start the clock."""
        attempt = self._attempt
        if attempt and attempt.job_id == job_id and attempt.stop_at is None:
            attempt.stop_at = self._clock() + self._grace
            if attempt.sent:
                self._send(Stop(attempt.lease))

    def receive(self) -> None:
        """Handle one message of the worker; anything from elsewhere or under another lease is refused."""
        frames = self.socket.recv_multipart()
        worker, attempt = self._worker, self._attempt
        try:
            message = decode(frames[-1], WORKER_MESSAGES)
        except ProtocolError as error:
            log.warning("refused a worker message: %s", error)
            return
        if isinstance(message, Ready):
            if worker and worker.identity is None and secrets.compare_digest(message.token, worker.token):
                worker.identity = frames[0]
                self._hand_over()
            else:
                log.warning("refused a worker with a wrong token")
            return
        if worker is None or frames[0] != worker.identity or attempt is None or message.lease != attempt.lease:
            log.warning("refused a %s of an older lease", type(message).__name__)
            return
        self._handle(message, attempt)

    def _handle(self, message: Step | Finished | Failed | Stopped, attempt: Attempt) -> None:
        if isinstance(message, Step):
            self._journal.progress(
                attempt.job_id,
                message.stage,
                message.step,
                message.steps,
                max(message.elapsed, 0.0),
                message.picture,
            )
            return
        if isinstance(message, Finished):
            try:
                for blob in message.result.files:
                    self._blobs.adopt(work_folder(self._state, attempt.lease) / "out" / blob.name, blob)
                self._journal.finish(attempt.job_id, "done", result=message.result)
            except (OSError, EX4DError) as error:
                self._journal.finish(attempt.job_id, "failed", f"The result could not be stored: {error}")
        elif isinstance(message, Stopped) or attempt.stop_at is not None:
            self._journal.finish(attempt.job_id, "cancelled")
        else:
            self._journal.finish(attempt.job_id, "failed", message.message)
        self._end_attempt()

    def unload(self) -> Unloaded:
        """End an idle worker, and with it everything that it holds in memory, on the GPU too."""
        if self._attempt:
            return Unloaded(False, "A job is running: wait for it, or cancel it first.")
        if self._worker is None:
            return Unloaded(False, "Nothing is loaded.")
        self._reap(self._worker)
        self._worker = None
        log.info("the worker was ended to free its memory")
        return Unloaded(True, "The memory is free; models are loaded again when they are needed.")

    def close(self) -> None:
        """End the worker with all it started. A job that it had is found as lost by the next start."""
        if self._worker:
            self._signal_worker(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._worker.process.wait(TERM_SECONDS)
            self._reap(self._worker)
        self.socket.close()

    def _start(self, job_id: str) -> None:
        try:
            self._journal.job(job_id)
        except ProtocolError as error:
            self._journal.finish(job_id, "failed", f"This job was written by another EX-4D version: {error}")
            return
        lease = self._journal.start(job_id)
        log.info("job %s starts under lease %d", job_id, lease)
        self._attempt = Attempt(job_id, lease)
        if self._worker is None:
            self._worker = self._spawn()
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the attempt to the worker as soon as both are there."""
        attempt = self._attempt
        if attempt is None or attempt.sent or self._worker is None or self._worker.identity is None:
            return
        if attempt.stop_at is not None:
            self._journal.finish(attempt.job_id, "cancelled")
            self._end_attempt()
            return
        attempt.sent = True
        self._send(Run(attempt.lease, self._journal.job(attempt.job_id)))

    def _send(self, message: Tagged) -> None:
        worker = self._worker
        assert worker is not None
        assert worker.identity is not None
        try:
            self.socket.send_multipart([worker.identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.warning("the worker cannot be reached (%s)", error)
            self._signal_worker(signal.SIGKILL)

    def _spawn(self) -> Worker:
        token = secrets.token_hex(16)
        with open(self._log, "ab") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ex4d_server.worker", "--connect", f"tcp://127.0.0.1:{self._port}"),
                    *("--state", str(self._state), "--runner", self._runner),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, TOKEN_VARIABLE: token},
                start_new_session=True,
            )
        log.info("worker %d started", process.pid)
        return Worker(process, token)

    def _worker_died(self, worker: Worker) -> None:
        self._reap(worker)
        self._worker = None
        code = worker.process.returncode
        how = f"was ended by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        log.warning("worker %d %s", worker.process.pid, how)
        if self._attempt:
            self._journal.lost(
                self._attempt.job_id,
                f"The worker process {how} while it ran this job: see logs/worker.log in the server's state folder.",
            )
            self._end_attempt()

    def _end_attempt(self) -> None:
        assert self._attempt
        log.info("lease %d ended", self._attempt.lease)
        shutil.rmtree(work_folder(self._state, self._attempt.lease), ignore_errors=True)
        self._attempt = None

    def _signal_worker(self, number: signal.Signals) -> None:
        """Signal the worker's process group, which is its own session."""
        if self._worker:
            with suppress(ProcessLookupError):
                os.killpg(self._worker.process.pid, number)

    def _reap(self, worker: Worker) -> None:
        """Leave nothing of a worker: kill what is left of its group, collect it, close its pipe."""
        self._signal_worker(signal.SIGKILL)
        worker.process.wait()
        assert worker.process.stdin
        worker.process.stdin.close()
