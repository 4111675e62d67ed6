"""The parts of cluster support that need no Ray: addresses, places for workers, and jobs that wait for a machine."""

import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from ex4d_server import cluster
from ex4d_server.blobs import BlobStore
from ex4d_server.cluster import Cluster, check_reach, cluster_executors
from ex4d_server.cluster_holder import claim, environment
from ex4d_server.executor import Deadlines, PutBack
from ex4d_server.gate import Gate
from ex4d_server.journal import Journal
from ex4d_server.orders import Ready, Stopped, blob_folder
from ex4d_server.pool import Pool
from ex4d_server.supervisor import Supervisor
from ex4d_server.worker_executor import WorkerExecutor

from ex4d.errors import InputError
from ex4d.jobs.keys import KeyPair
from ex4d.pipeline.requests import Blob, Reconstruct, Source

BLOB = Blob("0" * 64, 1, "slow.mp4")
JOB = Reconstruct(Source((BLOB,), (BLOB,)))


@pytest.mark.parametrize(
    "address", ["10.0.0.5", "auto", ":6379", "10.0.0.5:many", "10.0.0.5:0", "ray://", "ray://10.0.0.5:10001", ""]
)
def test_what_is_no_address_of_a_cluster_is_named(tmp_path, monkeypatch, address):
    monkeypatch.setattr(cluster, "RAY", SimpleNamespace(is_there=True))
    with pytest.raises(
        InputError,
        match=rf"^'{address}' is not the address of a Ray cluster: write the address of"
        r" its head",
    ):
        Cluster(address, tmp_path, "nothing:here")


def test_where_nothing_listens_it_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "RAY", SimpleNamespace(is_there=True))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match=rf"No Ray cluster answers at 127\.0\.0\.1:{port} \(Connection refused\)"):
        Cluster(f"127.0.0.1:{port}", tmp_path, "nothing:here")


def test_without_ray_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("ex4d.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Ray, which is not installed here: pip install 'ex4d\[cluster\]'"):
        Cluster("127.0.0.1:6379", tmp_path, "nothing:here")


def test_a_server_that_other_machines_cannot_reach_has_no_workers_there():
    there = SimpleNamespace(others=["10.0.0.7"])
    with pytest.raises(
        InputError, match=r"such as 10\.0\.0\.7, cannot reach a server on 127\.0\.0\.1: start it with --address"
    ):
        check_reach("127.0.0.1", there)
    check_reach("0.0.0.0", there)
    check_reach("127.0.0.1", SimpleNamespace(others=[]))


def test_an_order_to_a_process_that_has_ended_is_dropped_also_while_no_other_could_be_started():
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    process.wait()
    driver = SimpleNamespace(_process=process)
    Cluster.send(driver, order="kill", worker=1)  # a broken pipe
    with suppress(OSError):
        process.stdin.close()
    Cluster.send(driver, order="kill", worker=1)


def test_each_worker_of_a_machine_has_a_folder_of_its_own_and_finds_what_was_fetched_before(tmp_path):
    first, one, lock = claim(tmp_path / "cluster")
    second, two, other = claim(tmp_path / "cluster")
    assert (one, two) == (1, 2)
    assert first != second
    assert (first.stat().st_mode & 0o777, (tmp_path / "cluster").stat().st_mode & 0o777) == (0o700, 0o700)
    for name in ("blobs/abc", "work/7/out/half.mp4"):
        (first / name).parent.mkdir(parents=True)
        (first / name).write_bytes(b"x")
    lock.close()
    again, number, lock = claim(tmp_path / "cluster")
    assert (again, number) == (first, 1)
    assert (again / "blobs" / "abc").exists()
    assert not (again / "work").exists()
    lock.close()
    other.close()


def test_a_worker_gets_nothing_of_rays_settings_and_shares_the_cores_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    given = {"HOME": "/root", "RAY_AUTH_TOKEN": "secret", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "2"}
    assert environment(given, None) == {"HOME": "/root", "CUDA_VISIBLE_DEVICES": "2"}
    shared = environment({**given, "NUMBA_NUM_THREADS": "3"}, 2)
    assert (shared["OMP_NUM_THREADS"], shared["NUMBA_NUM_THREADS"]) == ("4", "3")
    assert "RAY_AUTH_TOKEN" not in shared


