"""The durable record of jobs: SQLite, written before anything is acknowledged.

queued -> running (attempt n) -> done | failed | cancelled. Final states never change. A job that lost its
worker or its server goes back to queued until its attempts are used up; if its server was told to stop, it goes
back without using one up. Every attempt has a unique lease number; messages that carry another lease are refused.

A failed write raises `JournalError` and changes nothing, so the caller can repeat it later.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ex4d.errors import ServerError
from ex4d.jobs.codec import sentence
from ex4d.jobs.messages import DONE_TOLD, TERMINAL, Event, Load, QueueEntry, Result, State
from ex4d.pipeline.requests import Job, blobs_of, canonical, job_hash
from ex4d.plain import from_plain, to_plain
from ex4d_server.disk import Reserve
from ex4d_server.turns import Leases, Waiting, in_turn

T = TypeVar("T")

MAX_ATTEMPTS = 2
EVENTS_AT_ONCE = 200
DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""SQLITE_IOERR is what SQLite reports for an exceeded disk quota or file size limit."""
BUSY_SECONDS = 0.2
"""How long a call may wait for another process that has the file locked; all clients wait meanwhile."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, hash TEXT NOT NULL, kind TEXT NOT NULL, spec TEXT NOT NULL,
    state TEXT NOT NULL, attempt INTEGER NOT NULL, lease INTEGER NOT NULL, cancelling INTEGER NOT NULL,
    seq INTEGER NOT NULL, error TEXT NOT NULL, result TEXT, created REAL NOT NULL, updated REAL NOT NULL,
    turn TEXT NOT NULL DEFAULT '', file TEXT NOT NULL DEFAULT '', shot TEXT NOT NULL DEFAULT '',
    front INTEGER NOT NULL DEFAULT 0, urgent INTEGER NOT NULL DEFAULT 0, fetched INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE INDEX IF NOT EXISTS jobs_by_turn ON jobs (owner, turn, lease);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL REFERENCES jobs (id), seq INTEGER NOT NULL, progress INTEGER NOT NULL,
    state TEXT NOT NULL, attempt INTEGER NOT NULL, stage TEXT NOT NULL, step INTEGER NOT NULL,
    steps INTEGER NOT NULL, elapsed REAL NOT NULL, message TEXT NOT NULL, PRIMARY KEY (job, seq)
) STRICT;
CREATE TABLE IF NOT EXISTS owned (
    owner TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (owner, sha256)
) STRICT, WITHOUT ROWID;
"""
SCHEMA_VERSION = 3
FROM_1 = """
BEGIN;
ALTER TABLE jobs ADD COLUMN turn TEXT NOT NULL DEFAULT '';
DROP INDEX IF EXISTS jobs_by_owner;
PRAGMA user_version = 2;
COMMIT;
"""
"""In version 1, owners were connections, which no longer exist: nobody can follow such a job any more."""
FROM_2 = """
BEGIN;
ALTER TABLE jobs ADD COLUMN file TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN shot TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN front INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET fetched = 1;
PRAGMA user_version = 3;
COMMIT;
"""
"""Version 2 did not record whether results were fetched; most were."""


@dataclass(frozen=True)
class Row:
    """A job's row in the journal, without its spec."""

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


class JournalError(ServerError):
    """The journal cannot be read or written now: the disk is full or faulty, or another process has the file locked."""


