"""The Ray actor on a machine of a cluster, which starts and ends the worker process there.

The worker is the same program as on the server's own machine. Its messages and its jobs' files go to the server
directly, under a key pair made here, of which only the public key goes through Ray.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import IO

import platformdirs

from ex4d import __version__
from ex4d.jobs.keys import KeyPair
from ex4d_server.devices import PROCESSOR, THREADS, VISIBLE, Device, devices
from ex4d_server.local import end_leavings
from ex4d_server.platform import host, remove_tree
from ex4d_server.worker_process import Room, Whom, WorkerProcess

FOLDER_VARIABLE = "EX4D_CLUSTER_FOLDER"
"""Environment variable of Ray on a machine: the folder for its workers, if not in the user's cache."""
WAIT_SECONDS = 1.0
MOST_WORKERS = 1000


class Holder:
    """Owns one worker process, which ends when this object's process does.

    Args:
        on_gpu: whether Ray has assigned a GPU, which is then named in CUDA_VISIBLE_DEVICES.
    """

    def __init__(self, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._keys = KeyPair.new()
        folder, number, self._lock = claim(room_for_workers())
        device, log = self._device(number), folder / "worker.log"
        self._room = Room(folder, 1, device, log, f"{log} on {gethostname()}")
        self._room.begin_log()
        self._worker: WorkerProcess | None = None

    def _device(self, number: int) -> Device:
        if self._on_gpu:
            (device,) = devices(1)
        else:
            device = Device(f"{PROCESSOR.title}, worker {number}", {VISIBLE: ""})
        return replace(device, title=f"{gethostname()}, {device.title}")

    def settle(self) -> dict[str, str]:
        """What the server has to know before the worker starts: host, device, log, public key, EX-4D version."""
        return {
            "host": gethostname(),
            "device": self._room.device.title,
            "log": self._room.log_said,
            "key": self._keys.public,
            "version": __version__,
        }

    def start(self, address: str, key: str, token: str, runner: str, workers: int) -> str | None:
        """Start the worker; returns None, or why it could not be started, phrased as in `WorkerProcess.poll`.

        Args:
            address, key, token: of the server, see `Whom`.
            runner: see `ex4d_server.worker`.
            workers: how many may run on this machine without GPUs, where they share the cores.
        """
        base = environment(os.environ, None if self._on_gpu else workers)
        whom = Whom(address, key, token)
        try:
            self._worker = WorkerProcess.start(self._room, self._keys, whom, "--runner", runner, "--far", base=base)
        except OSError as error:
            return f"could not be started ({error})"
        return None

    def wait(self) -> str | None:
        """How the worker ended, see `WorkerProcess.poll`; None if it is still running after a second.

        Ray ends an actor whose owner is gone only when no call is pending, so calls must be short.
        """
        return self._worker.wait(WAIT_SECONDS) if self._worker else None

    def ask_to_end(self) -> None:
        """Ask the worker to end."""
        if self._worker:
            self._worker.ask_to_end()

    def end(self) -> None:
        """Kill the worker and everything it started."""
        if self._worker:
            self._worker.kill()


def environment(given: Mapping[str, str], sharing: int | None) -> dict[str, str]:
    """The environment of a worker: that of Ray's process without Ray's own variables.

    Args:
        given: of Ray's process.
        sharing: how many workers share the cores; None if each has a GPU.
    """
    # Ray sets the first of THREADS to the number of CPUs that the actor requested, which is one or none.
    base = {name: value for name, value in given.items() if not name.startswith("RAY_") and name != THREADS[0]}
    if sharing is not None:
        share = str(max(1, (os.cpu_count() or 1) // max(sharing, 1)))
        base = {**dict.fromkeys(THREADS, share), **base}
    return base


def room_for_workers() -> Path:
    """The folder for all workers on this machine."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("ex4d") / "cluster"


def claim(base: Path) -> tuple[Path, int, IO[str]]:
    """A folder that no other worker uses, its number, and the lock that protects it. Files fetched earlier are kept.

    Raises:
        OSError: a folder cannot be made, or all of them are in use.
    """
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, MOST_WORKERS + 1):
        folder = base / f"worker-{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = open(folder / "lock", "a")  # noqa: SIM115 - held as long as the actor lives
        if host.lock(lock):
            end_leavings(folder)
            remove_tree(folder / "work")
            return folder, number, lock
        lock.close()
    raise OSError(f"{base} has {MOST_WORKERS} workers already")
