"""How fast a file goes from the client to the server on this machine: python benchmarks/transfer.py [MIB]."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from ex4d.jobs.client import Client
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source


def main(mib: int = 256) -> None:
    """Send a file of random bytes to a fresh server and print the rate, hashing and fsync on the server included."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        with open(clip, "wb") as file:
            for _ in range(mib):
                file.write(os.urandom(1 << 20))
        blob = blob_of(clip)
        command = [
            *(sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0"),
            "--state",
            str(folder / "s"),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            try:
                assert server.stdout
                client = Client(server.stdout.readline().split()[-1], folder / "downloads")
                while client.status != "ready":
                    client.poll()
                began = time.perf_counter()
                job_id = client.submit(Reconstruct(Source((blob,), (blob,))), {blob.sha256: clip})
                states: set[str] = set()
                while not states & {"queued", "running", "failed"}:
                    states |= {update.state for update in client.poll(0.05)}
                seconds = time.perf_counter() - began
                client.cancel(job_id)
                client.close()
            finally:
                server.terminate()
    print(f"upload over loopback: {mib / seconds:.0f} MiB/s ({mib} MiB in {seconds:.2f} s)")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
