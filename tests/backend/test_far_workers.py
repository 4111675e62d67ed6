"""Workers that do not see the server's disk: files under a lease, and nothing else."""

import hashlib
import os
import uuid
from pathlib import Path
from socket import gethostname

import pytest
import zmq
from ex4d_server import courier
from ex4d_server.blobs import BlobStore, StoreLimits
from ex4d_server.bulk import Bulk
from ex4d_server.content import run
from ex4d_server.courier import Courier, Depot, connecting
from ex4d_server.gate import FILES, Gate
from ex4d_server.lent_files import LentFiles
from ex4d_server.orders import Finished, Made
from ex4d_server.sessions import Sessions
from proxy import Proxy
from server_process import until

from ex4d.errors import Cancelled, ServerError
from ex4d.jobs.keys import ClientKeys, KeyPair
from ex4d.jobs.messages import Result
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Reconstruct, Source

MB = 1 << 20


def several(folder: Path, name: str, sizes: tuple[int, ...]):
    """A job whose results are its files, of these sizes."""
    files = {}
    for i, size in enumerate(sizes):
        path = folder / (f"{name}.mp4" if i == 0 else f"clip_{i}.mp4")
        path.write_bytes(os.urandom(size))
        files[blob_of(path)] = path
    return Reconstruct(Source(tuple(files), (next(iter(files)),))), {blob.sha256: path for blob, path in files.items()}


@pytest.fixture
def far(server, tmp_path):
    """far(**options): a server whose workers do not see its disk; returns the folder where theirs are."""
    folder = tmp_path / "elsewhere"

    def start(**options) -> Path:
        folder.mkdir(exist_ok=True)
        server.start(far=str(folder), **options)
        return folder

    return start


def test_files_of_a_job_get_there_and_back_and_the_worker_opens_nothing_of_the_server(server, far, connect, tmp_path):
    folder = far(runner="runners:make_watched")
    job, files = several(tmp_path, "several_seen", (3 * MB, 1, 2 * MB + 5, 0, 700_000))
    client = connect(server)
    last = client.wait(client.submit(job, files), timeout=30)
    assert last.state == "done", last.message
    assert {name: path.read_bytes() for name, path in last.files.items()} == {
        path.name: path.read_bytes() for path in files.values()
    }
    opened = last.facts["opened"]
    assert sum(path.startswith(str(folder)) for path in opened) > 10, "the watch sees what is opened"
    assert [path for path in opened if path.startswith(str(server.state))] == []
    assert last.facts["folder"].startswith(str(folder))
    (worker,) = folder.iterdir()
    until(lambda: not list((worker / "work").iterdir()))
    assert not list((server.state / "work").iterdir())


def test_what_was_fetched_for_one_job_is_there_for_the_next(server, far, connect, tmp_path):
    folder = far()
    job, files = several(tmp_path, "several", (2 * MB,))
    client = connect(server)
    stages = []
    for _ in range(2):
        last = client.wait(client.submit(job, files), lambda update: stages.append(update.stage), timeout=30)
        assert last.state == "done", last.message
    assert stages.count("Sending files") >= 2
    (worker,) = folder.iterdir()
    (kept,) = (worker / "blobs").iterdir()
    inode = kept.stat().st_ino
    assert client.wait(client.submit(job, files), timeout=30).state == "done"
    assert kept.stat().st_ino == inode, "it was not fetched again"
    kept.chmod(0o600)
    kept.write_bytes(b"x" * 2 * MB)  # somebody writes to it
    last = client.wait(client.submit(job, files), timeout=30)
    assert last.state == "done", last.message
    assert last.files["several.mp4"].read_bytes() == next(iter(files.values())).read_bytes()


def test_a_far_job_is_cancelled_and_the_worker_goes_on(server, far, connect, shot):
    folder = far()
    client = connect(server)
    going = client.submit(*shot("slow"))
    until(lambda update: update.stage == "wait", client)
    client.cancel(going)
    assert client.wait(going, timeout=20).state == "cancelled"
    last = client.wait(client.submit(*shot("copy")), timeout=20)
    assert (last.state, last.attempt) == ("done", 1)
    assert len(list(folder.iterdir())) == 1, "by the same worker"


def test_a_far_worker_that_dies_twice_fails_the_job_and_says_where_its_log_is(server, far, connect, shot):
    folder = far()
    client = connect(server)
    last = client.wait(client.submit(*shot("leave")), timeout=30)
    assert last.state == "failed"
    assert "The worker process ended with code 3" in last.message
    assert any(f"see {worker / 'worker.log'} elsewhere" in last.message for worker in folder.iterdir())


