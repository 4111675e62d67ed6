"""A server whose workers run tests/backend/runners.py: python serve.py ADDRESS STATE [OPTIONS as JSON].

Options: fields of `Deadlines`, "linger", "file_limit" (bytes), "descriptors" (the hard limit), "soft_descriptors" (the
soft limit to begin with), "workers", "cluster" (an address), "runner", "far" (a folder: workers run as on a cluster,
but without a cluster).
"""

import json
import logging
import os
import resource
import sys
import tempfile
from pathlib import Path

from ex4d_server import server
from ex4d_server.devices import Device
from ex4d_server.executor import Deadlines
from ex4d_server.server import serve
from ex4d_server.worker_process import Room, WorkerProcess

from ex4d.errors import EX4DError
from ex4d.jobs.keys import KeyPair


class HereCluster:
    """Stands in for a cluster: its workers run here in their own folders, and know nothing of the server's folder."""

    unit, total, free, here, others = "CPU", 9, 9, "127.0.0.1", ()

    def __init__(self, address: str, state: Path, runner: str, clock) -> None:
        self._folder, self._runner = Path(address), runner

    def start_worker(self, whom):
        folder = Path(tempfile.mkdtemp(prefix="worker-", dir=self._folder))
        room = Room(folder, 1, Device("elsewhere, CPU"), folder / "worker.log", f"{folder / 'worker.log'} elsewhere")
        return WorkerProcess.start(room, KeyPair.new(), whom, "--runner", self._runner, "--far", base=os.environ)

    def close(self) -> None:
        pass


if __name__ == "__main__":
    address, state = sys.argv[1:3]
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    if (soft := options.pop("soft_descriptors", None)) is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for name, limit in (("file_limit", resource.RLIMIT_FSIZE), ("descriptors", resource.RLIMIT_NOFILE)):
        if (value := options.pop(name, None)) is not None:
            resource.setrlimit(limit, (value, value))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for the workers, which import `runners`
    linger, workers, cluster = (options.pop(name, None) for name in ("linger", "workers", "cluster"))
    if (far := options.pop("far", None)) is not None:
        server.Cluster, cluster = HereCluster, far
    runner = options.pop("runner", "runners:make")
    try:
        serve(
            address,
            Path(state),
            runner=runner,
            deadlines=Deadlines(**options),
            workers=workers,
            cluster=cluster,
            linger=linger,
        )
    except EX4DError as error:
        sys.exit(str(error))
