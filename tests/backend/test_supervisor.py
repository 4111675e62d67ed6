"""Who may speak for a worker, and for which attempt."""

import time

import pytest
import zmq
from ex4d_server.blobs import BlobStore
from ex4d_server.gate import Gate
from ex4d_server.journal import Journal
from ex4d_server.local import local_executor
from ex4d_server.orders import Finished, Ready, Run, Step, Stop, blob_folder
from ex4d_server.pool import Pool
from ex4d_server.supervisor import Supervisor

from ex4d.jobs.codec import decode, encode
from ex4d.jobs.keys import ClientKeys, KeyPair
from ex4d.jobs.messages import Result
from ex4d.pipeline.requests import Blob, Reconstruct, Source

BLOB = Blob("0" * 64, 1, "slow.mp4")
JOB = Reconstruct(Source((BLOB,), (BLOB,)))


class Bench:
    """A supervisor with a running job, and a peer that poses as its worker."""

    def __init__(self, state) -> None:
        self.context = zmq.Context()
        self.gate = Gate(self.context, KeyPair.new())
        self.now = 0.0
        self.journal = Journal(state / "journal.sqlite")
        blobs = BlobStore(blob_folder(state), state / "incoming")
        self.executor = local_executor(self.context, self.gate, state, runner="nothing:here", clock=lambda: self.now)
        self.supervisor = Supervisor(self.journal, blobs, Pool([self.executor], state), clock=lambda: self.now)
        self.journal.add("job", JOB, "local")
        self.supervisor.tick()
        self.peer = self.context.socket(zmq.DEALER)
        self.peer.linger = 0
        ClientKeys(self.gate.public, self.executor._worker.process.keys).put_on(self.peer)
        (self.socket,) = self.executor.sockets
        self.peer.connect(self.socket.last_endpoint.decode())
        self.executor._worker.process.kill()  # the peer takes its place,
        self.executor._worker.process.poll = lambda: None  # and nobody notices

    def say(self, message) -> None:
        """Have the peer send a message and the supervisor read it."""
        self.send(encode(message))

    def send(self, *frames: bytes) -> None:
        self.peer.send_multipart(frames)
        end = time.monotonic() + 5
        while time.monotonic() < end and not self.socket.poll(100):
            pass
        while self.socket.poll(50):
            self.supervisor.tick()

    def state(self) -> str:
        return self.journal.get("job").state

    def close(self) -> None:
        self.supervisor.close()
        self.gate.close()
        self.context.destroy(linger=0)
        self.journal.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def order(bench):
    return decode(bench.peer.recv(), (Run, Stop)) if bench.peer.poll(500) else None


def test_a_peer_without_the_token_gets_no_job_and_cannot_end_one(bench):
    lease = bench.journal.get("job").lease
    bench.say(Ready("0" * 32))
    bench.say(Finished(lease, Result({}, ())))
    assert order(bench) is None
    assert bench.state() == "running"


def test_messages_of_an_older_lease_are_refused(bench):
    lease = bench.journal.get("job").lease
    bench.say(Ready(bench.executor._worker.token))
    assert order(bench) == Run(lease, JOB)
    for stale in (lease - 1, lease + 1):
        bench.say(Step(stale, "read", 1, 2, 0.1))
        bench.say(Finished(stale, Result({}, ())))
    assert bench.state() == "running"
    assert not any(event.stage for event in bench.journal.events("job", 0))
    bench.say(Finished(lease, Result({}, ())))
    assert bench.state() == "done"


def test_a_result_that_comes_after_the_cancel_is_kept(bench):
    lease = bench.journal.get("job").lease
    bench.say(Ready(bench.executor._worker.token))
    assert order(bench) == Run(lease, JOB)
    bench.supervisor.cancel("job")
    assert order(bench) == Stop(lease)
    bench.say(Finished(lease, Result({"late": True}, ())))
    assert bench.state() == "done"


def test_garbage_from_a_worker_is_refused(bench):
    bench.send(b"\xc1 garbage")
    bench.send(encode(Ready("x")), b"another frame")
    assert bench.state() == "running"
