"""One worker compared with three, on one machine without a GPU: `python benchmarks/several_workers.py`.

Nine jobs from three clients: first jobs that wait for a second and use no CPU time, then previews of a clip, which use
all of it. Prints seconds from the first submission to the last take, both sides in one run, and whose jobs finished
first.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ex4d_server.server import serve
from over_server import clip

from ex4d.jobs.client import Client
from ex4d.pipeline.requests import Blob, Generate, Job, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings
from ex4d.progress import Progress

CLIENTS, JOBS = 3, 3


def make() -> Callable:
    """Called once by a worker."""
    return wait


def wait(job: Job, locate: Callable[[Blob], Path], out: Path, progress: Progress) -> dict:
    """A job of one second."""
    for step in range(1, 11):
        time.sleep(0.1)
        progress("Waiting", step, 10)
    return {}


@contextmanager
def serving(folder: Path, workers: int, runner: str) -> Iterator[str]:
    """Run a server until the context ends; gives its address."""
    command = [sys.executable, __file__, str(folder / "state"), str(workers), runner]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def measured(workers: int, runner: str, label: str) -> float:
    """Seconds for nine jobs, with processes that are already running; prints a line about them."""
    with TemporaryDirectory() as folder:
        source, files = clip(Path(folder))
        with serving(Path(folder), workers, runner) as address:
            clients = [Client(address, Path(folder) / f"takes{number}") for number in range(CLIENTS)]
            run(clients[:1], source, files, workers)
            began = time.monotonic()
            run(clients, source, files, JOBS)
            seconds = time.monotonic() - began
            for client in clients:
                client.close()
    print(f"{label:9} {workers} workers: {CLIENTS * JOBS} jobs in {seconds:.1f} s", flush=True)
    return seconds


def run(clients: list[Client], source: Source, files: dict[str, Path], jobs: int) -> None:
    """Run `jobs` jobs per client, all submitted before waiting for the first."""
    waiting = []
    for number in range(jobs):
        wanted = GenerateSettings(generator="preview", seed=number)
        job = Generate(source, preset=PathSettings(cam="30"), generation=wanted)
        waiting += [(client, client.submit(job, files)) for client in clients]
    done: set[str] = set()
    while len(done) < len(waiting):
        for client in clients:
            for update in client.poll():
                if update.state in ("failed", "cancelled"):
                    sys.exit(f"{update.state}: {update.message}")
                if update.state == "done":
                    done.add(update.job_id)
        time.sleep(0.005)


def main() -> None:
    """Print both comparisons."""
    for runner, label in (("several_workers:make", "waiting"), ("ex4d_server.worker:pipeline", "previews")):
        one, three = (measured(workers, runner, label) for workers in (1, 3))
        print(f"{label:9} three workers take {three / one:.2f} of the time of one", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve("tcp://127.0.0.1:0", Path(sys.argv[1]), workers=int(sys.argv[2]), runner=sys.argv[3])
    else:
        main()
