"""Nothing that anybody on the machine can do to a server ends it, and the next honest job is served."""

import shutil
import socket
import sqlite3
import threading
import time
import uuid

import psutil
import pytest
import zmq
from ex4d_server.limited_log import LimitedLog
from ex4d_server.orders import KEYS_VARIABLE, STATE_VARIABLE, Beat, Finished, Ready
from ex4d_server.platform import processes_with
from ex4d_server.server import Server
from raw import Raw
from server_process import PATIENCE, until

from ex4d.jobs.codec import encode
from ex4d.jobs.keys import ClientKeys, KeyPair
from ex4d.jobs.messages import Follow, Ping, Pong, Result, Submit, Unload
from ex4d.pipeline.requests import job_hash


@pytest.fixture(params=[1, 3], ids=["one worker", "three workers"])
def worker_port(request, server, connect, shot):
    """A server with one warm worker; the address that this worker connects to."""
    server.start(workers=request.param)
    client = connect(server)
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    (worker,) = processes_with(STATE_VARIABLE, str(server.state))
    command = worker.cmdline()
    return command[command.index("--connect") + 1]


@pytest.fixture
def stranger(server, worker_port):
    """A peer that has seen the worker's keys, as a process of the same user can, but does not know its token."""
    (worker,) = processes_with(STATE_VARIABLE, str(server.state.resolve()))
    public, *pair = worker.environ()[KEYS_VARIABLE].split()
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    ClientKeys(public, KeyPair(*pair)).put_on(peer)
    peer.linger = 1000
    yield peer
    context.destroy(linger=1000)


def served(server, connect, shot) -> None:
    """Check that another honest job succeeds."""
    client = connect(server)
    job, files = shot("copy", uuid.uuid4().bytes)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "done", last.message
    assert server.process.poll() is None


@pytest.mark.parametrize("token", ["ä" * 32, "\U0001f600", "\0", "x" * 100])
def test_a_token_of_any_characters_is_just_wrong(server, worker_port, stranger, connect, shot, token):
    stranger.connect(worker_port)
    for message in (Ready(token), Beat(token), Finished(1, Result({}, ()))):
        stranger.send(encode(message))
    served(server, connect, shot)
    assert "wrong token" in server.log


def test_a_million_bytes_on_the_port_of_the_workers_end_that_connection_only(
    server, worker_port, stranger, connect, shot
):
    monitor = stranger.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    stranger.connect(worker_port)
    stranger.send(b"\0" * (1 << 20))
    assert monitor.poll(1000 * PATIENCE)
    stranger.disable_monitor()
    monitor.close(0)
    served(server, connect, shot)


def test_refused_messages_of_workers_leave_a_few_lines_in_the_log(server, worker_port, stranger, connect, shot):
    stranger.connect(worker_port)
    for _ in range(5000):
        stranger.send(encode(Ready("wrong")))
        stranger.send(b"\xc1")
    served(server, connect, shot)
    time.sleep(1)
    assert server.log.count("wrong token") == 10
    assert server.log.count("refused a worker message") == 10


def test_a_limited_log_says_how_much_it_left_out():
    now, lines = [0.0], []

    class Log:
        def warning(self, text, *arguments, exc_info=False):
            lines.append(text % arguments)

    log = LimitedLog(Log(), lambda: now[0], lines=2, seconds=60)
    for i in range(5):
        log.warning("bad %d", i)
    log.warning("other")
    now[0] = 61
    log.warning("bad %d", 5)
    assert lines == ["bad 0", "bad 1", "other", "3 more lines like the next one were left out", "bad 5"]


def idle_connection(host: str, port: int) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((host, port))
    return connection


def test_idle_connections_that_take_all_descriptors_neither_end_the_server_nor_keep_its_worker_from_starting(
    server, connect, shot
):
    server.start(descriptors=1024)
    job, files = shot("copy")
    first = connect(server)
    first.wait(first.submit(job, files), timeout=PATIENCE)
    peer = Raw(server.address)
    peer.ask(Unload())  # so that the next job needs a process, but no files
    host, port = server.address.removeprefix("tcp://").split(":")
    idle = []
    try:
        for _ in range(800):  # the last ones are not even accepted
            idle.append(idle_connection(host, int(port)))

        def all_taken() -> bool:
            idle.pop(0).close()  # the first ones are dropped after some seconds, and a busy machine may take that long
            idle.append(idle_connection(host, int(port)))
            return psutil.Process(server.process.pid).num_fds() >= 510

        until(all_taken)
        submit = Submit(str(uuid.uuid4()), job_hash(job), job)
        assert peer.ask(submit).state in ("queued", "running")
        until(lambda: peer.ask(Follow(submit.job_id, 0)).state == "done")
    finally:
        for connection in idle:
            connection.close()
    peer.close()
    served(server, connect, shot)


def test_as_many_descriptors_as_the_system_allows_are_asked_for(server):
    server.start(soft_descriptors=100)
    limits = psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert limits[0] == min(limits[1], 65536) - 512 > 100


@pytest.mark.parametrize("name", ["logs", "incoming", "blobs", "work"])
def test_a_folder_that_somebody_removed_is_made_again(server, connect, shot, name):
    server.start()
    shutil.rmtree(server.state / name)
    until(lambda: (server.state / name).is_dir())
    served(server, connect, shot)


def test_a_file_in_the_place_of_the_logs_costs_only_the_log(server, connect, shot):
    server.start()
    shutil.rmtree(server.state / "logs")
    (server.state / "logs").write_text("")
    served(server, connect, shot)


def test_a_job_that_cannot_be_read_in_the_journal_fails_alone(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    done = client.submit(job, files)
    client.wait(done, timeout=PATIENCE)
    blocking, other = shot("slow")
    client.submit(blocking, other)
    until(lambda update: update.stage == "wait", client)
    waiting = client.submit(job, files)
    until(lambda update: update.job_id == waiting and update.state == "queued", client)
    client.close()
    server.terminate()
    with sqlite3.connect(server.state / "journal.sqlite") as journal:
        journal.execute("UPDATE jobs SET spec = '{' WHERE state = 'queued'")
        journal.execute("UPDATE jobs SET result = '{' WHERE state = 'done'")
    journal.close()
    server.start()
    peer = Raw(server.address)
    assert peer.ask(Follow(done, 0)).state == "done"
    until(lambda: peer.ask(Follow(waiting, 0)).state == "failed")
    assert peer.ask(Ping()) == Pong()
    # Before the peer closes: a busy server answers several messages per turn, and sends events only to present peers.
    until(lambda: "events of a job cannot be read" in server.log)
    peer.close()
    served(server, connect, shot)
    assert server.log.count("events of a job cannot be read") == 1


def test_whatever_fails_on_one_message_or_in_one_turn_the_loop_goes_on(tmp_path, monkeypatch):
    server = Server("tcp://127.0.0.1:0", tmp_path / "state")
    monkeypatch.setattr(server._supervisor, "unload", lambda owner: 1 / 0)
    monkeypatch.setattr(server._supervisor, "tick", lambda: 1 / 0)
    ended = threading.Event()
    loop = threading.Thread(target=server.run, args=(ended.is_set,))
    loop.start()
    peer = Raw(server.address)
    try:
        answer = peer.ask(Unload())
        assert answer.code == "internal"
        assert "ZeroDivisionError" in answer.message
        assert peer.ask(Ping()) == Pong()
    finally:
        peer.close()
        ended.set()
        loop.join()
        server.close()
