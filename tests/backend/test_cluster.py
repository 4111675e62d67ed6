"""A real Ray cluster of several nodes on this machine: `make test-cluster`."""

import contextlib
import json
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from ex4d_server.access import authorize
from ex4d_server.cluster import RAY
from ex4d_server.journal import Journal
from raw import Raw
from server_process import HERE, ServerProcess, until

from ex4d.jobs.client import Client
from ex4d.jobs.keys import KeyPair, shown_key
from ex4d.jobs.messages import AskQueue, Unload
from ex4d.media.movie import write_movie
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not RAY.is_there, reason="needs the extra cluster"),
]

START_SECONDS = 90.0
MARK = "mark"


class Nodes:
    """The cluster, see ray_nodes.py. `address` is its head's."""

    def __init__(self, folder: Path, count: int, *, token: bool = True) -> None:
        self.folder, self.token = folder, folder / "token"
        self.token.write_text(secrets.token_hex(32))
        self._log = open(folder / "nodes.log", "ab")  # noqa: SIM115
        here = {"PYTHONPATH": str(HERE), "EX4D_TEST_MARK": str(folder / MARK)}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "ray_nodes.py"), str(folder), str(count), str(self.token) if token else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **here},
        )
        self.address = self._read()

    def _read(self) -> str:
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        line = self._process.stdout.readline().strip() if ready else ""
        assert line, (self.folder / "nodes.log").read_text()
        return line

    def tell(self, order: str) -> None:
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        assert self._read() == "done"

    def node_of(self, pid: int) -> int:
        """The node that a worker process runs on, as the number of its folder."""
        return int(Path(psutil.Process(pid).environ()["EX4D_CLUSTER_FOLDER"]).name.removeprefix("node-"))

    def close(self) -> None:
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._process.kill()
        self._process.wait()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.stdout.close()
        self._log.close()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Two nodes for all tests here; a test that kills a node adds another."""
    nodes = Nodes(tmp_path_factory.mktemp("cluster"), 2)
    yield nodes
    nodes.close()


@pytest.fixture
def start(server, nodes):
    """start(**options) starts the server with two workers on the cluster."""
    server.environment["RAY_AUTH_TOKEN_PATH"] = str(nodes.token)

    def make(**options) -> ServerProcess:
        server.start(cluster=nodes.address, **{"workers": 2, **options})
        return server

    return make


def ends(server: ServerProcess, ids) -> dict[str, list[tuple[str, int]]]:
    """Final states of jobs and the attempts that reached them, from the journal. Stops the server."""
    assert server.terminate() == 0
    journal = Journal(server.state / "journal.sqlite")
    found = {
        job_id: [
            (event.state, event.attempt)
            for event in journal.events(job_id, 0)
            if event.state in ("done", "failed", "cancelled")
        ]
        for job_id in ids
    }
    journal.close()
    return found


def running(client: Client, ids: list[str], stage: str = "wait") -> None:
    """Wait until all of these jobs have reached a stage."""
    seen = set()
    until(lambda update: (update.stage == stage and seen.add(update.job_id)) or set(ids) <= seen, client, 60)


def test_six_jobs_on_two_nodes_one_of_which_dies_are_all_done_and_none_twice(start, nodes, connect, shot):
    server = start()
    client = connect(server)
    job, files = shot("copy_slowly", content=os.urandom(1 << 20))
    ids = [client.submit(job, files) for _ in range(6)]
    running(client, ids[:2])
    at_work = [process for process in psutil.process_iter() if is_worker(process, nodes)]
    assert sorted(nodes.node_of(process.pid) for process in at_work) == [1, 2]
    nodes.tell("kill 2")
    ended = {job_id: client.wait(job_id, timeout=120) for job_id in ids}
    assert {last.state for last in ended.values()} == {"done"}, [last.message for last in ended.values()]
    for last in ended.values():
        assert last.files["result.mp4"].read_bytes() == files[job.source.clip[0].sha256].read_bytes()
    assert Counter(last.attempt for last in ended.values()) == {1: 5, 2: 1}
    assert server.log.count(" starts under lease") == 7
    assert all(len(found) == 1 for found in ends(server, ids).values()), "each ends once"
    nodes.tell("add")


def test_a_machine_with_another_version_costs_no_attempt_and_the_jobs_run_on_the_others(
    server, connect, shot, tmp_path
):
    folder = tmp_path / "cluster"
    folder.mkdir()
    mixed = Nodes(folder, 0)
    try:
        mixed.tell("add old")
        server.environment["RAY_AUTH_TOKEN_PATH"] = str(mixed.token)
        server.start(cluster=mixed.address, workers=1)
        client = connect(server)
        job_id = client.submit(*shot("copy"))
        unfit = f"worker 1 on {os.uname().nodename} could not be started, as that has EX-4D 0.0.1, and the server"
        until(lambda: client.poll() is None or unfit in server.log, seconds=60)
        mixed.tell("add")
        last = client.wait(job_id, timeout=90)
        assert (last.state, last.attempt) == ("done", 1), last.message
        assert mixed.node_of(last.facts["pid"]) == 2
        assert server.log.count("could not be started") == 1, "nothing more is tried there for now"
    finally:
        mixed.close()


def is_worker(process: psutil.Process, nodes: Nodes) -> bool:
    """Whether a process is one of our workers on these nodes."""
    with contextlib.suppress(psutil.Error):
        return "ex4d_server.worker" in process.cmdline() and str(nodes.folder) in " ".join(process.cmdline())
    return False


def test_a_node_that_comes_back_with_an_old_lease_is_refused(start, nodes, connect, shot):
    server = start(workers=1, beat=4.0)
    client = connect(server)
    job, files = shot("copy_slowly")
    job_id = client.submit(job, files)
    running(client, [job_id])
    (worker,) = [process for process in psutil.process_iter() if is_worker(process, nodes)]
    number = nodes.node_of(worker.pid)
    nodes.tell(f"stop {number}")
    last = client.wait(job_id, timeout=120)
    assert (last.state, last.attempt) == ("done", 2), last.message
    assert nodes.node_of(last.facts["pid"]) != number
    assert "refused" not in server.log
    nodes.tell(f"go on {number}")
    # Its messages on the old connection are refused; once that is closed, the gate no longer lets it in.
    refusals = "refused a worker", "refused a message"
    until(lambda: any(words in server.log for words in refusals) or not lives(worker.pid), seconds=60)
    assert ends(server, [job_id]) == {job_id: [("done", 2)]}
    nodes.tell(f"kill {number}")
    nodes.tell("add")


def test_previews_are_those_of_a_worker_on_this_machine_byte_for_byte(start, nodes, tmp_path, moving_box):
    clip, depth = moving_box
    write_movie(tmp_path / "clip.mp4", clip.frames, Fraction(24000, 1001))
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics[0])
    blobs = [blob_of(tmp_path / name) for name in ("clip.mp4", "clip.depth.npz")]
    files = {blob.sha256: tmp_path / blob.name for blob in blobs}
    jobs = [
        Generate(Source((blobs[0],), (blobs[1],)), preset=PathSettings(cam=cam), generation=GenerateSettings("preview"))
        for cam in ("30", "60")
    ]
    takes = {}
    for where in ("local", "cluster"):
        (tmp_path / where).mkdir()
        server = ServerProcess(tmp_path / where, environment={"RAY_AUTH_TOKEN_PATH": str(nodes.token)})
        try:
            elsewhere = {"cluster": nodes.address} if where == "cluster" else {}
            server.start(workers=2, runner="ex4d_server.worker:pipeline", **elsewhere)
            client = Client(server.address, tmp_path / where / "downloads")
            ids = [client.submit(job, files) for job in jobs]
            takes[where] = [client.wait(job_id, timeout=120) for job_id in ids]
            client.close()
        finally:
            server.close()
    for here, there in zip(takes["local"], takes["cluster"], strict=True):
        assert (here.state, there.state) == ("done", "done"), (here.message, there.message)
        assert set(here.files) == set(there.files)
        videos = {name for name in here.files if name.endswith(".mp4")}
        assert len(videos) >= 3
        for name in here.files:
            if name != "take.json":
                assert here.files[name].read_bytes() == there.files[name].read_bytes(), name
        assert json.loads(there.files["take.json"].read_text())["device"] == f"{os.uname().nodename}, CPU, worker 1"


def test_a_job_is_cancelled_and_one_that_does_not_listen_is_ended_with_its_worker(start, nodes, connect, shot):
    server = start(workers=1, cancel=1.0, term=1.0)
    client = connect(server)
    for runner, stage in (("slow", "wait"), ("hang", "hang")):
        job_id = client.submit(*shot(runner))
        running(client, [job_id], stage)
        client.cancel(job_id)
        assert client.wait(job_id, timeout=60).state == "cancelled"
    last = client.wait(client.submit(*shot("copy")), timeout=60)
    assert (last.state, last.attempt) == ("done", 1), last.message
    assert [process for process in psutil.process_iter() if is_worker(process, nodes)] == [
        psutil.Process(last.facts["pid"])
    ]


def test_the_queue_names_the_machine_and_its_device_and_memory_is_freed_on_demand(start, nodes, connect, shot):
    server = start(workers=1)
    client = connect(server)
    job_id = client.submit(*shot("slow"))
    running(client, [job_id])
    peer = Raw(server.address)
    (entry,) = peer.ask(AskQueue()).running
    assert entry.device == f"{os.uname().nodename}, CPU, worker 1"
    client.cancel(job_id)
    client.wait(job_id, timeout=60)
    assert peer.ask(Unload()).freed
    until(lambda: not any(is_worker(process, nodes) for process in psutil.process_iter()))
    peer.close()


def test_a_worker_that_crashes_names_its_log_and_one_that_is_idle_gives_its_place_back(start, nodes, connect, shot):
    server = start(workers=1, idle=2.0)
    client = connect(server)
    last = client.wait(client.submit(*shot("leave")), timeout=60)
    assert last.state == "failed"
    assert "The worker process ended with code 3 while it ran this job" in last.message
    log = re.search(r"see (\S+/worker\.log) on (\S+)\.", last.message)
    assert Path(log[1]).is_relative_to(nodes.folder)
    assert Path(log[1]).exists()
    assert log[2] == os.uname().nodename
    assert client.wait(client.submit(*shot("copy")), timeout=60).state == "done"
    assert "idle for long" not in server.log
    until(lambda: "idle for long and is ended" in server.log, seconds=30)
    until(lambda: server.log.splitlines()[-1].endswith("the cluster has 2 CPUs, 2 of them free"), seconds=30)
    assert not any(is_worker(process, nodes) for process in psutil.process_iter())


def test_workers_end_with_their_server_however_that_ends(start, nodes, connect, shot):
    server = start(workers=1)
    client = connect(server)
    running(client, [client.submit(*shot("family"))])
    pids = [int(pid) for pid in (nodes.folder / MARK).read_text().split()]
    assert len(pids) == 2
    assert all(lives(pid) for pid in pids)
    server.kill()
    until(lambda: not any(lives(pid) for pid in pids), seconds=30)


def lives(pid: int) -> bool:
    """Whether a process is running; one that has ended may stay a zombie until it is reaped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_what_waits_starts_once_the_process_that_talks_to_ray_is_there_again(start, nodes, connect, shot):
    server = start(workers=1)
    client = connect(server)
    first = client.wait(client.submit(*shot("copy")), timeout=60)
    assert first.state == "done", first.message
    children = psutil.Process(server.process.pid).children()
    (driver,) = [child for child in children if "ex4d_server.cluster_driver" in child.cmdline()]
    driver.send_signal(signal.SIGKILL)
    until(lambda: not lives(first.facts["pid"]), seconds=30)
    last = client.wait(client.submit(*shot("copy")), timeout=90)
    assert last.state == "done", last.message


