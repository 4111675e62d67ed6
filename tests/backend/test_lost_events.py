"""Events may get lost, but never the facts they carry."""

import socket
import time
import uuid

import zmq
from server_process import PATIENCE, until

from ex4d.jobs.client import Client
from ex4d.jobs.codec import decode, encode
from ex4d.jobs.keys import make_keys
from ex4d.jobs.messages import (
    CLIENT_CONTROL,
    PROTOCOL_VERSION,
    Capabilities,
    Event,
    Follow,
    Hello,
    Limits,
    Ping,
    Pong,
    Result,
    Status,
    Welcome,
)


def test_a_client_that_misses_three_thousand_events_hears_of_the_end(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("many_stages")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "first", client)
    server.mark.write_text("")
    watcher = connect(server)
    watcher.follow(job_id)
    assert watcher.wait(job_id, timeout=60).state == "done"
    time.sleep(0.5)
    assert client.wait(job_id, timeout=PATIENCE).state == "done"


def test_an_end_that_was_never_sent_is_asked_for(tmp_path):
    """The server drops the event `done`, for whatever reason, but sends it when asked."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    (tmp_path / "state").mkdir()
    router.curve_server, router.curve_secretkey = True, make_keys(tmp_path / "state").secret.encode()
    port = router.bind_to_random_port("tcp://127.0.0.1")
    with socket.socket() as bulk:
        bulk.bind(("127.0.0.1", 0))
        bulk.listen()
        clock = [0.0]
        client = Client(f"tcp://127.0.0.1:{port}", tmp_path, state=tmp_path / "state", clock=lambda: clock[0])
        job_id, follows = str(uuid.uuid4()), []
        client.follow(job_id)
        ended = []
        patience, heard = time.monotonic() + 60, False
        while time.monotonic() < patience:
            clock[0] += 0.1 * heard  # a busy machine may take a while to connect the two
            ended += [update for update in client.poll() if update.ended]
            while router.poll(2):
                peer, frame = router.recv_multipart()
                heard = True
                message = decode(frame, CLIENT_CONTROL)
                answers = []
                if isinstance(message, Hello):
                    answers = [Welcome(PROTOCOL_VERSION, "0", "i", bulk.getsockname()[1], Capabilities(), Limits())]
                elif isinstance(message, Ping):
                    answers = [Pong()]
                elif isinstance(message, Follow):
                    follows.append(message.since)
                    answers = [Status(job_id, "running", 1, 2)]
                    if len(follows) == 1:
                        answers.append(Event(job_id, 1, "running", 1))
                    # More than once, since on a busy machine this clock runs ahead of the connection.
                    elif len(follows) >= 3:
                        answers.append(Event(job_id, 2, "done", 1, result=Result({}, ())))
                for answer in answers:
                    router.send_multipart([peer, encode(answer)])
            if ended:
                break
        client.close()
    context.destroy(linger=0)
    assert [update.state for update in ended] == ["done"]
    assert follows == [0, 1, 1]
    assert clock[0] < 20
