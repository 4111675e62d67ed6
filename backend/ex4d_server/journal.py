"""The durable record of jobs: SQLite, written before anything is acknowledged.

queued -> running (attempt n) -> done | failed | cancelled. Final states never change. A job that lost its
worker or its server goes back to queued until its attempts are used up. Every attempt has a lease number
that no other attempt has; what comes under another lease is refused.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ex4d.errors import ServerError
from ex4d.jobs.codec import sentence
from ex4d.jobs.messages import TERMINAL, Event, Result, State
from ex4d.pipeline.requests import Job, canonical, job_hash
from ex4d.plain import from_plain, to_plain

MAX_ATTEMPTS = 2

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, hash TEXT NOT NULL, kind TEXT NOT NULL, spec TEXT NOT NULL,
    state TEXT NOT NULL, attempt INTEGER NOT NULL, lease INTEGER NOT NULL, cancelling INTEGER NOT NULL,
    seq INTEGER NOT NULL, error TEXT NOT NULL, result TEXT, created REAL NOT NULL, updated REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL REFERENCES jobs (id), seq INTEGER NOT NULL, progress INTEGER NOT NULL,
    state TEXT NOT NULL, attempt INTEGER NOT NULL, stage TEXT NOT NULL, step INTEGER NOT NULL,
    steps INTEGER NOT NULL, elapsed REAL NOT NULL, message TEXT NOT NULL, PRIMARY KEY (job, seq)
) STRICT;
"""
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """What the journal holds of one job, its spec aside."""

    id: str
    owner: str
    hash: str
    state: State
    attempt: int
    lease: int
    cancelling: bool
    seq: int
    result: str | None


ROW = "id, owner, hash, state, attempt, lease, cancelling, seq, result"