class Journal:
    """The journal in a single file, which no other process can lock or change while it is open.

    Args:
        path: the file; created if it is missing.
        clock: seconds since the epoch.
        reserve: space to release when the disk is full; None for a journal without a reserve.

    Attributes:
        changed: ids of jobs with events that have not been sent to clients yet.

    Raises:
        ServerError: the file is of another version, is not a journal, or is locked by another process.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, reserve: Reserve | None = None) -> None:
        self.changed: set[str] = set()
        self._pictures: dict[str, bytes] = {}
        self._path, self._clock, self._reserve = path, clock, reserve
        self._in_use: dict[str, frozenset[str]] = {}
        self._in_use_lock = threading.Lock()
        try:
            try:
                self._db = self._open()
            except sqlite3.Error as error:
                if _code(error) not in DISK_ERRORS or not (reserve and reserve.free()):
                    raise
                self._db = self._open()
            for job_id, spec in self._db.execute("SELECT id, spec FROM jobs WHERE state IN ('queued', 'running')"):
                self._in_use[job_id] = frozenset(files_in(spec))
        except sqlite3.Error as error:
            raise ServerError(f"The journal {path} cannot be used. {_reason(error)}") from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_SECONDS)
        try:
            # Exclusive: nobody else can lock the file while this process runs, and there is no shared memory. If the
            # disk is full, touching a page of shared memory for the first time kills the process with SIGBUS.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in range(SCHEMA_VERSION + 1):
                raise ServerError(f"The journal {self._path} is of another EX-4D version: use another state folder.")
            if version == 1:
                db.executescript(FROM_1)
            if version in (1, 2):
                db.executescript(FROM_2)
            db.executescript(SCHEMA)
            if version != SCHEMA_VERSION:  # if it is unchanged, do not write: the disk may be full
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        self._db.close()

    def get(self, job_id: str) -> Row | None:
        """A job's row; None if there is no such job."""
        found = self._read(f"SELECT {ROW} FROM jobs WHERE id = ?", job_id)
        return Row(*found[0]) if found else None

    def job(self, job_id: str) -> Job:
        """The job itself.

        Raises:
            ProtocolError: it was written by a version with different fields.
        """
        spec = self._read("SELECT spec FROM jobs WHERE id = ?", job_id)[0][0]
        return from_plain(Job, json.loads(spec), "job")

    def add(self, job_id: str, job: Job, owner: str, turn: str = "", file: str = "", shot: str = "") -> None:
        """Record a new job; once this returns, the job survives any crash.

        Args:
            job_id, job: as submitted.
            owner: the key that owns the job and its files, see `owns`.
            turn: which connection of this owner; owners, and the connections of one owner, take turns, see `in_turn`.
            file, shot: what the job is for, see `ex4d.jobs.messages.Submit`.
        """
        now, spec = self._clock(), canonical(job)
        files = frozenset(blob.sha256 for blob in blobs_of(job))

        def change() -> None:
            self._db.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, 'queued', 0, 0, 0, 0, '', NULL, ?, ?, ?, ?, ?, 0, 0, 0)",
                (job_id, owner, job_hash(job), to_plain(job)["kind"], spec, now, now, turn, file, shot),
            )
            self._db.executemany("INSERT OR IGNORE INTO owned VALUES (?, ?)", [(owner, sha256) for sha256 in files])
            self._event(job_id)

        self._write(change)
        with self._in_use_lock:
            self._in_use[job_id] = files

    def owns(self, owner: str, sha256: str) -> bool:
        """Whether a file belongs to a job of this owner, who therefore has sent or made its content."""
        return bool(self._read("SELECT 1 FROM owned WHERE owner = ? AND sha256 = ?", owner, sha256))

    def files_in_use(self) -> set[str]:
        """Hashes of all files that queued and running jobs read. Thread-safe."""
        with self._in_use_lock:
            return {sha256 for files in self._in_use.values() for sha256 in files}

    def next_queued(self) -> str | None:
        """Id of the job whose turn it is, see `in_turn`; None if no job is queued."""
        return next((job_id for job_id, _ in self.in_turn(1)), None)

    def in_turn(self, most: int) -> list[tuple[str, str]]:
        """Ids and owners of up to `most` jobs, in the order in which they will start if no more are submitted.

        See `ex4d_server.turns.in_turn`.
        """
        query = "SELECT rowid, id, kind, owner, turn, front, urgent FROM jobs WHERE state = 'queued'"
        waiting = [Waiting(*row) for row in self._read(query)]
        last: Leases = {}
        for owner, turn in {(job.owner, job.turn) for job in waiting}:
            last[owner, turn] = self._last_lease("owner = ? AND turn = ?", owner, turn)
            last[owner,] = self._last_lease("owner = ?", owner)
        return [(job.id, job.owner) for job in in_turn(waiting, last, most)]

    def _last_lease(self, whose: str, *values: str) -> int:
        return self._read(f"SELECT coalesce(max(lease), 0) FROM jobs WHERE {whose}", *values)[0][0]

    def put_first(self, job_id: str, of_all: bool) -> None:
        """Make a waiting job the next of its owner, or of all jobs; jobs that were put first earlier come after it.

        Raises:
            ServerError: the job is not waiting.
        """
        column = "urgent" if of_all else "front"
        self._write(
            lambda: self._set(
                job_id, ("queued",), f"{column} = 1 + (SELECT max({column}) FROM jobs WHERE state = 'queued')"
            )
        )

    def note_fetched(self, job_id: str) -> None:
        """Note that the result of a job has been fetched, or is not wanted."""
        self._write(lambda: self._db.execute("UPDATE jobs SET fetched = 1 WHERE id = ?", (job_id,)))

    def not_fetched(self, owner: str) -> list[str]:
        """Ids of this owner's finished takes that have not been fetched, the latest first."""
        query = (
            "SELECT id FROM jobs WHERE owner = ? AND state = 'done' AND fetched = 0 AND kind IN ('generate', 'fill')"
            f" ORDER BY updated DESC LIMIT {DONE_TOLD}"
        )
        return [job_id for (job_id,) in self._read(query, owner)]

    def unfinished(self) -> bool:
        """Whether any job is waiting or running."""
        return bool(self._read("SELECT 1 FROM jobs WHERE state IN ('queued', 'running') LIMIT 1"))

    def waits_for(self, owner: str) -> bool:
        """Whether a job of this owner is waiting."""
        return bool(self._read("SELECT 1 FROM jobs WHERE state = 'queued' AND owner = ? LIMIT 1", owner))

    def running(self) -> list[str]:
        """Ids of the running jobs, the one that started first in front."""
        return [job_id for (job_id,) in self._read("SELECT id FROM jobs WHERE state = 'running' ORDER BY lease")]

    def entry(self, job_id: str) -> tuple[str, QueueEntry]:
        """The owner of a job, and its queue entry as the owner sees it, with client and device left empty."""
        owner, kind, file, shot = self._read("SELECT owner, kind, file, shot FROM jobs WHERE id = ?", job_id)[0]
        query = "SELECT stage, step, steps FROM events WHERE job = ? ORDER BY seq DESC LIMIT 1"
        stage, step, steps = self._read(query, job_id)[0]
        return owner, QueueEntry("", kind, "", stage, step, steps, job_id, True, file, shot)

    def load(self) -> Load:
        """How many jobs are running and waiting."""
        counted = "SELECT state, count(*) FROM jobs WHERE state IN ('queued', 'running') GROUP BY state"
        counts = dict(self._read(counted))
        return Load(counts.get("running", 0), counts.get("queued", 0))

    def start(self, job_id: str) -> int:
        """queued -> running; returns the new lease."""

        def change() -> int:
            lease = 1 + self._db.execute("SELECT coalesce(max(lease), 0) FROM jobs").fetchone()[0]
            self._set(job_id, ("queued",), "state = 'running', attempt = attempt + 1, lease = ?", lease)
            self._event(job_id)
            return lease

        return self._write(change)

    def progress(self, job_id: str, stage: str, step: int, steps: int, elapsed: float, picture: bytes = b"") -> None:
        """Record a step; only the latest of each stage is kept. It survives a crash, but maybe not a power failure.

        Only the job's latest picture is kept, in memory. A step does not use up the reserve: if the disk is full, it
        is skipped.
        """
        if picture:
            self._pictures[job_id] = picture

        def change() -> None:
            self._db.execute("DELETE FROM events WHERE job = ? AND progress = 1 AND stage = ?", (job_id, stage))
            self._event(job_id, stage=stage, step=step, steps=steps, elapsed=elapsed)

        self._write(change, durable=False)

    def finish(self, job_id: str, state: str, message: str = "", result: Result | None = None) -> None:
        """queued or running -> done, failed or cancelled."""
        assert state in TERMINAL
        text = None if result is None else json.dumps(to_plain(result))

        def change() -> None:
            self._set(
                job_id,
                ("queued", "running"),
                "state = ?, error = ?, result = ?",
                state,
                sentence(message),
                text,
            )
            self._event(job_id, message=sentence(message))
            for blob in () if result is None else result.all_files:
                self._db.execute(
                    "INSERT OR IGNORE INTO owned SELECT owner, ? FROM jobs WHERE id = ?", (blob.sha256, job_id)
                )

        self._write(change)
        self._pictures.pop(job_id, None)
        with self._in_use_lock:
            self._in_use.pop(job_id, None)

    def ask_to_cancel(self, job_id: str) -> None:
        """queued -> cancelled; for a running job, record the request so that a restart does not run it again."""
        row = self.get(job_id)
        if row and row.state == "queued":
            self.finish(job_id, "cancelled")
        elif row and row.state == "running":
            self._write(lambda: self._set(job_id, ("running",), "cancelling = 1"))

    def lost(self, job_id: str, message: str) -> None:
        """Record a lost attempt: cancelled if that was requested, otherwise queued again, or failed after the last."""
        row = self.get(job_id)
        assert row is not None
        if row.cancelling:
            self.finish(job_id, "cancelled")
        elif row.attempt >= MAX_ATTEMPTS:
            self.finish(job_id, "failed", message)
        else:
            self._requeue(job_id, row.attempt, f"{sentence(message)[:1900]} It runs once more.")

    def put_back(self, job_id: str, message: str) -> None:
        """Return a job to the queue without counting the attempt, which ended for reasons unrelated to the job."""
        row = self.get(job_id)
        assert row is not None
        if row.cancelling:
            self.finish(job_id, "cancelled")
        else:
            self._requeue(job_id, row.attempt - 1, message)

    def _requeue(self, job_id: str, attempt: int, message: str) -> None:
        def change() -> None:
            self._set(job_id, ("running",), "state = 'queued', attempt = ?", attempt)
            self._event(job_id, message=message)

        self._write(change)
        self._pictures.pop(job_id, None)

    def recover(self) -> None:
        """Call after a start: attempts that were running when the last server ended are lost."""
        for (job_id,) in self._read("SELECT id FROM jobs WHERE state = 'running' ORDER BY rowid"):
            row = self.get(job_id)
            if row is not None and row.attempt >= MAX_ATTEMPTS:
                message = (
                    "The server or its worker was lost twice while this job ran, so it is not tried again: look"
                    " into the workers' logs, in the server's state folder, then start the job again."
                )
            else:
                message = "The server was restarted while this job ran."
            self.lost(job_id, message)

    def events(self, job_id: str, since: int) -> list[Event]:
        """Events numbered above `since`, oldest first, at most `EVENTS_AT_ONCE`; a final one carries the result."""
        rows = self._read(
            "SELECT seq, state, attempt, stage, step, steps, elapsed, message FROM events"
            f" WHERE job = ? AND seq > ? ORDER BY seq LIMIT {EVENTS_AT_ONCE}",
            job_id,
            since,
        )
        events = []
        for seq, state, attempt, stage, step, steps, elapsed, message in rows:
            result = self.result(job_id) if state == "done" else None
            events.append(Event(job_id, seq, state, attempt, stage, step, steps, elapsed, message, result))
        is_latest = 0 < len(events) < EVENTS_AT_ONCE
        if is_latest and events[-1].state == "running" and (picture := self._pictures.get(job_id)):
            events[-1] = replace(events[-1], picture=picture)
        return events

    def result(self, job_id: str) -> Result:
        """The result of a job that is done."""
        text = self._read("SELECT result FROM jobs WHERE id = ?", job_id)[0][0]
        return from_plain(Result, json.loads(text), "result")

    def _read(self, query: str, *values: Any) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(_reason(error)) from error

    def _write(self, change: Callable[[], T], *, durable: bool = True) -> T:
        """Make a change in one transaction; a `durable` one is on disk when this returns.

        If the disk is full, a durable change is tried once more after freeing what space there is.

        Raises:
            JournalError: nothing was changed.
        """
        try:
            return self._transaction(change, durable)
        except sqlite3.Error as error:
            if not durable or _code(error) not in DISK_ERRORS:
                raise JournalError(_reason(error)) from error
            self._make_room()
        try:
            return self._transaction(change, durable)
        except sqlite3.Error as error:
            raise JournalError(_reason(error)) from error

    def _make_room(self) -> None:
        """Release the reserve, and checkpoint the write-ahead log so that it starts over."""
        if self._reserve is not None:
            self._reserve.free()
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    def _transaction(self, change: Callable[[], T], durable: bool) -> T:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = change()
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # after some errors SQLite has already rolled back
                self._db.execute("ROLLBACK")
            raise
        return result

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