class Waiting:
    """A worker process for which no machine is found, or only after a while."""

    name, device, log_said, public, waits = "worker 1", "", "nowhere", "", True
    has_machine = has_begun = False

    def __init__(self) -> None:
        self.is_killed, self.how = False, None

    def poll(self) -> str | None:
        return "was ended" if self.is_killed else self.how

    def ask_to_end(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.is_killed = True


class Crowded:
    """Launches waiting workers."""

    def __init__(self) -> None:
        self.room, self.launched = True, []

    def can_launch(self) -> bool:
        return self.room

    def launch(self, whom) -> Waiting:
        self.launched.append(Waiting())
        return self.launched[-1]


class Bench:
    """A supervisor whose only worker waits for a machine, and a clock that the test controls."""

    def __init__(self, state: Path) -> None:
        self.now = 100.0
        self.context = zmq.Context()
        self.gate = Gate(self.context, KeyPair.new())
        self.launcher = Crowded()
        self.executor = WorkerExecutor(
            self.context, self.gate, self.launcher, deadlines=Deadlines(place=60), clock=lambda: self.now
        )
        self.journal = Journal(state / "journal.sqlite")
        blobs = BlobStore(blob_folder(state), state / "incoming")
        self.supervisor = Supervisor(self.journal, blobs, Pool([self.executor], None), clock=lambda: self.now)

    def after(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.supervisor.tick()

    def close(self) -> None:
        self.supervisor.close()
        self.gate.close()
        self.context.destroy(linger=0)
        self.journal.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_job_for_which_no_machine_is_found_goes_back_to_the_queue_and_the_attempt_does_not_count(bench):
    bench.journal.add("job", JOB, "local")
    bench.after(60)
    assert (bench.journal.get("job").state, bench.journal.get("job").attempt) == ("running", 1)
    bench.launcher.room = False
    bench.after(4)
    assert (bench.journal.get("job").state, bench.journal.get("job").attempt) == ("queued", 0)
    assert bench.launcher.launched[0].is_killed
    assert bench.journal.events("job", 0)[-1].message == "No machine of the cluster was free: the job is waiting again."
    bench.after(1000)
    assert bench.journal.get("job").state == "queued", "there is no room for it"
    bench.launcher.room = True
    bench.after(2)
    assert (bench.journal.get("job").state, bench.journal.get("job").attempt) == ("running", 1)


def test_a_machine_that_takes_long_to_start_a_worker_is_waited_for(bench):
    bench.journal.add("job", JOB, "local")
    bench.after(50)
    bench.launcher.launched[0].has_machine = True
    bench.after(200)
    assert (bench.journal.get("job").state, bench.journal.get("job").attempt) == ("running", 1)
    assert not bench.launcher.launched[0].is_killed


def test_a_machine_that_cannot_start_a_worker_costs_a_job_no_attempt_and_the_reason_is_said(bench, caplog):
    bench.journal.add("job", JOB, "local")
    for number in range(3):
        bench.after(10)
        assert bench.journal.get("job").state == "running"
        bench.launcher.launched[number].how = "could not be started (the tool nvidia-smi fails)"
        bench.launcher.room = False
        bench.after(1)
        assert (bench.journal.get("job").state, bench.journal.get("job").attempt) == ("queued", 0)
        assert bench.journal.events("job", 0)[-1].message == (
            "The job is waiting again: worker 1 could not be started (the tool nvidia-smi fails)."
        )
        bench.launcher.room = True
    assert "worker 1 could not be started (the tool nvidia-smi fails)" in caplog.text
    bench.after(10)
    process = bench.launcher.launched[3]
    process.has_begun, process.waits, process.how = True, False, "ended with code 3"
    bench.after(1)
    assert bench.journal.get("job").attempt == 1, "one that has begun counts"


def test_a_job_that_waits_for_a_machine_is_cancelled_at_once(bench):
    bench.journal.add("job", JOB, "local")
    bench.after(2)
    bench.supervisor.cancel("job")
    bench.after(1)
    assert bench.journal.get("job").state == "cancelled"
    assert bench.launcher.launched[0].is_killed


def test_no_clock_of_a_worker_runs_before_it_has_a_machine(bench):
    bench.executor._deadlines = Deadlines(beat=5, whole=5, place=1e6)
    bench.executor.start(1, JOB, "owner")
    for _ in range(100):
        bench.now += 3
        assert bench.executor.tick() == []
    process = bench.launcher.launched[0]
    process.waits = False
    bench.now += 3
    assert bench.executor.tick() == []
    bench.now += 4
    (lost,) = bench.executor.tick()
    assert not isinstance(lost, PutBack | Stopped)
    assert "did not answer for" in lost.message


def test_nobody_gets_in_before_the_key_of_the_worker_is_known_and_then_that_alone(bench):
    bench.executor.start(1, JOB, "owner")
    assert bench.executor._admitted() == ()
    bench.launcher.launched[0].public = "its key"
    assert bench.executor._admitted() == ("its key",)
    bench.executor._receive(b"peer", Ready(bench.executor._worker.token))
    assert bench.executor._attempt.sent


def test_workers_of_a_cluster_listen_on_the_ports_after_that_for_files(bench):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        there = SimpleNamespace(unit="GPU", total=1, here="10.0.0.5", others=[])
        with pytest.raises(InputError, match=f"cannot listen on port {port} for worker 1"):
            cluster_executors(bench.context, bench.gate, there, None, None, ip="127.0.0.1", after_port=port - 1)
    (executor,) = cluster_executors(bench.context, bench.gate, there, None, None, ip="0.0.0.0", after_port=0)
    assert executor._address.startswith("tcp://10.0.0.5:")
    executor.close()
    found = cluster_executors(bench.context, bench.gate, there, 3, None, ip="127.0.0.1", after_port=0)
    assert len(found) == 3
    for executor in found:
        executor.close()