class Journal:
    """The journal in one file. `changed` collects ids of jobs with new events, for whoever tells clients."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.changed: set[str] = set()
        self._pictures: dict[str, bytes] = {}
        self._clock = clock
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise ServerError(f"The journal {path} is of another EX-4D version: use another state folder.")
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except sqlite3.Error as error:
            raise ServerError(f"The journal {path} cannot be used ({error}): use another state folder.") from error

    def close(self) -> None:
        """Close the file; the journal cannot be used after it."""
        self._db.close()

    def get(self, job_id: str) -> Row | None:
        """The job, if there is one."""
        found = self._db.execute(f"SELECT {ROW} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return Row(*found) if found else None

    def job(self, job_id: str) -> Job:
        """What the job is to do.

        Raises:
            ProtocolError: it was written by a version with other fields.
        """
        spec = self._db.execute("SELECT spec FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
        return from_plain(Job, json.loads(spec), "job")

    def add(self, job_id: str, job: Job, owner: str) -> None:
        """Write down a new job; when this returns, it survives any crash."""
        now, spec = self._clock(), canonical(job)
        with self._durable():
            self._db.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, 'queued', 0, 0, 0, 0, '', NULL, ?, ?)",
                (job_id, owner, job_hash(job), to_plain(job)["kind"], spec, now, now),
            )
            self._event(job_id)

    def next_queued(self) -> str | None:
        """Id of the job that has waited longest."""
        found = self._db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY rowid LIMIT 1").fetchone()
        return found[0] if found else None

    def start(self, job_id: str) -> int:
        """queued -> running under a new lease, which is returned."""
        with self._durable():
            lease = 1 + self._db.execute("SELECT coalesce(max(lease), 0) FROM jobs").fetchone()[0]
            self._set(job_id, ("queued",), "state = 'running', attempt = attempt + 1, lease = ?", lease)
            self._event(job_id)
        return lease

    def progress(self, job_id: str, stage: str, step: int, steps: int, elapsed: float, picture: bytes = b"") -> None:
        """Note a step; only the latest of each stage is kept. Survives the process, perhaps not the power.

        The picture is kept in memory only, the latest of the job.
        """
        if picture:
            self._pictures[job_id] = picture
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.execute("DELETE FROM events WHERE job = ? AND progress = 1 AND stage = ?", (job_id, stage))
            self._event(job_id, stage=stage, step=step, steps=steps, elapsed=elapsed)

    def finish(self, job_id: str, state: str, message: str = "", result: Result | None = None) -> None:
        """queued or running -> done, failed or cancelled."""
        assert state in TERMINAL
        self._pictures.pop(job_id, None)
        text = None if result is None else json.dumps(to_plain(result))
        with self._durable():
            self._set(
                job_id,
                ("queued", "running"),
                "state = ?, error = ?, result = ?",
                state,
                sentence(message),
                text,
            )
            self._event(job_id, message=sentence(message))

    def ask_to_cancel(self, job_id: str) -> None:
        """Queued -> cancelled; of a running job note it, so that a restart does not run it again."""
        row = self.get(job_id)
        if row and row.state == "queued":
            self.finish(job_id, "cancelled")
        elif row and row.state == "running":
            with self._durable():
                self._set(job_id, ("running",), "cancelling = 1")

    def lost(self, job_id: str, message: str) -> None:
        """The attempt is gone: cancelled if that was asked for, else queued again, or failed if it was the last."""
        row = self.get(job_id)
        assert row is not None
        if row.cancelling:
            self.finish(job_id, "cancelled")
        elif row.attempt >= MAX_ATTEMPTS:
            self.finish(job_id, "failed", message)
        else:
            with self._durable():
                self._set(job_id, ("running",), "state = 'queued'")
                self._event(job_id, message=f"{sentence(message)[:1900]} It runs once more.")

    def recover(self) -> None:
        """After a start: whatever was running when the last server ended is lost."""
        for (job_id,) in self._db.execute("SELECT id FROM jobs WHERE state = 'running' ORDER BY rowid").fetchall():
            row = self.get(job_id)
            if row is not None and row.attempt >= MAX_ATTEMPTS:
                message = (
                    "The server or its worker was lost twice while this job ran, so it is not tried again:"
                    " look into logs/worker.log in the server's state folder, then start the job anew."
                )
            else:
                message = "The server was restarted while this job ran."
            self.lost(job_id, message)

    def events(self, job_id: str, since: int) -> list[Event]:
        """Events with a greater number than `since`, oldest first; that of a finished job has its result."""
        rows = self._db.execute(
            "SELECT seq, state, attempt, stage, step, steps, elapsed, message FROM events"
            " WHERE job = ? AND seq > ? ORDER BY seq",
            (job_id, since),
        ).fetchall()
        events = []
        for seq, state, attempt, stage, step, steps, elapsed, message in rows:
            result = self._result(job_id) if state == "done" else None
            events.append(Event(job_id, seq, state, attempt, stage, step, steps, elapsed, message, result))
        if events and events[-1].state == "running" and (picture := self._pictures.get(job_id)):
            events[-1] = replace(events[-1], picture=picture)
        return events

    def _result(self, job_id: str) -> Result:
        text = self._db.execute("SELECT result FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
        return from_plain(Result, json.loads(text), "result")

    def _durable(self) -> sqlite3.Connection:
        """A transaction that is on the disk when it ends."""
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def _set(self, job_id: str, allowed: tuple[str, ...], assignments: str, *values: Any) -> None:
        marks = ", ".join("?" * len(allowed))
        done = self._db.execute(
            f"UPDATE jobs SET {assignments}, updated = ? WHERE id = ? AND state IN ({marks})",
            (*values, self._clock(), job_id, *allowed),
        )
        if done.rowcount != 1:
            raise ServerError(f"Job {job_id} is not {' or '.join(allowed)}: its state cannot change this way.")

    def _event(
        self,
        job_id: str,
        stage: str = "",
        step: int = 0,
        steps: int = 0,
        elapsed: float = 0.0,
        message: str = "",
    ) -> None:
        self._db.execute("UPDATE jobs SET seq = seq + 1 WHERE id = ?", (job_id,))
        self._db.execute(
            "INSERT INTO events SELECT id, seq, ?, state, attempt, ?, ?, ?, ?, ? FROM jobs WHERE id = ?",
            (int(bool(stage)), stage, step, steps, elapsed, message, job_id),
        )
        self.changed.add(job_id)
