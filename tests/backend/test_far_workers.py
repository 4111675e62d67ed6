"""Workers that do not see the server's disk get the files of their lease, and nothing else."""

import hashlib
import os
import time
import uuid
from pathlib import Path
from socket import gethostname
from types import SimpleNamespace

import pytest
import zmq
from ex4d_server import blobs, courier
from ex4d_server.access import authorize
from ex4d_server.blobs import BlobStore, StoreLimits
from ex4d_server.bulk import Bulk
from ex4d_server.content import run
from ex4d_server.courier import Courier, Depot, connecting
from ex4d_server.devices import Device
from ex4d_server.executor import Deadlines
from ex4d_server.gate import FILES, Gate
from ex4d_server.journal import Journal
from ex4d_server.launcher import Door
from ex4d_server.lent_files import LentFiles
from ex4d_server.orders import Failed, Finished, Made, Step, Stopped
from ex4d_server.sessions import Sessions
from ex4d_server.worker_executor import WorkerExecutor
from ex4d_server.worker_process import Room, WorkerProcess
from proxy import Proxy
from server_process import PATIENCE, until

from ex4d.errors import Cancelled, ServerError
from ex4d.jobs import hosts
from ex4d.jobs.client import Client
from ex4d.jobs.hosts import KnownServer
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys, shown_key
from ex4d.jobs.messages import Result
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Reconstruct, Source

MB = 1 << 20


def several(folder: Path, name: str, sizes: tuple[int, ...]):
    """A job whose results are its own files, of these sizes."""
    files = {}
    for i, size in enumerate(sizes):
        path = folder / (f"{name}.mp4" if i == 0 else f"clip_{i}.mp4")
        path.write_bytes(os.urandom(size))
        files[blob_of(path)] = path
    return Reconstruct(Source(tuple(files), (next(iter(files)),))), {blob.sha256: path for blob, path in files.items()}


@pytest.fixture
def far(server, tmp_path):
    """far(**options) starts a server whose workers do not see its disk; returns the parent of their folders."""
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
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
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
        last = client.wait(client.submit(job, files), lambda update: stages.append(update.stage), timeout=PATIENCE)
        assert last.state == "done", last.message
    assert stages.count("Sending files") >= 2
    (worker,) = folder.iterdir()
    (kept,) = (worker / "blobs").iterdir()
    inode = kept.stat().st_ino
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    assert kept.stat().st_ino == inode, "it was not fetched again"
    kept.chmod(0o600)
    kept.write_bytes(b"x" * 2 * MB)  # somebody else writes to it
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "done", last.message
    assert last.files["several.mp4"].read_bytes() == next(iter(files.values())).read_bytes()


def test_a_far_job_is_cancelled_and_the_worker_goes_on(server, far, connect, shot):
    folder = far()
    client = connect(server)
    going = client.submit(*shot("slow"))
    until(lambda update: update.stage == "wait", client)
    client.cancel(going)
    assert client.wait(going, timeout=PATIENCE).state == "cancelled"
    last = client.wait(client.submit(*shot("copy")), timeout=PATIENCE)
    assert (last.state, last.attempt) == ("done", 1)
    assert len(list(folder.iterdir())) == 1, "by the same worker"


def test_a_far_worker_that_dies_twice_fails_the_job_and_says_where_its_log_is(server, far, connect, shot):
    folder = far()
    client = connect(server)
    last = client.wait(client.submit(*shot("leave")), timeout=PATIENCE)
    assert last.state == "failed"
    assert "The worker process ended with code 3" in last.message
    assert any(f"see {worker / 'worker.log'} elsewhere" in last.message for worker in folder.iterdir())


def test_an_unexpected_error_names_the_log_on_the_workers_machine(server, far, connect, shot):
    folder = far()
    client = connect(server)
    last = client.wait(client.submit(*shot("surprise")), timeout=PATIENCE)
    (worker,) = folder.iterdir()
    assert f"has the details: {worker / 'worker.log'} elsewhere." in last.message
    assert "no such thing" in (worker / "worker.log").read_text()


def test_a_full_disk_of_the_workers_machine_is_named_as_its_own(server, far, connect, shot):
    folder = far(file_limit=2 * MB)
    client = connect(server)
    last = client.wait(client.submit(*shot("eat_disk")), timeout=PATIENCE)
    (worker,) = folder.iterdir()
    assert last.message == (
        f"{gethostname()}'s disk is full: free some space where {worker} is, then start the job again."
    )


