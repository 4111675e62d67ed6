"""Workers on this machine: a process on each device, and their executors."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from ex4d.jobs.keys import KeyPair
from ex4d_server.devices import PROCESSOR, Device
from ex4d_server.executor import Deadlines
from ex4d_server.gate import Gate
from ex4d_server.orders import STATE_VARIABLE, log_name
from ex4d_server.platform import kill_all, processes_with
from ex4d_server.worker_executor import WorkerExecutor
from ex4d_server.worker_process import ORPHAN_SECONDS, Room, Whom, WorkerProcess

log = logging.getLogger("ex4d.server")


class LocalLauncher:
    """Starts a worker process on a device of this machine, see `Launcher`.

    Args:
        state: the state folder, absolute.
        device: what the worker runs on.
        number: of this worker, from 1.
        runner: "module:function" that returns the function the worker calls for each job.
    """

    def __init__(self, state: Path, device: Device, number: int, runner: str) -> None:
        self._runner = runner
        name = log_name(number)
        self._room = Room(state, number, device, state / "logs" / name, f"logs/{name} in the server's state folder")
        self._room.begin_log()

    def can_launch(self) -> bool:
        """See `Launcher`."""
        return True

    def launch(self, whom: Whom) -> WorkerProcess:
        """See `Launcher`."""
        found = WorkerProcess.start(self._room, KeyPair.new(), whom, "--runner", self._runner, base=os.environ)
        log.info("%s started on %s", found.name, found.device)
        return found


def local_executor(
    context: zmq.Context,
    gate: Gate,
    state: Path,
    device: Device = PROCESSOR,
    number: int = 1,
    *,
    runner: str = "ex4d_server.worker:pipeline",
    wants_proxy: Callable[[str], bool] = lambda owner: False,
    deadlines: Deadlines | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> WorkerExecutor:
    """The executor for a worker on this machine, see `LocalLauncher` and `WorkerExecutor`."""
    launcher = LocalLauncher(state, device, number, runner)
    return WorkerExecutor(context, gate, launcher, number, wants_proxy=wants_proxy, deadlines=deadlines, clock=clock)


def end_leavings(state: Path) -> None:
    """End processes left behind by a server that was killed, which may have had more workers than this one."""
    kill_all(processes_with(STATE_VARIABLE, str(state.resolve())), ORPHAN_SECONDS)
