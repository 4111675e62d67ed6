"""Takes jobs from the journal, hands them to an executor, and records their outcome.

The supervisor is part of the server's single loop, which calls `tick` often. If the journal cannot record a fact now,
for example because the disk is full, the fact is kept in memory, in order, and tried again; no job starts meanwhile.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from ex4d.errors import EX4DError, ServerError
from ex4d.jobs.codec import ProtocolError
from ex4d.jobs.messages import Unloaded
from ex4d_server.blobs import BlobStore
from ex4d_server.executor import AttemptEvent, Executor, Lost, PutBack
from ex4d_server.journal import Journal, JournalError
from ex4d_server.limited_log import LimitedLog
from ex4d_server.orders import Failed, Finished, Step, Stopped

log = logging.getLogger("ex4d.server")

RETRY_SECONDS = 1.0
"""Delay before the journal is tried again, and before the next attempt after a lost one."""
STOPPED = "The server was stopped; the job continues when the server is started again."


class Supervisor:
    """Decides which job runs.

    Args:
        journal, blobs: the server's.
        executor: runs the attempts; closed together with the supervisor.
        clock: monotonic seconds.

    Attributes:
        trouble: a sentence that says why the journal cannot be written; empty while it can.
    """

    def __init__(
        self,
        journal: Journal,
        blobs: BlobStore,
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._blobs, self._executor, self._clock = journal, blobs, executor, clock
        self._running: dict[int, str] = {}
        self._to_cancel: set[str] = set()
        self._owed: deque[Callable[[], None]] = deque([journal.recover])
        self._not_before = 0.0
        self.trouble = ""
        self._troubles = LimitedLog(log, clock)

    def tick(self) -> None:
        """Handle events of attempts, record outcomes, and start the jobs that can start."""
        for event in self._executor.tick():
            self._handle(event)
        if self._clock() < self._not_before:
            return
        self._write_down()
        while not self._owed and self._executor.has_room() and self._clock() >= self._not_before:
            if not self._start_next():
                return

    def cancel(self, job_id: str) -> None:
        """Cancel a waiting or running job."""
        self._owed.append(partial(self._journal.ask_to_cancel, job_id))
        self._write_down()
        for lease, running in self._running.items():
            if running == job_id:
                self._to_cancel.add(job_id)
                self._executor.cancel(lease)

    def device(self, job_id: str) -> str:
        """The device a job runs on; empty if the job is not running."""
        return next((self._executor.device(lease) for lease, running in self._running.items() if running == job_id), "")

    def unload(self, owner: str) -> Unloaded:
        """Free the memory of idle workers, see `Executor.unload`."""
        return self._executor.unload(owner)

    def close(self) -> None:
        """End the workers. Running jobs go back to the queue, and their attempts do not count."""
        for event in self._executor.tick():
            self._handle(event)
        for job_id in self._running.values():
            self._owed.append(partial(self._journal.put_back, job_id, STOPPED))
        self._running.clear()
        self._write_down()
        self._executor.close()

    # -- events of attempts

    def _handle(self, event: AttemptEvent) -> None:
        job_id = self._running.get(event.lease)
        if job_id is None:
            return
        if isinstance(event, Step):
            self._note_step(job_id, event)
            return
        del self._running[event.lease]
        fact = self._fact(job_id, event)
        # Before the journal is written, because the job's leftovers may be what fills the disk.
        self._executor.clean(event.lease)
        self._to_cancel.discard(job_id)
        log.info("lease %d ended", event.lease)
        self._owed.append(fact)
        self._write_down()

    def _note_step(self, job_id: str, step: Step) -> None:
        if self._owed:
            return
        elapsed = max(step.elapsed, 0.0)
        try:
            self._journal.progress(job_id, step.stage, step.step, step.steps, elapsed, step.picture)
        except JournalError as error:
            self._troubles.warning("a step is not written down: %s", error)

    def _fact(self, job_id: str, event: Finished | Failed | Stopped | Lost | PutBack) -> Callable[[], None]:
        """The journal update that records the end of an attempt. Stores the files of a finished one."""
        if isinstance(event, Finished):
            try:
                if folder := self._executor.folder(event.lease):
                    for blob in event.result.files:
                        self._blobs.adopt(folder / "out" / blob.name, blob)
                    if (proxy := event.result.proxy) is not None:
                        self._blobs.adopt(folder / "proxy" / proxy.name, proxy)
            except (OSError, EX4DError) as error:
                return partial(self._journal.finish, job_id, "failed", f"The result could not be stored: {error}")
            return partial(self._journal.finish, job_id, "done", result=event.result)
        if isinstance(event, Lost):
            self._not_before = self._clock() + RETRY_SECONDS
            return partial(self._journal.lost, job_id, event.message)
        if isinstance(event, PutBack):
            self._not_before = self._clock() + RETRY_SECONDS
            return partial(self._journal.put_back, job_id, event.message)
        if isinstance(event, Stopped) or job_id in self._to_cancel:
            return partial(self._journal.finish, job_id, "cancelled")
        return partial(self._journal.finish, job_id, "failed", event.message)

    def _write_down(self) -> None:
        """Record the pending facts, as far as the journal can be written now."""
        while self._owed:
            try:
                self._owed[0]()
            except JournalError as error:
                self._blocked(error)
                return
            except Exception as error:  # the job ended some other way, or its row is damaged: carry on with the rest
                self._troubles.warning("not written down: %s", error, exc_info=not isinstance(error, ServerError))
            self._owed.popleft()
            self.trouble = ""

    def _blocked(self, error: JournalError) -> None:
        """Note that the journal cannot be written now, and wait before trying again."""
        self.trouble = str(error)
        self._troubles.warning("nothing starts or ends: %s", error)
        self._not_before = self._clock() + RETRY_SECONDS

    def _start_next(self) -> bool:
        """Start the job whose turn it is; returns False if there is none, or if the journal is unavailable."""
        try:
            job_id = self._journal.next_queued()
            if job_id is None:
                return False
            try:
                job = self._journal.job(job_id)
            except (ProtocolError, ValueError) as error:
                message = f"This job was written by another EX-4D version: {error}"
                self._owed.append(partial(self._journal.finish, job_id, "failed", message))
                self._write_down()
                return True
            row = self._journal.get(job_id)
            assert row is not None
            lease = self._journal.start(job_id)
        except JournalError as error:
            self._blocked(error)
            return False
        self.trouble = ""
        self._running[lease] = job_id
        self._executor.start(lease, job, row.owner)
        where = self._executor.device(lease) or "a worker that is being started"
        log.info("job %s starts under lease %d on %s", job_id, lease, where)
        return True