def test_an_unexpected_error_names_the_log_on_the_workers_machine(server, far, connect, shot):
    folder = far()
    client = connect(server)
    last = client.wait(client.submit(*shot("surprise")), timeout=30)
    (worker,) = folder.iterdir()
    assert f"has the details: {worker / 'worker.log'} elsewhere." in last.message
    assert "no such thing" in (worker / "worker.log").read_text()


def test_a_full_disk_of_the_workers_machine_is_named_as_its_own(server, far, connect, shot):
    folder = far(file_limit=2 * MB)
    client = connect(server)
    last = client.wait(client.submit(*shot("eat_disk")), timeout=30)
    (worker,) = folder.iterdir()
    assert last.message == (
        f"{gethostname()}'s disk is full: free some space where {worker} is, then start the job again."
    )


class Desk:
    """A server's socket for files, and what it lends."""

    def __init__(self, folder: Path) -> None:
        self.context = zmq.Context()
        self.gate = Gate(self.context, KeyPair.new())
        self.store = BlobStore(folder / "blobs", folder / "incoming")
        self.sessions, self.keys = Sessions(), KeyPair.new()
        self.bulk = Bulk(self._bind, self.sessions, self.store, folder / "exchange", "desk")
        self.lent = LentFiles(self.sessions, self.store, lambda: self.bulk.port)
        self.bulk.start()

    def _bind(self) -> zmq.Socket:
        socket = self.context.socket(zmq.ROUTER)
        socket.router_mandatory = True
        self.gate.guard(socket, FILES, lambda: self.lent.keys)
        socket.bind("tcp://127.0.0.1:*")
        return socket

    def keep(self, content: bytes, name: str) -> Blob:
        """A file in the store."""
        blob = Blob(hashlib.sha256(content).hexdigest(), len(content), name)
        path = self.store.path(f"{uuid.uuid4()}")
        path.write_bytes(content)
        self.store.adopt(path, blob)
        return blob

    def courier(self, session: str, ip: str = "127.0.0.1", progress=lambda *told: None) -> Courier:
        keys = ClientKeys(self.gate.public, self.keys)
        return Courier(connecting(self.context, f"tcp://{ip}:1", self.bulk.port, keys, session), progress)

    def close(self) -> None:
        self.bulk.close()
        self.gate.close()
        self.context.destroy(linger=0)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setattr(courier, "SILENCE_SECONDS", 1.0)
    desk = Desk(tmp_path / "server")
    yield desk
    desk.close()


@pytest.fixture
def depot(tmp_path):
    depot = Depot(tmp_path / "worker")
    yield depot
    depot.store.close()


def job_of(*blobs: Blob) -> Reconstruct:
    return Reconstruct(Source(blobs, blobs[:1]))


def test_a_worker_gets_the_files_of_its_job_and_no_other(desk, depot):
    mine, other = desk.keep(os.urandom(MB), "mine.mp4"), desk.keep(os.urandom(1000), "other.mp4")
    session = desk.lent.open(desk.keys.public, job_of(mine))
    mover = desk.courier(session)
    mover.fetch([mine], depot.store)
    assert depot.store.path(mine.sha256).read_bytes() == desk.store.path(mine.sha256).read_bytes()
    with pytest.raises(ServerError, match="does not have this file any more"):
        mover.fetch([other], depot.store)
    mover.close()


def test_with_the_end_of_its_attempt_a_worker_gets_nothing_and_brings_nothing(desk, depot, tmp_path):
    mine = desk.keep(os.urandom(MB), "mine.mp4")
    session = desk.lent.open(desk.keys.public, job_of(mine))
    mover = desk.courier(session)
    mover.fetch([], depot.store)
    made = tmp_path / "made.mp4"
    made.write_bytes(b"made")
    assert desk.lent.expect(session, Made(1, (blob_of(made),))) == ""
    desk.lent.close(session)
    assert desk.keys.public not in desk.lent.keys
    for attempt in (lambda: mover.fetch([mine], depot.store), lambda: mover.send((blob_of(made),), tmp_path)):
        with pytest.raises(ServerError, match=r"Say hello|does not answer"):
            attempt()
    assert not desk.store.path(blob_of(made).sha256).exists()
    mover.close()


