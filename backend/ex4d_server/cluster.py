"""Workers on the machines of a Ray cluster: the server's side of `ex4d_server.cluster_driver`.

Ray manages processes and knows which machines there are; which job runs, and whether it is retried, only the journal
decides. Messages and files of workers do not go through Ray.
"""

import json
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import zmq

from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.jobs.address import EVERYWHERE, is_loopback
from ex4d_server.executor import Deadlines
from ex4d_server.gate import Gate
from ex4d_server.launcher import Door
from ex4d_server.lent_files import LentFiles
from ex4d_server.orders import STATE_VARIABLE
from ex4d_server.platform import host
from ex4d_server.worker_executor import WorkerExecutor
from ex4d_server.worker_process import Whom, open_log

log = logging.getLogger("ex4d.server")

START_SECONDS = 120.0
"""How long a cluster may take to answer when the server starts."""
AGAIN_SECONDS = 5.0
"""Delay before the process that talks to Ray is restarted."""
CLOSE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
"""How long the head of a cluster may take to accept a connection."""
LOG_NAME = "cluster.log"
RAY = Package("ray", "cluster")


class FarProcess:
    """A worker process on a machine of the cluster, see `Launched`."""

    def __init__(self, cluster: "Cluster", number: int, whom: Whom) -> None:
        self._cluster, self._number, self._whom = cluster, number, whom
        self._how: str | None = None
        self._is_killed = False
        self.host = self.device = self.public = ""
        self.log_said = f"logs/{LOG_NAME} in the server's state folder"
        self.waits, self.has_machine, self.has_begun = True, False, False

    @property
    def name(self) -> str:
        """See `Launched`."""
        return f"worker {self._number} on {self.host or 'no machine yet'}"

    def poll(self) -> str | None:
        """See `Launched`."""
        self._cluster.read()
        return self._how

    def ask_to_end(self) -> None:
        """See `Launched`."""
        self._cluster.send(order="kill" if self.waits else "ask_to_end", worker=self._number)

    def kill(self) -> None:
        """See `Launched`."""
        if not self._is_killed and self._how is None:
            self._is_killed = True
            self._cluster.send(order="kill", worker=self._number)

    def found(self, machine: str) -> None:
        """Note the machine that was found for it, where it is now being prepared."""
        self.host, self.has_machine = machine, True

    def placed(self, about: dict[str, str]) -> None:
        """It is ready on its machine: accept its key, then start it."""
        self.host, self.device = about["host"], about["device"]
        self.log_said, self.public = about["log"], about["key"]
        self.waits, self.has_begun = False, True
        log.info("%s: %s", self.name, self.device)
        whom = self._whom
        self._cluster.send(order="go", worker=self._number, address=whom.address, key=whom.key, token=whom.token)

    def ended(self, how: str, has_begun: bool) -> None:
        """Note that it has ended."""
        self._how = how
        self.waits, self.has_begun = False, has_begun