def test_a_cluster_that_is_open_to_everybody_is_not_used_and_a_wrong_token_is_named(server, nodes, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("ab" * 32)
    server.environment["RAY_AUTH_TOKEN_PATH"] = str(wrong)
    assert "does not accept this user's token: copy ~/.ray/auth_token from its head" in refusal(server, nodes)
    nobody = tmp_path / "open"
    nobody.mkdir()
    everybodys = Nodes(nobody, 0, token=False)
    try:
        assert "runs whatever anybody sends to it: stop it" in refusal(server, everybodys)
    finally:
        everybodys.close()


def refusal(server: ServerProcess, nodes: Nodes) -> str:
    """The last line that a server logs if it refuses to start."""
    with pytest.raises(AssertionError):
        server.start(cluster=nodes.address, workers=1)
    server.process.wait()
    return server.log.splitlines()[-1]


GPUS = """0, GPU-aaaa1111-0000-0000-0000-000000000000, NVIDIA H100 80GB HBM3
1, GPU-bbbb2222-0000-0000-0000-000000000000, NVIDIA L40S
"""


def test_where_the_cluster_has_gpus_each_worker_gets_one_and_sees_no_other(start, nodes, connect, shot):
    tool = nodes.folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{GPUS}END\n")
    tool.chmod(0o755)
    nodes.tell("add gpus 2")
    server = start(workers=None)
    client = connect(server)
    ids = [client.submit(*shot("what_it_sees")) for _ in range(2)]
    ended = [client.wait(job_id, timeout=60) for job_id in ids]
    assert [last.state for last in ended] == ["done", "done"], [last.message for last in ended]
    here = os.uname().nodename
    assert {(last.facts["device"], last.facts["sees"]) for last in ended} == {
        (f"{here}, GPU 0, NVIDIA H100 80GB HBM3", "GPU-aaaa1111-0000-0000-0000-000000000000"),
        (f"{here}, GPU 1, NVIDIA L40S", "GPU-bbbb2222-0000-0000-0000-000000000000"),
    }


class OnTwoMachines:
    """A head here and a node on another machine, each with one CPU for jobs, started with the commands in the docs."""

    def __init__(self, folder: Path, far) -> None:
        self.token = folder / "token"
        self.token.write_text(secrets.token_hex(32))
        self.address = f"{far.here}:{free_ports(1)}"
        self._log = open(folder / "ray.log", "ab")  # noqa: SIM115
        self._started = []
        here = ["--head", "--node-ip-address", far.here, "--port", self.address.rsplit(":", 1)[1]]
        self._start(folder / "here", [], [*here, "--include-dashboard=false"])
        self._wait_until_started(1)
        self._start(folder / "there", far.on_it, ["--address", self.address, "--node-ip-address", far.ip])
        self._wait_until_started(2)

    def _wait_until_started(self, count: int) -> None:
        until(lambda: Path(self._log.name).read_text().count("Ray runtime started") == count, seconds=START_SECONDS)

    def _start(self, place: Path, prefix: list[str], options: list[str]) -> None:
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--object-store-memory=80000000"]
        about = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token), "RAY_USAGE_STATS_ENABLED": "0"}
        about |= {"EX4D_CLUSTER_FOLDER": str(place), "PYTHONPATH": str(HERE)}
        command = [*prefix, *ray, "--block", *options]
        self._started.append(subprocess.Popen(command, env={**os.environ, **about}, stdout=self._log, stderr=self._log))

    def close(self) -> None:
        family = [child for ray in self._started for child in psutil.Process(ray.pid).children(recursive=True)]
        for process in self._started:
            process.kill()
            process.wait()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._log.close()