def test_a_take_of_a_far_worker_has_its_proxy_for_a_client_of_another_key(server, far, tmp_path, shot):
    """A client on the server's own machine needs no proxy; this key stands in for a client elsewhere."""
    authorize(server.state, shown_key(hosts.own_pair().public), "anna")
    far()
    known = KnownServer("gpu-box", server.address, client_keys(server.state).server)
    content = os.urandom(3 * MB)
    client = Client(server.address, tmp_path / "anna", known=known)
    job_id = client.submit(*shot("take", content))
    last = client.wait(job_id, timeout=PATIENCE)
    client.close()
    assert last.state == "done", last.message
    assert last.files["result.mp4"].read_bytes() == content
    assert server.terminate() == 0
    journal = Journal(server.state / "journal.sqlite")
    proxy = journal.result(job_id).proxy
    journal.close()
    assert (server.state / "blobs" / proxy.sha256).read_bytes() == content[: len(content) // 50]


class Desk:
    """A server's file socket, and the files that it lends."""

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
        """Put a file into the store."""
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


class Elsewhere:
    """Starts workers as a machine of a cluster does; they reach the server at 127.0.0.2."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.launched = folder, []

    def can_launch(self) -> bool:
        return True

    def launch(self, whom):
        log = self._folder / "worker.log"
        room = Room(self._folder, 1, Device("elsewhere, CPU"), log, str(log))
        base = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        self.launched.append(
            WorkerProcess.start(room, KeyPair.new(), whom, "--runner", "runners:make", "--far", base=base)
        )
        return self.launched[-1]


@pytest.mark.parametrize("steps_until_cut", [1, 60])
def test_a_worker_whose_connection_breaks_in_the_middle_of_a_job_ends_it_under_the_same_lease(
    desk, tmp_path, steps_until_cut
):
    (tmp_path / "elsewhere").mkdir()
    launcher = Elsewhere(tmp_path / "elsewhere")
    executor = WorkerExecutor(
        desk.context, desk.gate, launcher, door=Door(reached_at="127.0.0.2"), files=desk.lent, deadlines=Deadlines()
    )
    proxy = Proxy(executor._address, desk.bulk.port)
    content = os.urandom(MB)
    executor.start(7, job_of(desk.keep(content, "copy_in_steps.mp4")), "owner")
    events, ended = [], []

    def look() -> bool:
        events.extend(executor.tick())
        ended.extend(event for event in events if not isinstance(event, Step))
        if proxy.cuts == 0 and any(event.step >= steps_until_cut for event in events if isinstance(event, Step)):
            proxy.cut_control_now()
        return bool(ended)

    until(look, seconds=60)
    assert proxy.cuts >= 1
    (finished,) = ended
    assert isinstance(finished, Finished), finished
    assert finished.lease == 7
    (made,) = finished.result.files
    assert desk.store.path(made.sha256).read_bytes() == content
    assert len(launcher.launched) == 1
    executor.close()
    proxy.close()


@pytest.fixture
def across(desk, tmp_path):
    """An executor whose worker reaches it through a proxy, that proxy, the launcher, and a way to await an ending."""
    (tmp_path / "elsewhere").mkdir()
    launcher = Elsewhere(tmp_path / "elsewhere")
    deadlines = Deadlines(cancel=30.0)
    executor = WorkerExecutor(
        desk.context, desk.gate, launcher, door=Door(reached_at="127.0.0.2"), files=desk.lent, deadlines=deadlines
    )
    proxy = Proxy(executor._address, desk.bulk.port)

    def ending():
        events = []
        until(lambda: events.extend(executor.tick()) or (events and not isinstance(events[-1], Step)))
        return events[-1]

    yield SimpleNamespace(executor=executor, proxy=proxy, launcher=launcher, ending=ending)
    executor.close()
    proxy.close()


def test_an_ending_that_was_under_way_when_the_connection_broke_arrives(desk, across, tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_TEST_MARK", str(tmp_path / "mark"))
    across.executor.start(7, job_of(desk.keep(b"clip", "refuse_when_told.mp4")), "owner")
    events = []
    until(lambda: events.extend(across.executor.tick()) or any(getattr(e, "stage", "") == "wait" for e in events))
    across.proxy.swallows = True
    (tmp_path / "mark").write_text("")
    until(lambda: not list((tmp_path / "elsewhere" / "work").iterdir()))  # the last thing before it is sent
    time.sleep(0.2)
    across.proxy.cut_control_now()
    assert across.ending() == Failed(7, "The depth holds zeros: mask them first.")


def test_a_job_that_was_under_way_when_the_connection_broke_arrives_and_runs_once(desk, across):
    content = os.urandom(1000)
    across.executor.start(7, job_of(desk.keep(content, "copy.mp4")), "owner")
    assert isinstance(across.ending(), Finished)
    across.proxy.swallows = True
    across.executor.start(8, job_of(desk.keep(content, "copy.mp4")), "owner")
    time.sleep(0.2)
    across.proxy.cut_control_now()
    ended = across.ending()
    assert isinstance(ended, Finished)
    assert ended.lease == 8
    across.executor.start(9, job_of(desk.keep(content, "copy.mp4")), "owner")
    assert across.ending().lease == 9
    assert len(across.launcher.launched) == 1, "by the same worker"


def test_a_job_that_is_lost_in_transit_and_then_cancelled_leaves_the_worker_running(desk, across):
    across.executor.start(7, job_of(desk.keep(b"clip", "copy.mp4")), "owner")
    assert isinstance(across.ending(), Finished)
    across.proxy.swallows = True
    across.executor.start(8, job_of(desk.keep(b"clip", "copy.mp4")), "owner")
    time.sleep(0.2)
    across.proxy.cut_control_now()
    until(lambda: across.proxy.cuts)
    across.executor.cancel(8)
    assert across.ending() == Stopped(8)
    assert across.launcher.launched[0].poll() is None


def test_an_order_that_is_given_while_the_connection_is_made_anew_reaches_the_worker(desk, across):
    across.executor.start(7, job_of(desk.keep(b"clip", "slow.mp4")), "owner")
    events = []
    until(lambda: events.extend(across.executor.tick()) or any(getattr(e, "stage", "") == "wait" for e in events))
    across.proxy.refuses = True
    across.proxy.cut_control_now()
    until(lambda: across.proxy.is_idle)
    across.executor.cancel(7)
    across.executor.tick()
    across.proxy.refuses = False
    assert across.ending() == Stopped(7)
    assert across.launcher.launched[0].poll() is None


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
    with pytest.raises(ServerError, match="was not requested"):
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


def test_a_file_is_expected_for_as_long_as_the_attempt_lasts_however_slow_the_link(desk, tmp_path):
    now = [desk.store._clock()]
    desk.store._clock = lambda: now[0]
    session = desk.lent.open(desk.keys.public, job_of(Blob("0" * 64, 1, "x.mp4")))
    for name in ("one.mp4", "two.mp4", "three.mp4"):
        (tmp_path / name).write_bytes(os.urandom(600_000))
    one, two, three = (blob_of(tmp_path / name) for name in ("one.mp4", "two.mp4", "three.mp4"))
    assert desk.lent.expect(session, Made(1, (one, two, three))) == ""
    mover = desk.courier(session)
    mover.send((one,), tmp_path)
    now[0] += 3600
    desk.store.missing([Blob("1" * 64, 5, "of another.mp4")], "another")
    mover.send((two,), tmp_path)
    assert desk.store.path(two.sha256).read_bytes() == (tmp_path / "two.mp4").read_bytes()
    assert desk.store.usage().promised == 600_000 + 5
    desk.lent.close(session)
    assert desk.store.usage().promised == 5, "the room for what did not come is free again"
    mover.close()


def test_a_worker_whose_disk_is_full_of_earlier_files_removes_them_before_it_fetches(desk, depot, monkeypatch):
    size = 100_000
    mine = desk.keep(os.urandom(size), "mine.mp4")
    old = Blob(hashlib.sha256(b"o" * size).hexdigest(), size, "old.mp4")
    depot.store.missing([old])
    run(depot.store.put(old.sha256, old.size, 0, b"o" * size))
    later = depot.store._clock() + 3600
    depot.store._clock = lambda: later
    run(depot.store.work())  # so that no sweep is due
    whole, folder = blobs.SPARE_BYTES + size + 1000, depot.store.path("")

    def disk(path) -> SimpleNamespace:
        """A disk with room for one of the two files."""
        return SimpleNamespace(free=whole - sum(file.stat().st_size for file in folder.iterdir()))

    there = []
    monkeypatch.setattr(blobs.shutil, "disk_usage", disk)
    session = desk.lent.open(desk.keys.public, job_of(mine))
    mover = desk.courier(session, progress=lambda *told: there.append(depot.store.path(old.sha256).exists()))
    mover.fetch([mine], depot.store)
    assert depot.store.path(mine.sha256).read_bytes() == desk.store.path(mine.sha256).read_bytes()
    assert not any(there), "before the first byte comes"
    mover.close()


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
