"""How fast files travel between a client and a server on this machine, the cost of encryption, and the effect on
other clients.

    python benchmarks/transfer.py [MIB]

Files are in memory (/dev/shm) if there is such a folder, so that the disk is not measured.
"""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory

import zmq

from ex4d.jobs.client import Client
from ex4d.jobs.codec import encode
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys, find_state
from ex4d.jobs.limits import CHUNK_BYTES, CREDIT, MOVING_BUDGET_S, MOVING_INTERVAL_S
from ex4d.jobs.messages import PROTOCOL_VERSION, Hello, Ping
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Reconstruct, Source

ADDON_BUDGET_S, ADDON_INTERVAL_S = 0.004, 0.03
"""How the add-on polls: for this long, with this pause, unless the client is `moving` files."""
ROUNDS = 3
SHM = Path("/dev/shm")


def copy_and_hash(source: Path, copy: Path) -> float:
    """Seconds that one thread takes to copy and hash a file, one MiB at a time."""
    began, hasher = time.perf_counter(), hashlib.sha256()
    with open(source, "rb", buffering=0) as file, open(copy, "wb", buffering=0) as out:
        while data := file.read(1 << 20):
            hasher.update(data)
            out.write(data)
    return time.perf_counter() - began


@contextmanager
def serving(folder: Path, address: str = "tcp://127.0.0.1:0") -> Iterator[tuple[str, subprocess.Popen]]:
    """A server on `folder`, its address and process; its workers return the files that they are given."""
    command = [sys.executable, "-c", "import sys; from pathlib import Path; from ex4d_server.server import serve;"]
    command[-1] += "serve(sys.argv[1], Path(sys.argv[2]), runner='transfer_runner:make')"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [*command, address, str(folder / "state")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().split()[-1], server
        finally:
            server.terminate()


class Pinger:
    """Pings the server every 5 ms from a separate process, as another client would."""

    def __init__(self, address: str) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._end, self._seconds = spawning.Event(), spawning.SimpleQueue()
        self._process = spawning.Process(target=ping, args=(address, self._end, self._seconds))
        self._process.start()
        self._seconds.get()  # wait until it is connected

    def stop(self) -> list[float]:
        """Stop; return the seconds of each answer."""
        self._end.set()
        seconds = self._seconds.get()
        self._process.join()
        return seconds


def ping(address: str, end: Event, seconds: "SimpleQueue[list[float]]") -> None:
    """Ping until the end, then pass on the seconds of each answer."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    state = find_state(address)
    keys = client_keys(state) if state else None
    assert keys
    keys.put_on(socket)
    socket.connect(address)
    socket.send(encode(Hello(PROTOCOL_VERSION, "benchmark")))
    socket.recv()
    seconds.put([])
    taken = []
    while not end.wait(0.005):
        began = time.perf_counter()
        socket.send(encode(Ping()))
        socket.recv()
        taken.append(time.perf_counter() - began)
    context.destroy(linger=0)
    seconds.put(taken)


def poll(client: Client, addon: bool, polls: list[float]) -> set[str]:
    """Poll once, record it in `polls`, and pause; return the states that were reported."""
    budget, interval = (MOVING_BUDGET_S, MOVING_INTERVAL_S) if client.moving else (ADDON_BUDGET_S, ADDON_INTERVAL_S)
    began = time.perf_counter()
    updates = client.poll(budget if addon else 0.02)
    polls.append(time.perf_counter() - began)
    if addon:
        time.sleep(interval)
    else:
        client._sleep_until_readable(50)  # as `Client.wait` does
    for update in updates:
        if update.state == "failed":
            raise RuntimeError(update.message)
    return {update.state for update in updates}


def run_job(client: Client, clip: Path, addon: bool, polls: list[float]) -> tuple[float, float]:
    """Seconds for the upload and the download of a clip."""
    blob: Blob = blob_of(clip)
    began = time.perf_counter()
    client.submit(Reconstruct(Source((blob,), (blob,))), {blob.sha256: clip})
    seen: set[str] = set()
    while not seen & {"queued", "running", "downloading", "done"}:
        seen |= poll(client, addon, polls)
    up = time.perf_counter() - began
    while not seen & {"downloading", "done"}:
        seen |= poll(client, False, [])
    began = time.perf_counter()
    while "done" not in seen:
        seen |= poll(client, addon, polls)
    return up, time.perf_counter() - began


def measure(folder: Path, clip: Path, *, same_disk: bool, addon: bool, polls: list[float], pings: list[float]) -> tuple:
    """Seconds for the upload and the download of one clip, with a fresh server."""
    with serving(folder) as (address, _):
        client = Client(address, folder / "downloads", same_disk=same_disk)
        while client.status != "ready":
            client.poll()
        warm = folder / "warm.mp4"
        warm.write_bytes(os.urandom(1000))
        run_job(client, warm, False, [])  # starts the worker
        pinger = Pinger(address) if addon else None
        seconds = run_job(client, clip, addon, polls)
        if pinger:
            pings += pinger.stop()
        client.close()
    return seconds


def bare(mib: int, encrypted: bool) -> float:
    """MiB/s of chunks from one socket to another in another process, and nothing else, with the credit of a client."""
    spawning = multiprocessing.get_context("spawn")
    ports, server, own = spawning.SimpleQueue(), KeyPair.new(), KeyPair.new()
    sender = spawning.Process(target=send_chunks, args=(ports, server if encrypted else None))
    sender.start()
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    if encrypted:
        ClientKeys(server.public, own).put_on(socket)
    socket.connect(f"tcp://127.0.0.1:{ports.get()}")
    for _ in range(CREDIT):
        socket.send(b"")
    socket.recv(copy=False)  # the handshake is over
    began, chunks = time.perf_counter(), (mib << 20) // CHUNK_BYTES - 1
    for _ in range(chunks):
        socket.recv(copy=False)
        socket.send(b"")
    rate = chunks * CHUNK_BYTES / (1 << 20) / (time.perf_counter() - began)
    sender.terminate()
    sender.join()
    context.destroy(linger=0)
    return rate


def send_chunks(ports: "SimpleQueue[int]", server: KeyPair | None) -> None:
    """Answer each message with a chunk until ended."""
    socket = zmq.Context().socket(zmq.ROUTER)
    if server is not None:
        socket.curve_server, socket.curve_secretkey = True, server.secret.encode()
    ports.put(socket.bind_to_random_port("tcp://127.0.0.1"))
    chunk = os.urandom(CHUNK_BYTES)
    while True:
        peer, _ = socket.recv_multipart()
        socket.send_multipart([peer, chunk], copy=False)


def rates(mib: int = 512) -> None:
    """Print all rates beside that of copying and hashing: the best of some rounds, because other programs interfere."""
    with TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as name:
        folder = Path(name)
        clip, copy = folder / "clip.mp4", folder / "copy"
        with open(clip, "wb") as file:
            for _ in range(mib):
                file.write(os.urandom(1 << 20))
        ways = {
            "socket": {"same_disk": False, "addon": False},
            "socket, as the add-on polls": {"same_disk": False, "addon": True},
            "same disk": {"same_disk": True, "addon": False},
            "same disk, as the add-on polls": {"same_disk": True, "addon": True},
        }
        base, best = [], {title: [float("inf")] * 2 for title in ways}
        polls: dict[str, list[float]] = {title: [] for title in ways}
        pings: dict[str, list[float]] = {title: [] for title in ways}
        for _ in range(ROUNDS):
            for title, way in ways.items():
                base.append(copy_and_hash(clip, copy))
                copy.unlink()
                with TemporaryDirectory(dir=folder) as inner:
                    seconds = measure(Path(inner), clip, **way, polls=polls[title], pings=pings[title])
                best[title] = [min(pair) for pair in zip(best[title], seconds, strict=True)]
        plain, curve = (max(bare(mib, encrypted) for _ in range(ROUNDS)) for encrypted in (False, True))
        reference = mib / min(base)
        print(f"{mib} MiB, best of {ROUNDS}; copying and hashing in one thread: {reference:.0f} MiB/s")
        print(f"sockets alone: plain {plain:.0f} MiB/s, encrypted {curve:.0f} MiB/s ({curve / plain:.0%})")
        for title, (up, down) in best.items():
            up, down = mib / up, mib / down
            line = f"{title}: up {up:.0f} MiB/s ({up / reference:.0%}), down {down:.0f} MiB/s ({down / reference:.0%})"
            line += f"; longest poll {1e3 * max(polls[title]):.0f} ms"
            if heard := sorted(pings[title]):
                line += f"; ping 99 % within {1e3 * heard[int(0.99 * len(heard))]:.1f} ms ({len(heard)} pings)"
            print(line)


if __name__ == "__main__":
    rates(*(int(argument) for argument in sys.argv[1:]))
