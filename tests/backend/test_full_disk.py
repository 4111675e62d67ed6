"""A full disk is reported: jobs fail with a sentence, facts are kept, and no process ends."""

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import time
import uuid

import pytest
from ex4d_server.blobs import BlobStore
from ex4d_server.disk import RESERVE_BYTES, Reserve, nothing_fits, says_disk_full
from ex4d_server.executor import Lost
from ex4d_server.journal import Journal, JournalError
from ex4d_server.orders import Finished, Step
from ex4d_server.supervisor import Supervisor
from raw import Raw
from server_process import PATIENCE, until

from ex4d.errors import ServerError
from ex4d.jobs.messages import Cancel, Error, Follow, Ping, Pong, Result, Submit
from ex4d.pipeline.requests import Blob, Reconstruct, Source, job_hash

MB = 1 << 20
BLOB = Blob("0" * 64, 1, "a.mp4")
JOB = Reconstruct(Source((BLOB,), (BLOB,)))


@pytest.fixture
def small_disk(tmp_path):
    """A separate disk of 96 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # lazily: the server, which is ended later, uses it


def fill(path, leave: int = 0) -> None:
    """Fill the disk, leaving `leave` bytes free."""
    with open(path, "wb", buffering=0) as file:
        for piece in (65536, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * piece)
        if leave:
            file.truncate(max(0, file.tell() - leave))


def test_a_job_that_fills_the_disk_fails_and_the_others_go_on_and_the_server_restarts(
    server, connect, shot, small_disk
):
    server.state = small_disk / "state"
    server.start()
    client = connect(server)
    for kind in ("eat_all", "eat_all_and_hide_it"):
        job, files = shot(kind)
        last = client.wait(client.submit(job, files), timeout=PATIENCE)
        assert (last.state, "disk is full" in last.message) == ("failed", True), last
        job, files = shot("copy")
        assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    assert not list((server.state / "work").glob("*"))
    assert server.terminate() == 0
    server.start()
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"


def test_a_server_that_was_killed_with_a_full_disk_starts_again(server, connect, shot, small_disk):
    server.state = small_disk / "state"
    server.start(cancel=0.1)
    client = connect(server)
    job, files = shot("eat_all_and_wait")
    job_id = client.submit(job, files)
    until(lambda: (client.poll(), server.mark.exists())[1])
    server.kill()
    assert shutil.disk_usage(small_disk).free < MB
    server.start()
    assert shutil.disk_usage(small_disk).free > 64 * MB, "what the job left is gone"
    client.cancel(job_id)
    assert client.wait(job_id, timeout=PATIENCE).state == "cancelled"
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"


def test_jobs_come_to_their_end_on_a_disk_that_somebody_else_has_filled(server, connect, shot, small_disk):
    server.state = small_disk / "state"
    server.start()
    client = connect(server)
    job, files = shot("paint")
    first = client.submit(job, files)
    until(lambda update: update.stage == "Sampling", client)
    fill(small_disk / "foreign")
    assert client.wait(first, timeout=PATIENCE).state == "done"
    assert not (server.state / "reserve").exists()
    job, files = shot("copy", b"another clip")
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert "free some space" in last.message
    (small_disk / "foreign").unlink()
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    until(lambda: (server.state / "reserve").exists())


def test_a_server_starts_on_a_disk_that_somebody_else_has_filled(server, connect, shot, small_disk):
    server.state = small_disk / "state"
    server.start()
    client = connect(server)
    job, files = shot("slow_once")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    server.kill()
    fill(small_disk / "foreign")
    server.start()
    # There is no room for its link and its result, or just enough, but it ends and the server reports how.
    assert client.wait(job_id, timeout=PATIENCE).state in ("failed", "done")
    (small_disk / "foreign").unlink()
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"


@pytest.mark.parametrize("room", range(0, 200_000, 40_000))
def test_wherever_in_a_job_the_disk_is_full_nothing_acknowledged_is_lost(server, connect, shot, small_disk, room):
    """Jobs wait; then all but `room` bytes of the disk, the reserve included, are filled; then they run in turn."""
    server.state = small_disk / "state"
    server.start()
    client = connect(server)
    job, files = shot("copy", b"x" * 1000)
    client.wait(client.submit(job, files), timeout=PATIENCE)  # the server has the files now
    slow, slow_files = shot("slow")
    slow_id = client.submit(slow, slow_files)
    until(lambda update: update.stage == "wait", client)
    peer = Raw(server.address)
    ids = [str(uuid.uuid4()) for _ in range(12)]
    for job_id in ids:
        assert peer.ask(Submit(job_id, job_hash(job), job)).state == "queued"
    fill(small_disk / "foreign")  # first, because the server would make its reserve again where there is space
    (server.state / "reserve").unlink(missing_ok=True)
    fill(small_disk / "more", room)
    peer.ask(Cancel(slow_id))
    told_client, end = set(), time.monotonic() + 3
    while time.monotonic() < end:
        client.poll(0.05)
        told_client.add(client.trouble)
    if room == 0 and not any("disk is full" in trouble for trouble in told_client):
        until(lambda: (client.poll(), "disk is full" in client.trouble)[1])  # each client hears why nothing goes on
    assert server.process.poll() is None

    def states() -> dict[str, str]:
        return {job_id: peer.ask(Follow(job_id, 0)).state for job_id in [slow_id, *ids]}

    told = states()
    peer.close()
    server.kill()
    server.start()  # while the disk is still full
    peer = Raw(server.address)
    kept = states()
    ended = ("done", "failed", "cancelled")
    assert {job_id: kept[job_id] for job_id in told if told[job_id] in ended} == {
        job_id: state for job_id, state in told.items() if state in ended
    }
    (small_disk / "foreign").unlink()
    (small_disk / "more").unlink()
    until(lambda: set(states().values()) <= set(ended))
    assert peer.ask(Ping()) == Pong()
    peer.close()
    until(lambda: (client.poll(), client.status == "ready" and client.trouble == "")[1])


def test_a_limit_on_files_is_a_full_disk_too(server, connect, shot):
    server.start(file_limit=MB)
    client = connect(server)
    job, files = shot("copy")
    ended = {"done": 0, "failed": 0}
    for _ in range(12):
        last = client.wait(client.submit(job, files), timeout=PATIENCE)
        ended[last.state] += 1
    peer = Raw(server.address)
    refused = 0
    name = "n" * 200
    many = tuple(Blob(job.source.clip[0].sha256, job.source.clip[0].size, f"{i}{name}.png") for i in range(600))
    big = Reconstruct(Source(many, job.source.depth))
    for _ in range(30):  # each takes 180 KB of the journal, which may grow by a megabyte
        submit = Submit(str(uuid.uuid4()), job_hash(big), big)
        answer = peer.ask(submit)
        if isinstance(answer, Error):
            assert answer.code == "journal"
            assert "journal cannot be written: free some space" in answer.message
            refused += 1
    peer.close()
    assert refused
    assert server.process.poll() is None
    server.terminate()
    server.start()
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state in ("done", "failed")


def test_a_foreign_program_cannot_lock_the_journal_of_a_server_that_runs(server, connect, shot):
    server.start()
    foreign = sqlite3.connect(server.state / "journal.sqlite", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        foreign.execute("BEGIN EXCLUSIVE")
    foreign.close()
    client = connect(server)
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"


def test_a_journal_that_another_program_has_open_is_told_and_left_as_it_is(tmp_path):
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN EXCLUSIVE")
    reserve = Reserve(tmp_path / "reserve", 1000)
    assert reserve.make()
    with pytest.raises(ServerError, match="Another program has the server's journal open"):
        Journal(path, reserve=reserve)
    assert reserve.held
    foreign.close()
    Journal(path).close()


class Stubborn:
    """A journal that refuses all writes until it is told otherwise."""

    def __init__(self, journal: Journal) -> None:
        self.broken, self.tried = False, 0
        write = journal._transaction

        def transaction(change, durable):
            if self.broken:
                self.tried += 1
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return write(change, durable)

        journal._transaction = transaction


class Scripted:
    """An executor controlled by the test."""

    sockets = ()

    def __init__(self, folder) -> None:
        self.root, self.started, self.said, self.cleaned = folder, [], [], []

    def has_room(self):
        return len(self.started) == len(self.cleaned)

    def start(self, lease, job, owner):
        self.started.append(lease)
        (self.folder(lease) / "out").mkdir(parents=True)

    def device(self, lease):
        return "CPU"

    def tick(self):
        said, self.said = self.said, []
        return said

    def cancel(self, lease):
        pass

    def folder(self, lease):
        return self.root / str(lease)

    def clean(self, lease):
        self.cleaned.append(lease)

    def close(self):
        pass


class Bench:
    def __init__(self, folder) -> None:
        self.now = 0.0
        self.reserve = Reserve(folder / "reserve", 4096)
        self.reserve.make()
        self.journal = Journal(folder / "journal.sqlite", reserve=self.reserve)
        self.stubborn = Stubborn(self.journal)
        self.executor = Scripted(folder / "work")
        blobs = BlobStore(folder / "blobs", folder / "incoming")
        self.supervisor = Supervisor(self.journal, blobs, self.executor, clock=lambda: self.now)
        for name in ("a", "b"):
            self.journal.add(name, JOB, "local")
        self.supervisor.tick()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.journal.close()


def test_a_result_that_the_journal_does_not_take_now_is_written_later_and_nothing_starts_meanwhile(bench):
    bench.stubborn.broken = True
    bench.executor.said = [Step(1, "read", 1, 2, 0.1), Finished(1, Result({"width": 1}, ()))]
    bench.supervisor.tick()
    assert bench.executor.cleaned == [1], "what the job left goes first: it may be what fills the disk"
    assert not bench.reserve.held
    assert bench.journal.get("a").state == "running"
    tried = bench.stubborn.tried
    bench.supervisor.tick()
    assert bench.stubborn.tried == tried, "not again in the same second"
    assert "disk is full" in bench.supervisor.trouble
    bench.now += 1.1
    bench.supervisor.tick()
    assert bench.stubborn.tried == tried + 2
    assert bench.executor.started == [1]
    bench.stubborn.broken = False
    bench.now += 1.1
    bench.supervisor.tick()
    assert bench.journal.get("a").state == "done"
    assert bench.executor.started == [1, 2]
    assert bench.supervisor.trouble == ""


@pytest.mark.parametrize("event", [Lost(1, "gone"), Finished(1, Result({}, ()))])
def test_a_cancel_that_cannot_be_written_is_not_forgotten(bench, event):
    bench.stubborn.broken = True
    bench.supervisor.cancel("a")
    bench.executor.said = [event]
    bench.supervisor.tick()
    bench.stubborn.broken = False
    bench.now += 1.1
    bench.supervisor.tick()
    assert bench.journal.get("a").state == ("cancelled" if isinstance(event, Lost) else "done")


def test_the_reserve_is_what_the_last_facts_are_written_with(bench):
    bench.stubborn.broken = True
    free = Reserve.free

    def freed(reserve):
        bench.stubborn.broken = False
        return free(reserve)

    bench.reserve.free = lambda: freed(bench.reserve)
    bench.executor.said = [Finished(1, Result({}, ()))]
    bench.supervisor.tick()
    assert bench.journal.get("a").state == "done"


def test_steps_do_not_use_up_the_reserve(bench):
    bench.stubborn.broken = True
    with pytest.raises(JournalError):
        bench.journal.progress("a", "read", 1, 2, 0.1)
    assert bench.reserve.held


def test_the_reserve_is_taken_only_where_there_is_room(tmp_path, monkeypatch):
    reserve = Reserve(tmp_path / "reserve")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("ex4d_server.disk.shutil.disk_usage", lambda path: usage._replace(free=2 * RESERVE_BYTES))
    assert not reserve.make()
    monkeypatch.undo()
    assert reserve.make()
    assert os.stat(tmp_path / "reserve").st_blocks * 512 >= RESERVE_BYTES
    assert reserve.free()
    assert not reserve.free()


def test_an_error_that_hides_a_full_disk_is_seen_through(tmp_path):
    error = RuntimeError("cannot write the picture")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert says_disk_full(error)
    assert not says_disk_full(RuntimeError("something else"))
    assert not nothing_fits(tmp_path)
