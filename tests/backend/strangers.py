"""A server at work, and what a stranger or a client whose key was revoked may try on it."""

import contextlib
import os
import sqlite3
import time
import uuid

import zmq
from ex4d_server.orders import STATE_VARIABLE, Beat, Failed, Finished, Ready, Step, Stopped
from ex4d_server.platform import processes_with
from raw import Raw
from server_process import PATIENCE, until

from ex4d.jobs.codec import encode
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys
from ex4d.jobs.limits import CHUNK_BYTES
from ex4d.jobs.messages import (
    CLIENT_BULK,
    CLIENT_CONTROL,
    PROTOCOL_VERSION,
    AskQueue,
    Cancel,
    Fetched,
    First,
    Follow,
    Get,
    GetFile,
    Hello,
    Look,
    Missing,
    Ping,
    Pong,
    Put,
    PutFile,
    Result,
    Submit,
    Unload,
)
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source, job_hash

EYE = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


class Scene:
    """A server at work: one job done, another running, a third being sent; and the content of its journal and files."""

    def __init__(self, server, connect, shot, tmp_path) -> None:
        server.start()
        self.server, self.client = server, connect(server)
        self.done_job, self.files = shot("copy", os.urandom(300_000))
        self.done = self.client.submit(self.done_job, self.files)
        assert self.client.wait(self.done, timeout=PATIENCE).state == "done"
        self.slow_job, files = shot("slow")
        self.slow = self.client.submit(self.slow_job, files)
        until(lambda update: update.stage == "wait", self.client)
        self.content = os.urandom(2 * CHUNK_BYTES)
        path = tmp_path / "half.mp4"
        path.write_bytes(self.content)
        self.half = blob_of(path)
        own = Raw(server.address)
        job = Reconstruct(Source((self.half,), (self.half,)))
        self.half_job = Submit(str(uuid.uuid4()), job_hash(job), job)
        assert isinstance(own.ask(self.half_job), Missing)
        assert own.ask_bulk(Put(self.half.sha256, self.half.size, 0), self.content[:CHUNK_BYTES])
        own.close()
        self.public = client_keys(server.state).server
        (worker,) = processes_with(STATE_VARIABLE, str(server.state.resolve()))
        self.worker_port = worker.cmdline()[worker.cmdline().index("--connect") + 1]
        self.result = next(blob for blob in self.done_job.source.clip)

    def control(self) -> list:
        """Every message that a client can send."""
        job = Reconstruct(Source((self.result,), (self.result,)))
        messages = [
            Hello(PROTOCOL_VERSION, "stranger"),
            Submit(str(uuid.uuid4()), job_hash(job), job),
            Submit(self.slow, job_hash(self.slow_job), self.slow_job),
            *(Follow(job_id, 0) for job_id in (self.done, self.slow)),
            *(Cancel(job_id) for job_id in (self.done, self.slow)),
            Unload(),
            Look(1, self.result.sha256, 0, EYE, EYE, (9.0, 0.0, 8.0, 0.0, 9.0, 8.0, 0.0, 0.0, 1.0), 16, 16),
            Ping(),
            AskQueue(),
            *(Fetched(job_id) for job_id in (self.done, self.slow)),
            *(First(job_id, of_all) for job_id in (self.done, self.slow) for of_all in (False, True)),
        ]
        assert {type(message) for message in messages} == set(CLIENT_CONTROL)
        return [[encode(message)] for message in messages]

    def bulk(self) -> list:
        messages = [
            (Put(self.half.sha256, self.half.size, CHUNK_BYTES), self.content[CHUNK_BYTES:]),
            (Get(self.result.sha256, 0),),
            (PutFile(self.half.sha256, self.half.size, "0" * 32),),
            (GetFile(self.result.sha256, "0" * 32),),
        ]
        assert {type(message[0]) for message in messages} == set(CLIENT_BULK)
        return [[encode(message[0]), *message[1:]] for message in messages]

    @staticmethod
    def worker() -> list:
        said = [Ready("x"), Beat("x"), Step(2, "s", 1, 1, 0.0), Finished(2, Result({}, ())), Failed(2, "m"), Stopped(2)]
        return [[encode(message)] for message in said]

    def ports(self) -> list[tuple[str, list]]:
        own = Raw(self.server.address)
        bulk = f"{self.server.address.rsplit(':', 1)[0]}:{own.welcome.bulk_port}"
        own.close()
        return [(self.server.address, self.control()), (bulk, self.bulk()), (self.worker_port, self.worker())]

    def check_unchanged(self) -> None:
        """Check that the job runs, the result is there, the part has its old length, and an honest client is served."""
        own = Raw(self.server.address)
        assert own.ask(Follow(self.done, 0)).state == "done"
        assert own.ask(Follow(self.slow, 0)).state == "running"
        missing = own.ask(self.half_job)
        assert [(holds.sha256, holds.offset) for holds in missing.blobs] == [(self.half.sha256, CHUNK_BYTES)]
        assert own.ask(Ping()) == Pong()
        own.close()
        self.client.cancel(self.slow)
        assert self.client.wait(self.slow, timeout=PATIENCE).state == "cancelled"
        self.server.terminate()
        with sqlite3.connect(self.server.state / "journal.sqlite") as journal:
            jobs = dict(journal.execute("SELECT id, state FROM jobs").fetchall())
        journal.close()
        assert jobs == {self.done: "done", self.slow: "cancelled"}


def answers(address: str, messages: list, keys: ClientKeys | None, seconds: float = 0.4) -> list:
    """The answers to all of these messages."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger, socket.sndtimeo = 0, 1000
    if keys is not None:
        keys.put_on(socket)
    socket.connect(address)
    came = []
    try:
        with contextlib.suppress(zmq.Again):  # refused before everything was sent: nobody is left to send to
            for frames in messages:
                socket.send_multipart(frames)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if socket.poll(50):
                came.append(socket.recv_multipart())
    finally:
        context.destroy(linger=0)
    return came


def admit(server, name: str) -> ClientKeys:
    """Make another key that the server lets in."""
    pair = KeyPair.new()
    file = server.state / "keys" / "clients" / f"{name}.pub"
    file.write_text(pair.public)
    file.chmod(0o600)
    time.sleep(0.6)  # the server checks four times per second
    return ClientKeys(client_keys(server.state).server, pair)