def free_ports(count: int) -> int:
    """The first of `count` consecutive free ports."""
    for first in range(20000 + os.getpid() % 5000, 32000, count):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                stack.enter_context(socket.create_server(("", port)))
            return first
    raise AssertionError("no free ports")


@pytest.fixture
def two_machines(tmp_path, far):
    machines = OnTwoMachines(tmp_path, far)
    yield machines
    machines.close()


def test_a_machine_whose_cable_is_pulled_in_the_middle_of_a_job_costs_one_attempt(
    two_machines, server, far, tmp_path, connect, shot
):
    authorize(server.state, shown_key(KeyPair.new().public), "anna")  # it does not start unless somebody is let in
    server.environment["RAY_AUTH_TOKEN_PATH"] = str(two_machines.token)
    server.address = f"tcp://{far.here}:{free_ports(4)}"
    server.start(cluster=two_machines.address, workers=2, beat=5.0)
    client = connect(server)
    job, files = shot("copy_slowly", content=os.urandom(1 << 20))
    ids = [client.submit(job, files) for _ in range(2)]
    running(client, ids)
    far.pull_the_cable()
    ended = [client.wait(job_id, timeout=100) for job_id in ids]
    assert [last.state for last in ended] == ["done", "done"], [last.message for last in ended]
    assert sorted(last.attempt for last in ended) == [1, 2]
    assert re.findall(r"worker \d on \S+ did not answer for \d s", server.log)
    far.pull_the_cable(False)
    assert sorted(ends(server, ids).values()) == [[("done", 1)], [("done", 2)]]
