"""Hostile messages to every port of a server, from strangers and from a client of its user, while honest jobs run.

    python benchmarks/hostile.py [MESSAGES]

Half of the messages come from clients with the right key for the port, the others from clients without one: with an
unknown key, without encryption, and without ZeroMQ. Prints how many honest jobs were served, how many messages the
server answered, and by how much its memory grew, and a progress line for every 50,000 messages.
"""

import contextlib
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import zmq
from ex4d_server.orders import KEYS_VARIABLE, STATE_VARIABLE, Beat, Failed, Finished, Ready, Step, Stopped
from ex4d_server.platform import processes_with
from transfer import serving

from ex4d.jobs.client import Client
from ex4d.jobs.codec import encode
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys, find_state
from ex4d.jobs.messages import PROTOCOL_VERSION, Cancel, Follow, Get, Hello, Look, Ping, Put, Result, Unload
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source

JOB = "00000000-0000-4000-8000-000000000000"
IN_A_ROW = 200
"""Messages on one connection."""
ANSWER_MS = 200
"""How long a client with a key waits for the next answer; there is none after a closed connection, or from a worker."""
EACH = 50_000
"""Messages between two lines of progress."""
SAMPLE_SECONDS = 0.1


class Tally:
    """Counts of what was sent and answered so far, updated by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent = self.answered = self.connections = 0

    def add(self, sent: int, answered: int = 0) -> None:
        """Add the counts of one connection."""
        with self._lock:
            self.sent, self.answered = self.sent + sent, self.answered + answered
            self.connections += 1


class Memory:
    """The memory of a process, polled by a thread: growth since the start, now and at most, in bytes."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._first, self._end = process, process.memory_info().rss, threading.Event()
        self.grown = self.most = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            self.grown = self._process.memory_info().rss - self._first
            self.most = max(self.most, self.grown)

    def stop(self) -> None:
        """Stop the thread; `most` stays."""
        self._end.set()
        self._thread.join()


def message(chance: random.Random) -> list[bytes]:
    """A random message: garbage, valid messages of all kinds, damaged ones, many frames."""
    sha256 = f"{chance.getrandbits(256):064x}"
    good = [
        *(Hello(PROTOCOL_VERSION, "x"), Follow(JOB, 0), Cancel(JOB), Unload(), Ping(), Get(sha256, 0)),
        *(Put(sha256, 10, 0), Ready("x"), Beat("x"), Step(1, "s", 1, 1, 0.0), Finished(1, Result({}, ()))),
        *(Failed(1, "m"), Stopped(1), Look(1, sha256, 0, (0.0,) * 16, (0.0,) * 16, (0.0,) * 9, 16, 16)),
    ]
    frame = encode(chance.choice(good))
    kind = chance.randrange(5)
    if kind == 0:
        return [chance.randbytes(chance.randrange(400))]
    if kind == 1:
        place = chance.randrange(len(frame))
        return [frame[:place] + chance.randbytes(1) + frame[place + 1 :]]
    if kind == 2:
        return [frame] * chance.randrange(2, 12)
    return [frame, b"x" * 10] if chance.random() < 0.3 else [frame]


def worker_keys(state: Path) -> ClientKeys | None:
    """Keys of the current worker, None if there is none; `Unload` ends a worker, and the next one has other keys."""
    for worker in processes_with(STATE_VARIABLE, str(state)):
        with contextlib.suppress(psutil.Error, KeyError):
            public, *pair = worker.environ()[KEYS_VARIABLE].split()
            return ClientKeys(public, KeyPair(*pair))
    return None


