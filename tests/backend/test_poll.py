"""`Client.poll` never holds up Blender: it does a little at a time and never waits."""

import inspect
import os
import re
from pathlib import Path

import zmq
from server_process import until

from ex4d.jobs import client as client_module
from ex4d.jobs import link, transfer
from ex4d.jobs.client import Client
from ex4d.pipeline.hashing import Hasher, blob_of


def test_poll_looks_at_the_clock_after_each_thing_and_stops_when_the_budget_is_used_up(server, connect, shot):
    server.start()
    looks = [0]

    def clock():
        looks[0] += 1
        return looks[0] * 0.001  # reading the clock takes a millisecond

    client = connect(server, clock=clock)
    job, files = shot("copy", os.urandom(4 << 20))
    until(lambda: client.poll() or client.status == "ready")
    client.submit(job, files)
    ended = []
    things = [0]
    one_thing = client._one_thing

    def counted():
        things[0] += 1
        return one_thing()

    client._one_thing = counted
    while not ended:
        things[0] = 0
        ended = [update for update in client.poll(0.004) if update.ended]
        assert things[0] <= 5
    assert ended[0].state == "done"


def test_the_client_never_flushes_a_file_and_starts_no_thread():
    """A flush takes 200 ms on a busy disk, and Blender should not run extra threads."""
    for module in (client_module, link, transfer):
        source = Path(module.__file__).read_text()
        assert re.findall(r"sync\(|threading|Thread|concurrent", source) == []
        assert not re.search(r"send\w*\([^)]*copy=False", source), "pyzmq would start one"


def test_nothing_in_the_client_waits_but_wait():
    source = Path(client_module.__file__).read_text().replace(inspect.getsource(Client._sleep_until_readable), "")
    source += Path(link.__file__).read_text()
    assert source.count("_sleep_until_readable(") == 1
    assert "_sleep_until_readable(" in inspect.getsource(Client.wait)
    assert "sleep(" not in source
    calls = re.findall(r"\.(?:recv\w*|send_multipart)\((?:[^()]|\([^()]*\))*\)", source)
    assert len(calls) >= 3
    assert all("zmq.NOBLOCK" in call for call in calls), calls
    assert set(re.findall(r"(?:control|bulk|monitor)\.poll\(\w*\)", source)) == {
        "control.poll(0)",
        "bulk.poll(0)",
        "monitor.poll(0)",
    }


def test_polling_without_a_server_does_nothing_and_costs_little(tmp_path):
    client = Client("tcp://127.0.0.1:9", tmp_path)
    assert [client.poll() for _ in range(100)] == [[]] * 100
    client.close()


def test_a_big_file_is_hashed_a_piece_at_a_time(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(5 << 20))
    hasher, steps = Hasher(path), 0
    while not hasher.step(1 << 20):
        steps += 1
        assert hasher.done <= steps << 20
    assert steps == 5
    assert hasher.blob == blob_of(path)
    assert hasher.blob.size == 5 << 20


def test_a_hello_that_a_connection_has_no_room_for_is_said_later(server, connect, monkeypatch):
    server.start()
    said, real = [], client_module.Link.send

    def send(self, *parts, **options):
        said.append(parts)
        if len(said) <= 2:
            raise zmq.Again
        real(self, *parts, **options)

    monkeypatch.setattr(client_module.Link, "send", send)
    client = connect(server)
    until(lambda: client.poll() or client.status == "ready")
    assert len(said) == 3