def test_a_result_is_there_only_when_all_of_it_was_sent_and_with_the_sizes_that_it_names(desk, tmp_path):
    session = desk.lent.open(desk.keys.public, job_of(Blob("0" * 64, 1, "x.mp4")))
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / name).write_bytes(os.urandom(600_000))
    one, two = (blob_of(tmp_path / name) for name in ("one.mp4", "two.mp4"))
    desk.lent.expect(session, Made(1, (one, two)))
    mover = desk.courier(session)
    mover.send((one,), tmp_path)
    assert not desk.lent.are_here(session, Finished(1, Result({}, (one, two))))
    mover.send((two,), tmp_path)
    assert desk.lent.are_here(session, Finished(1, Result({}, (one, two))))
    assert not desk.lent.are_here(session, Finished(1, Result({}, (Blob(one.sha256, 5, "one.mp4"),))))
    other = desk.lent.open(KeyPair.new().public, job_of(one))
    assert not desk.lent.are_here(other, Finished(1, Result({}, (one,)))), "what another has sent is not one's own"
    mover.close()


def test_files_that_were_not_announced_are_refused(desk, tmp_path):
    session = desk.lent.open(desk.keys.public, job_of(Blob("0" * 64, 1, "x.mp4")))
    made = tmp_path / "made.mp4"
    made.write_bytes(b"made")
    mover = desk.courier(session)
    with pytest.raises(ServerError, match="was not asked for"):
        mover.send((blob_of(made),), tmp_path)
    mover.close()


def test_a_result_for_which_the_server_has_no_room_is_refused_with_a_sentence(desk):
    session = desk.lent.open(desk.keys.public, job_of(Blob("0" * 64, 1, "x.mp4")))
    assert "free some space" in desk.lent.expect(session, Made(1, (Blob("1" * 64, 10**15, "huge.mov"),)))


def test_files_whose_connection_is_cut_again_and_again_arrive_whole(desk, depot, tmp_path):
    content = os.urandom(9 * MB)
    mine = desk.keep(content, "mine.mp4")
    session = desk.lent.open(desk.keys.public, job_of(mine))
    proxy = Proxy(f"tcp://127.0.0.1:{desk.bulk.port}", desk.bulk.port)
    proxy.cut_each("down", [700_000, 2_500_000])
    mover = desk.courier(session, "127.0.0.2")
    mover.fetch([mine], depot.store)
    assert depot.store.path(mine.sha256).read_bytes() == content
    assert proxy.cuts == 2
    made = tmp_path / "made.mp4"
    made.write_bytes(os.urandom(9 * MB))
    desk.lent.expect(session, Made(1, (blob_of(made),)))
    proxy.cut_each("up", [1_100_000, 3_000_000])
    mover.send((blob_of(made),), tmp_path)
    assert desk.store.path(blob_of(made).sha256).read_bytes() == made.read_bytes()
    assert proxy.cuts == 4
    mover.close()
    proxy.close()


def test_a_damaged_file_is_not_kept(desk, depot):
    mine = desk.keep(os.urandom(MB), "mine.mp4")
    session = desk.lent.open(desk.keys.public, job_of(mine))
    path = desk.store.path(mine.sha256)
    about = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"x" * MB)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))  # so that the server does not notice
    mover = desk.courier(session)
    with pytest.raises(ServerError, match=r"mine\.mp4 arrived damaged"):
        mover.fetch([mine], depot.store)
    assert not depot.store.path(mine.sha256).exists()
    mover.close()


def test_a_job_is_stopped_while_its_files_come(desk, depot):
    mine = desk.keep(os.urandom(4 * MB), "mine.mp4")
    session = desk.lent.open(desk.keys.public, job_of(mine))
    told = []

    def progress(stage: str, step: int, steps: int, picture=None) -> None:
        told.append((stage, step, steps))
        if step == 2:
            raise Cancelled("The job was cancelled.")

    mover = desk.courier(session, progress=progress)
    with pytest.raises(Cancelled):
        mover.fetch([mine], depot.store)
    assert told[0] == ("Fetching files", 0, 5)
    assert not depot.store.path(mine.sha256).exists()
    mover.close()


def test_what_a_worker_keeps_is_bounded(tmp_path):
    now = [1000.0]
    depot = Depot(tmp_path / "worker", StoreLimits(bytes=1500, days=30))
    depot.store._clock = lambda: now[0]
    for number in range(3):
        content = bytes([number]) * 1000
        blob = Blob(hashlib.sha256(content).hexdigest(), 1000, f"{number}.mp4")
        depot.store.missing([blob])
        run(depot.store.put(blob.sha256, blob.size, 0, content))
        now[0] += 700
    depot.tidy()
    assert len(list((tmp_path / "worker" / "blobs").iterdir())) == 1