class Cluster:
    """The process that talks to Ray, restarted whenever it ends.

    Args:
        address: of the cluster's head, such as "10.0.0.5:6379".
        state: the state folder, absolute.
        runner: "module:function" that returns the function workers call for each job.
        clock: monotonic seconds.

    Attributes:
        unit: the resource of which each worker takes one: "GPU" if the cluster has any, otherwise "CPU".
        total: how many of them the cluster has.
        here: the cluster's address for this machine.
        others: the addresses of other machines that have the resource.

    Raises:
        InputError: Ray is not installed, or the cluster does not answer, is open to anyone, or refuses the connection.
    """

    def __init__(self, address: str, state: Path, runner: str, clock: Callable[[], float] = time.monotonic) -> None:
        if not RAY.is_there:
            raise InputError(
                f"A cluster needs Ray, which is not installed here: {RAY.install}. If pip finds no package, Ray does"
                " not support this system or Python version: run the server on Linux."
            )
        _check_listening(address)
        self._address, self._runner = address, runner
        self._state, self._clock = state, clock
        self._numbers = count(1)
        self._workers: dict[int, FarProcess] = {}
        self._reports: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.unit, self.total, self.here, self._free, self._refused = "", 0, "", 0, ""
        self.others: list[str] = []
        self._not_before = clock()
        self._process = self._start()
        end = time.monotonic() + START_SECONDS
        while not self.unit and not self._refused and self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
            self._take_reports()
        self._take_reports()
        if not self.unit:
            self.close()
            raise InputError(self._refused or f"Ray at {address} does not answer: see logs/{LOG_NAME} in {state}.")

    @property
    def free(self) -> int:
        """How many more workers the cluster has room for."""
        self.read()
        return self._free - sum(not worker.has_machine for worker in self._workers.values())

    def start_worker(self, whom: Whom) -> FarProcess:
        """Request a worker on a machine of the cluster."""
        number = next(self._numbers)
        worker = self._workers[number] = FarProcess(self, number, whom)
        self.send(order="start", worker=number)
        return worker

    def send(self, **order: Any) -> None:
        """Send an order. If that fails, the process has ended and the order no longer matters."""
        assert self._process.stdin
        with suppress(OSError, ValueError):  # ValueError: the pipe is closed, and the next process has not started yet
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def read(self) -> None:
        """Handle pending reports, and restart the process if it has ended."""
        self._take_reports()
        if self._process.poll() is None:
            self._not_before = self._clock() + AGAIN_SECONDS
            return
        if self._free or self._workers:
            log.warning("the connection to the Ray cluster was lost: see logs/%s", LOG_NAME)
        self._free = 0
        for worker in self._workers.values():
            worker.ended("was lost with the connection to the cluster", worker.has_begun)
        self._workers = {}
        if self._clock() >= self._not_before:
            self._not_before = self._clock() + AGAIN_SECONDS
            self._end_process()
            try:
                self._process = self._start()
            except OSError as error:
                log.warning("the process that talks to Ray cannot be started: %s", error)

    def close(self) -> None:
        """End the process, and with it its workers."""
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        self._end_process()

    def _start(self) -> subprocess.Popen:
        with host.spare_descriptors(), open_log(self._state / "logs" / LOG_NAME) as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ex4d_server.cluster_driver", self._address, self._runner, self.unit],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, STATE_VARIABLE: str(self._state.resolve())},
                **host.spawn_options,
            )
        threading.Thread(target=self._listen, args=(process,), name="cluster", daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen) -> None:
        """Collect reports; runs in a thread."""
        assert process.stdout
        with process.stdout as lines:
            for line in lines:
                with suppress(ValueError):  # the truncated last line of a process that was killed
                    self._reports.put(json.loads(line))

    def _end_process(self) -> None:
        host.kill_tree(self._process)
        self._process.wait()
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()

    def _take_reports(self) -> None:
        while True:
            try:
                report = self._reports.get_nowait()
            except queue.Empty:
                return
            worker = self._workers.get(report.get("worker", 0))
            if report["report"] == "nodes":
                self.unit, self.total, self._free = report["unit"], report["total"], report["free"]
                self.here, self.others = report["here"], report["others"]
                log.info("the cluster has %d %ss, %d of them free", self.total, self.unit, self._free)
            elif report["report"] == "refused":
                self._refused = report["why"]
                log.warning("%s", self._refused)
            elif worker and report["report"] == "found":
                worker.found(report["host"])
            elif worker and report["report"] == "placed":
                worker.placed(report)
            elif worker and report["report"] == "ended":
                worker.ended(report["how"], report["begun"])
                del self._workers[report["worker"]]


class ClusterLauncher:
    """Starts worker processes on a cluster while it has room, see `Launcher`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def can_launch(self) -> bool:
        """See `Launcher`."""
        return self._cluster.free > 0

    def launch(self, whom: Whom) -> FarProcess:
        """See `Launcher`."""
        return self._cluster.start_worker(whom)


def check_reach(ip: str, cluster: Cluster) -> None:
    """Raise `InputError` if workers on other machines could not reach a server that listens on `ip`."""
    if is_loopback(ip) and cluster.others:
        raise InputError(
            f"The machines of the cluster, such as {cluster.others[0]}, cannot reach a server on {ip}: start it with"
            f" --address tcp://{EVERYWHERE}:5750."
        )


def cluster_executors(
    context: zmq.Context,
    gate: Gate,
    cluster: Cluster,
    workers: int | None,
    files: LentFiles,
    *,
    ip: str,
    after_port: int,
    wants_proxy: Callable[[str], bool] = lambda owner: False,
    deadlines: Deadlines | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[WorkerExecutor]:
    """The executors for workers on the machines of a cluster.

    Args:
        workers: how many; None for one on each GPU that the cluster has now, or a single one if it has none.
        files: how their files are transferred.
        ip: address that the server listens on.
        after_port: executors listen on the ports after this one; 0 for any free ports.
        wants_proxy: see `WorkerExecutor`.

    Raises:
        InputError: a port is taken.
    """
    number_of = workers or (cluster.total if cluster.unit == "GPU" else 1) or 1
    reached_at = cluster.here if ip == EVERYWHERE else ip
    found: list[WorkerExecutor] = []
    try:
        for number in range(1, number_of + 1):
            door = Door(ip, after_port + number if after_port else 0, reached_at)
            launcher = ClusterLauncher(cluster)
            found.append(
                WorkerExecutor(
                    context,
                    gate,
                    launcher,
                    number,
                    door=door,
                    files=files,
                    wants_proxy=wants_proxy,
                    deadlines=deadlines,
                    clock=clock,
                )
            )
    except InputError:
        for executor in found:
            executor.close()
        raise
    return found


def _check_listening(address: str) -> None:
    """Raise `InputError` if nothing listens at the address of a cluster; Ray itself would keep trying for 40 s."""
    name, _, port = address.rpartition(":")
    if not name or "/" in name or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"'{address}' is not the address of a Ray cluster: write the address of its head, such as 10.0.0.5:6379."
        )
    try:
        socket.create_connection((name, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"No Ray cluster answers at {address} ({error.strerror or error}): start one with `ray start --head`,"
            " or name the head of one that is running."
        ) from error
