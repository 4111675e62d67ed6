"""Cut the connection at random bytes during transfers, and count what is lost: python benchmarks/cuts.py [N].

N cuts of downloads, half as many of uploads, and a tenth as many kills of the server during downloads. The proxy is
the one of the tests, which do the same a few times.
"""

import contextlib
import os
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from transfer import SHM, serving

from ex4d.jobs.client import Client, JobUpdate
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "backend"))
from proxy import Proxy  # type: ignore[import-not-found]

SIZES = (3 << 20, 1, 5 << 20, 0, 700_000)


def clips(folder: Path, chance: random.Random) -> tuple[Reconstruct, dict[str, Path]]:
    """A job whose results are its own files."""
    files = {}
    for i, size in enumerate(SIZES):
        path = folder / f"clip_{i}.mp4"
        path.write_bytes(chance.randbytes(size) if size else b"")
        files[blob_of(path)] = path
    return Reconstruct(Source(tuple(files), (next(iter(files)),))), {blob.sha256: path for blob, path in files.items()}


def wrong(last: JobUpdate, files: dict[str, Path]) -> str:
    """What is missing from a result; empty if it is complete."""
    if last.state != "done":
        return f"{last.state}: {last.message}"
    for path in files.values():
        if path.name not in last.files or last.files[path.name].read_bytes() != path.read_bytes():
            return f"done, but {path.name} is not there or not right"
    return ""


def finish(client: Client, job_id: str) -> JobUpdate:
    """Poll like the add-on until the job has ended, if it has not already; return its last update."""
    end = time.monotonic() + 60
    while not client._jobs[job_id].update.ended:
        if time.monotonic() > end:
            raise RuntimeError(f"the job did not end in a minute: {client._jobs[job_id].update}")
        client.poll()
        time.sleep(0.002)
    return client._jobs[job_id].update


def cut(direction: str, count: int, folder: Path, chance: random.Random) -> list[str]:
    """Cut `count` times in one direction; return what went wrong."""
    failures, cuts, jobs = [], 0, 0
    with serving(folder) as (address, _), contextlib.closing(Proxy(address)) as proxy:
        while cuts < count:
            job, files = clips(folder, chance)
            with contextlib.closing(
                Client(proxy.address, folder / f"downloads_{jobs}", same_disk=False, state=folder / "state")
            ) as client:
                before = proxy.cuts
                job_id = client.submit(job, files)
                proxy.cut_each(direction, (chance.randrange(1, 2_500_000) for _ in range(10)))
                if problem := wrong(finish(client, job_id), files):
                    failures.append(problem)
                proxy.cut_each(direction, ())
                cuts, jobs = cuts + proxy.cuts - before, jobs + 1
    print(f"{cuts} cuts {direction} in {jobs} jobs: {len(failures)} failures", flush=True)
    return failures


def kills(count: int, folder: Path, chance: random.Random) -> list[str]:
    """Kill the server `count` times in the middle of a download; return what went wrong."""
    failures = []
    address = "tcp://127.0.0.1:0"
    job, files = clips(folder, chance)
    for i in range(count):
        with contextlib.ExitStack() as stack:
            address, process = stack.enter_context(serving(folder, address))
            client = stack.enter_context(
                contextlib.closing(Client(address, folder / f"downloads_{i}", same_disk=bool(i % 2)))
            )
            job_id, wanted = client.submit(job, files), chance.randrange(sum(SIZES))
            while not any(update.stage == "download" and update.step >= wanted for update in client.poll(0)):
                if client._jobs[job_id].update.ended:
                    break
            process.kill()
            process.wait()
            with serving(folder, address):
                if problem := wrong(finish(client, job_id), files):
                    failures.append(problem)
    print(f"{count} kills of the server during downloads: {len(failures)} failures", flush=True)
    return failures


def main(count: int = 200, seed: int | None = None) -> int:
    """Run everything; return the number of failures."""
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    print(f"seed {seed}")
    chance, failures = random.Random(seed), []
    for what in (
        lambda folder: cut("down", count, folder, chance),
        lambda folder: cut("up", count // 2, folder, chance),
        lambda folder: kills(count // 10, folder, chance),
    ):
        with TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as name:
            failures += what(Path(name))
    for failure in failures:
        print(failure)
    return len(failures)


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