def files_in(spec: str) -> Iterator[str]:
    """Hashes of the files that a job names, whichever version wrote it; none if it cannot be read."""
    try:
        rest = [json.loads(spec)]
    except ValueError:
        return
    while rest:
        plain = rest.pop()
        if isinstance(plain, dict):
            if isinstance(plain.get("sha256"), str):
                yield plain["sha256"]
            rest += plain.values()
        elif isinstance(plain, list):
            rest += plain


def used_by_unfinished_jobs(journal: Path) -> set[str]:
    """Hashes of all files that queued and running jobs read, from a journal that no server has open.

    Raises:
        JournalError: the journal cannot be read.
    """
    if not journal.exists():
        return set()
    try:
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
            specs = database.execute("SELECT spec FROM jobs WHERE state IN ('queued', 'running')").fetchall()
    except sqlite3.Error as error:
        raise JournalError(_reason(error)) from error
    return {sha256 for (spec,) in specs for sha256 in files_in(spec)}


def _code(error: sqlite3.Error) -> int:
    """The primary result code of an SQLite error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _reason(error: sqlite3.Error) -> str:
    """A sentence about an SQLite error."""
    code = _code(error)
    if code in DISK_ERRORS:
        return (
            f"The server's disk is full or does not work ({error}), so its journal cannot be written: free some space"
            " where its state folder is."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"Another program has the server's journal open ({error}): close that program."
    return f"The server's journal cannot be used ({error}): use another state folder."
