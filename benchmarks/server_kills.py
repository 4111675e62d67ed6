"""Jobs while workers, server and client are killed at random moments: python benchmarks/server_kills.py [KILLS] [SEED]
[WORKERS]. As many jobs run at a time as there are workers, one by default; a kill hits one worker and one client.

Every job that a server has accepted must end as done, once, with the right bytes. Prints what was killed and what was
lost, done twice or wrong; the exit code is 1 if anything was.
"""

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from ex4d_server.executor import Deadlines
from ex4d_server.orders import STATE_VARIABLE
from ex4d_server.platform import kill_all, processes_with
from ex4d_server.server import serve

from ex4d.jobs.client import Client
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Job, Reconstruct, Source
from ex4d.progress import Progress

TARGETS = ("worker", "server", "client", "stopped worker", "stopped worker, then server")
CLIP_BYTES = 2 << 20
BEAT_SECONDS = 5.0
"""Time after which a worker counts as stopped; it must be longer than a worker takes to start on a busy machine, which
exceeded 2 s with seven programs competing for each core."""
PATIENCE_S = 60.0


def make() -> Callable:
    """Called once by the worker."""
    return run


def run(job: Job, locate: Callable[[Blob], Path], out: Path, progress: Progress) -> dict:
    """A job of half a second whose result is its clip, reversed."""
    assert isinstance(job, Reconstruct)
    content = locate(job.source.clip[0]).read_bytes()
    for stage in ("read", "render", "write"):
        for step in range(1, 16):
            progress(stage, step, 15)
            time.sleep(0.01)
    (out / "result.bin").write_bytes(content[::-1])
    return {"bytes": len(content)}


def be_client(address: str, folder: Path, job_id: str, clip: Path) -> None:
    """Submit the job or resume it until it has ended; this process may be killed at any time."""
    blob = blob_of(clip)
    client = Client(address, folder)
    client.submit(Reconstruct(Source((blob,), (blob,))), {blob.sha256: clip}, job_id=job_id)
    last = client.wait(job_id, timeout=PATIENCE_S)
    client.close()
    print(last.state, last.message, flush=True)


class Bench:
    """A server process that is restarted after each kill, and client processes."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.most = workers
        self.folder, self.state = folder, folder / "state"
        self.address = "tcp://127.0.0.1:0"
        self.log = open(folder / "server.log", "ab")  # noqa: SIM115 - as long as there are servers
        self.start()

    def start(self) -> None:
        """Start the server, or restart it at the same address."""
        self.server = subprocess.Popen(
            [sys.executable, __file__, "serve", self.address, str(self.state), str(self.most)],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        found = re.search(r"tcp://\S+", line)
        assert found, f"the server did not start: {line!r}"
        self.address = found[0]

    def kill_server(self) -> None:
        """Kill the server and restart it."""
        self.server.kill()
        self.server.wait()
        assert self.server.stdout is not None
        self.server.stdout.close()
        self.start()

    def client(self, job_id: str) -> subprocess.Popen:
        """A client process that waits for this job; its clip has the name of the job."""
        clip = self.folder / f"{job_id}.mp4"
        command = [sys.executable, __file__, "client", self.address, str(self.folder / "downloads"), job_id, str(clip)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return processes_with(STATE_VARIABLE, str(self.state))

    def close(self) -> None:
        """End all processes."""
        self.server.terminate()
        self.server.wait()
        assert self.server.stdout is not None
        self.server.stdout.close()
        self.log.close()


def one(bench: Bench, target: str, chance: random.Random, lasts: float) -> str:
    """Run a job for each worker with one kill; return what is wrong with how they ended, or nothing."""
    ids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(bench.most)]
    for job_id in ids:
        (bench.folder / f"{job_id}.mp4").write_bytes(chance.randbytes(CLIP_BYTES))
    clients = [bench.client(job_id) for job_id in ids]
    time.sleep(chance.uniform(0.1, lasts))
    workers = bench.workers()
    if target == "client":
        clients[0].kill()
        clients[0].wait()
        assert clients[0].stdout is not None
        clients[0].stdout.close()
        clients[0] = bench.client(ids[0])
    elif target == "worker" and workers:
        kill_all([chance.choice(workers)], 5)
    elif target.startswith("stopped") and workers:
        with suppress(psutil.Error):
            chance.choice(workers).suspend()
    if target.endswith("server"):
        bench.kill_server()
    said = [ending(bench, client, job_id) for client, job_id in zip(clients, ids, strict=True)]
    for job_id in ids:
        (bench.folder / f"{job_id}.mp4").unlink()
    return "; ".join(filter(None, said))


def ending(bench: Bench, client: subprocess.Popen, job_id: str) -> str:
    """What is wrong with the end of a job, or nothing."""
    try:
        said, _ = client.communicate(timeout=PATIENCE_S + 10)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        return f"lost: nothing came of {job_id}"
    if not said.startswith("done"):
        return f"lost: {said.strip()}"
    result = bench.folder / "downloads" / job_id / "result.bin"
    if not result.exists():
        return "done, but its file is missing"
    right = (bench.folder / f"{job_id}.mp4").read_bytes()[::-1]
    return "" if result.read_bytes() == right else "wrong bytes"


def main(kills: int = 200, seed: int = 0, workers: int = 1) -> int:
    """Kill and count."""
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    wrong, slowest = [], 0.0
    with TemporaryDirectory(prefix="ex4d-kills-") as name:
        bench = Bench(Path(name), workers)
        try:
            began = time.monotonic()
            assert one(bench, "nothing", chance, 0.2) == ""
            lasts = time.monotonic() - began
            for number in range(kills):
                target = chance.choice(TARGETS)
                killed[target] += 1
                began = time.monotonic()
                if said := one(bench, target, chance, lasts):
                    wrong.append(f"kill {number} ({target}): {said}")
                    print(wrong[-1], flush=True)
                slowest = max(slowest, time.monotonic() - began)
                if len(bench.workers()) > workers:
                    wrong.append(f"kill {number} ({target}): {len(bench.workers())} workers")
        finally:
            bench.close()
        with sqlite3.connect(bench.state / "journal.sqlite") as journal:
            jobs = journal.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
            twice = journal.execute(
                "SELECT job FROM events WHERE state IN ('done', 'failed', 'cancelled') GROUP BY job HAVING count(*) > 1"
            ).fetchall()
        journal.close()
        left = len(list((bench.state / "work").glob("*"))) + len(bench.workers())
    print(
        f"{kills} kills, {workers} workers: "
        + ", ".join(f"{target} {count}" for target, count in sorted(killed.items()))
    )
    print(f"{len(wrong)} lost or wrong, {len(twice)} ended twice, {left} folders or processes left")
    print(f"jobs in the journal: {dict(jobs)}; the slowest job took {slowest:.1f} s, one without a kill {lasts:.1f} s")
    return int(bool(wrong or twice or left))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", address, state, workers]:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            serve(
                address,
                Path(state),
                runner="server_kills:make",
                deadlines=Deadlines(beat=BEAT_SECONDS),
                workers=int(workers),
            )
        case ["client", address, folder, job_id, clip]:
            be_client(address, Path(folder), job_id, Path(clip))
        case numbers:
            sys.exit(main(*(int(number) for number in numbers)))