def blow(
    address: str,
    get_keys: Callable[[], ClientKeys | None],
    gets_in: bool,
    count: int,
    chance: random.Random,
    tally: Tally,
) -> None:
    """Send `count` messages to one port, with a new connection after every few.

    A client that is admitted closes once everything was sent and the answers, if any, have arrived; or it ends with a
    frame that is too large for most ports, so that the server closes the connection.
    """
    context = zmq.Context()
    begun = 0
    while begun < count:
        peer = context.socket(zmq.DEALER)
        peer.linger, peer.sndtimeo, peer.sndhwm = 2000 if gets_in else 50, 100, 1000
        if (keys := get_keys()) is not None:
            keys.put_on(peer)
        peer.connect(address)
        sent = answered = 0
        with contextlib.suppress(zmq.Again):  # the server has closed that connection
            for _ in range(min(IN_A_ROW, count - begun)):
                peer.send_multipart(message(chance))
                sent += 1
                while peer.poll(0):
                    peer.recv_multipart()
                    answered += 1
        while gets_in and answered < sent and peer.poll(ANSWER_MS):
            peer.recv_multipart()
            answered += 1
        with contextlib.suppress(zmq.Again):
            if chance.random() < 0.5:
                peer.send(bytes(chance.randrange(1 << 20)))
                sent += 1
        begun += max(sent, 1)
        peer.close()
        tally.add(sent, answered)
    context.destroy(linger=2000)


def blow_raw(address: str, count: int, chance: random.Random, tally: Tally) -> None:
    """The same without ZeroMQ: bytes, some of which start like its greeting."""
    host, port = address.removeprefix("tcp://").split(":")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE".ljust(24, b"\0") + bytes(32)
    for _ in range(count):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 2) as peer:
            peer.sendall(greeting[: chance.randrange(64)] + chance.randbytes(chance.randrange(2000)))
        tally.add(1)


def main(count: int = 100_000) -> int:
    """Run everything; return how many honest jobs were not served."""
    os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()
    chance, failures, served = random.Random(1), 0, 0
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as (address, process):
        folder, server = Path(name), psutil.Process(process.pid)
        clip = folder / "copy.mp4"
        client = Client(address, folder / "downloads")

        def one_job() -> str:
            clip.write_bytes(os.urandom(1000))
            blob = blob_of(clip)
            job = Reconstruct(Source((blob,), (blob,)))
            return client.wait(client.submit(job, {blob.sha256: clip}), timeout=60).state

        assert one_job() == "done"
        state = find_state(address)
        assert state is not None
        own = client_keys(state)
        assert own is not None
        assert client.server is not None
        (worker,) = processes_with(STATE_VARIABLE, str(state.resolve()))
        command = worker.cmdline()
        ports: dict[str, Callable[[], ClientKeys | None]] = {
            address: lambda: own,
            f"tcp://127.0.0.1:{client.server.bulk_port}": lambda: own,
            command[command.index("--connect") + 1]: lambda: worker_keys(state.resolve()),
        }
        stranger = ClientKeys(own.server, KeyPair.new())
        tally, threads = Tally(), []
        some = count // (6 * len(ports))

        def start(target: Callable[..., None], *arguments: Any) -> None:
            threads.append(threading.Thread(target=target, args=(*arguments, random.Random(chance.random()), tally)))

        for port, good in ports.items():
            start(blow, port, good, True, 3 * some)
            start(blow, port, lambda: stranger, False, some)
            start(blow, port, lambda: None, False, some)
            start(blow_raw, port, some)
        memory = Memory(server)
        for thread in threads:
            thread.start()
        began, told = time.monotonic(), 0

        def report() -> str:
            return (
                f"{tally.sent} messages on {tally.connections} connections, {tally.answered} answered, in"
                f" {time.monotonic() - began:.0f} s; {served - failures} of {served} honest jobs served; the server is"
                f" {memory.grown / 2**20:.0f} MiB larger than at first, {memory.most / 2**20:.0f} MiB at most"
            )

        while any(thread.is_alive() for thread in threads):
            failures += one_job() != "done"
            served += 1
            if tally.sent // EACH > told:
                told = tally.sent // EACH
                print(report(), flush=True)
        failures += one_job() != "done"
        served += 1
        memory.stop()
        client.close()
    print(report())
    return failures


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
