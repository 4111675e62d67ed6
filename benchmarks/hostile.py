"""Hostile messages over every port of a server, by strangers and by a client of its user, while honest jobs go on.

    python benchmarks/hostile.py [MESSAGES]

Prints how many honest jobs were served, and by how much the server's memory grew at most.
"""

import contextlib
import os
import random
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import zmq
from ex4d_server.orders import KEYS_VARIABLE, STATE_VARIABLE, Beat, Failed, Finished, Ready, Step, Stopped
from ex4d_server.platform import processes_with
from transfer import serving

from ex4d.jobs.client import Client
from ex4d.jobs.codec import encode
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys, find_state
from ex4d.jobs.messages import PROTOCOL_VERSION, Cancel, Follow, Get, Hello, Ping, Put, Result, Unload
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source

JOB = "00000000-0000-4000-8000-000000000000"
IN_A_ROW = 200
"""Messages on one connection."""


def message(chance: random.Random) -> list[bytes]:
    """Anything: garbage, good messages of all kinds, good ones that are damaged, many frames, large frames."""
    sha256 = f"{chance.getrandbits(256):064x}"
    good = [
        *(Hello(PROTOCOL_VERSION, "x"), Follow(JOB, 0), Cancel(JOB), Unload(), Ping(), Get(sha256, 0)),
        *(Put(sha256, 10, 0), Ready("x"), Beat("x"), Step(1, "s", 1, 1, 0.0), Finished(1, Result({}, ()))),
        *(Failed(1, "m"), Stopped(1)),
    ]
    frame = encode(chance.choice(good))
    kind = chance.randrange(6)
    if kind == 0:
        return [chance.randbytes(chance.randrange(400))]
    if kind == 1:
        place = chance.randrange(len(frame))
        return [frame[:place] + chance.randbytes(1) + frame[place + 1 :]]
    if kind == 2:
        return [frame] * chance.randrange(2, 12)
    if kind == 3 and chance.random() < 0.05:
        return [bytes(chance.randrange(1 << 20))]
    return [frame, b"x" * 10] if chance.random() < 0.3 else [frame]


def blow(address: str, keys: ClientKeys | None, count: int, chance: random.Random) -> None:
    """Send as many messages to one port, on a new connection after each few."""
    context = zmq.Context()
    sent = 0
    while sent < count:
        peer = context.socket(zmq.DEALER)
        peer.linger, peer.sndtimeo, peer.sndhwm = 50, 100, 1000
        if keys is not None:
            keys.put_on(peer)
        peer.connect(address)
        with contextlib.suppress(zmq.Again):  # the server has ended that connection
            for _ in range(IN_A_ROW):
                peer.send_multipart(message(chance))
                sent += 1
                while peer.poll(0):
                    peer.recv_multipart()
        sent += 1
        peer.close()
    context.destroy(linger=0)


def blow_raw(address: str, count: int, chance: random.Random) -> None:
    """Likewise without ZeroMQ: bytes, some of which begin as its greeting does."""
    host, port = address.removeprefix("tcp://").split(":")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE".ljust(24, b"\0") + bytes(32)
    for _ in range(count):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 2) as peer:
            peer.sendall(greeting[: chance.randrange(64)] + chance.randbytes(chance.randrange(2000)))


def main(count: int = 100_000) -> int:
    """Run it all; returns how many honest jobs were not served."""
    os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()
    chance, failures, served, peak = random.Random(1), 0, 0, 0
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
        public, *pair = worker.environ()[KEYS_VARIABLE].split()
        command = worker.cmdline()
        ports = {
            address: own,
            f"tcp://127.0.0.1:{client.server.bulk_port}": own,
            command[command.index("--connect") + 1]: ClientKeys(public, KeyPair(*pair)),
        }
        threads = []
        each = count // (4 * len(ports))
        for port, good in ports.items():
            stranger = ClientKeys(own.server, KeyPair.new())
            for keys in (good, stranger, None):
                threads.append(threading.Thread(target=blow, args=(port, keys, each, random.Random(chance.random()))))
            threads.append(threading.Thread(target=blow_raw, args=(port, each, random.Random(chance.random()))))
        before = server.memory_info().rss
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            failures += one_job() != "done"
            served += 1
            peak = max(peak, server.memory_info().rss - before)
        failures += one_job() != "done"
        seconds = time.monotonic() - began
        client.close()
    print(
        f"{each * len(threads)} messages in {seconds:.0f} s: {served - failures} of {served} honest jobs served,"
        f" the server grew by {peak >> 20} MiB at most"
    )
    return failures


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
