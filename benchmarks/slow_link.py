"""When a take can be seen, and when all of its files have arrived, over a link of 20 Mbit/s with an 80 ms round trip.

    python benchmarks/slow_link.py [TAKE]

TAKE is the folder that `ex4d generate` leaves beside a video; without it, files of random bytes are sent that are as
large as those of 49 frames of 1920x1080. Needs Linux and root, because the other machine is a network namespace.
"""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "backend"))

from another_host import AnotherHost, another_host, why_not  # type: ignore[import-not-found]
from ex4d_server import access
from server_process import ServerProcess  # type: ignore[import-not-found]

from ex4d.jobs import hosts
from ex4d.jobs.client import Client, JobUpdate
from ex4d.jobs.keys import client_keys, shown_key
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Generate, Source

SIZES = {"colour": 13_391_116, "generated": 7_636_855, "mask": 924_345, "result": 13_682_278}
"""Sizes in bytes for a take of 49 frames of hand-held footage with grain."""
RATE, SECONDS = "20mbit", 0.04


def files_in(folder: Path, take: Path | None) -> list[Path]:
    """The files that the worker returns as a take."""
    if take is not None:
        return [path for path in sorted(take.iterdir()) if path.suffix == ".mp4"]
    for name, size in SIZES.items():
        (folder / f"{name}.mp4").write_bytes(os.urandom(size))
    return [folder / f"{name}.mp4" for name in SIZES]


def main() -> None:
    """Print the times."""
    if why := why_not():
        sys.exit(f"{why}.")
    with TemporaryDirectory() as temporary, another_host() as far:
        folder = Path(temporary)
        os.environ["XDG_CONFIG_HOME"] = str(folder / "laptop")
        server = ServerProcess(folder, far.on_it, {"XDG_CONFIG_HOME": str(folder / "box")})
        server.address = f"tcp://{far.ip}:5760"
        access.authorize(server.state, shown_key(hosts.own_pair().public), "anna")
        try:
            server.start()
            measure(server, folder, far, files_in(folder, Path(sys.argv[1]) if len(sys.argv) > 1 else None))
        finally:
            server.close()


def measure(server: ServerProcess, folder: Path, far: AnotherHost, paths: list[Path]) -> None:
    """Have the files sent here once, over the slow link. The upload is fast, because it is measured elsewhere."""
    keys = client_keys(server.state)
    assert keys is not None
    known = hosts.KnownServer("box", f"tcp://{far.here}:5760", keys.server)
    hosts.add(known)
    clip = folder / "whole_take.mp4"
    clip.write_bytes(b"".join(path.read_bytes() for path in paths[:1]))
    blobs = tuple(blob_of(path) for path in (clip, *paths))
    job = Generate(Source(blobs, (blobs[0],)), blobs[0])
    begun = 0.0
    with far.long_way((5760, 5761), SECONDS):
        client = Client(known.address, folder / "downloads", known=known, proxies=True)
        job_id = client.submit(job, {blob.sha256: path for blob, path in zip(blobs, (clip, *paths), strict=True)})

        def note(update: JobUpdate) -> None:
            nonlocal begun
            if update.state == "downloading" and not begun:
                begun = time.monotonic()
            if update.state == "downloading" and update.proxy is not None and "first" not in seen:
                seen["first"] = time.monotonic() - begun
            if update.state == "running" and "slow" not in seen:
                seen["slow"] = 0.0
                far.slow_down(RATE)

        seen: dict[str, float] = {}
        last = client.wait(job_id, note)
        assert last.state == "done", last.message
        whole = time.monotonic() - begun
        client.close()
    size = sum(path.stat().st_size for path in paths)
    print(
        f"{size / 1e6:.1f} MB at {RATE}, {2000 * SECONDS:.0f} ms: the proxy is here after {seen['first']:.1f} s,",
        end=" ",
    )
    print(f"all files after {whole:.1f} s")


if __name__ == "__main__":
    main()
