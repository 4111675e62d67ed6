"""A stranger's key, a revoked key, another user, another client's key: none of them sees or changes anything."""

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
import zmq
from ex4d_server.orders import STATE_VARIABLE
from ex4d_server.platform import processes_with
from ex4d_server.server import MEMORY_BYTES
from raw import Raw
from server_process import PATIENCE, until
from strangers import Scene, admit, answers

from ex4d.errors import ServerError
from ex4d.jobs.client import Client
from ex4d.jobs.codec import encode
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys, make_keys
from ex4d.jobs.limits import CHUNK_BYTES, CREDIT
from ex4d.jobs.messages import (
    Cancel,
    Fetched,
    First,
    Follow,
    Get,
    GetFile,
    Holds,
    Ping,
    Pong,
    Put,
    Status,
    Submit,
    Unload,
    Unloaded,
)
from ex4d.pipeline.requests import Reconstruct, Source, job_hash

HERE = Path(__file__).parent


@pytest.fixture
def scene(server, connect, shot, tmp_path):
    return Scene(server, connect, shot, tmp_path)


def test_a_strangers_key_sees_and_changes_nothing_by_any_message_on_any_port(scene):
    """Even if it knows the server's public key, has no key of its own, or mistakes another key for the server's."""
    strangers = {
        "its own key": ClientKeys(scene.public, KeyPair.new()),
        "no key": None,
        "a wrong server": ClientKeys.nobodys(),
        "a client's public key without its secret": ClientKeys(
            scene.public, KeyPair(client_keys(scene.server.state).own.public, KeyPair.new().secret)
        ),
        "the server's own public key as its own": ClientKeys(scene.public, KeyPair(scene.public, KeyPair.new().secret)),
    }
    for address, messages in scene.ports():
        for who, keys in strangers.items():
            assert answers(address, messages, keys) == [], (address, who)
        for frames in messages:  # each on its own too, because the first may have ended the connection
            assert answers(address, [frames], strangers["its own key"], 0.1) == []
    scene.check_unchanged()


def test_the_key_of_a_client_opens_no_door_of_the_workers_and_theirs_none_of_the_clients(scene):
    (_, _), (bulk, _), (worker, messages) = scene.ports()
    assert answers(worker, messages, client_keys(scene.server.state)) == []
    (process,) = processes_with(STATE_VARIABLE, str(scene.server.state.resolve()))
    public, *pair = process.environ()["EX4D_WORKER_KEYS"].split()
    of_worker = ClientKeys(public, KeyPair(*pair))
    assert answers(scene.server.address, scene.control(), of_worker) == []
    assert answers(bulk, scene.bulk(), of_worker) == []
    scene.check_unchanged()


def test_a_key_that_was_taken_back_is_served_no_longer_on_no_connection(scene):
    keys = admit(scene.server, "other")
    other = Raw(scene.server.address, keys=keys)
    assert other.ask(Ping()) == Pong()
    assert other.ask_bulk(Get(scene.result.sha256, 0)).code == "no_file"
    (scene.server.state / "keys" / "clients" / "other.pub").unlink()
    time.sleep(0.6)
    for frames in scene.control():
        assert other.ask_frames(frames).code == "not_admitted"
    for frames in scene.bulk():
        other.bulk.send_multipart(frames)
        assert b"hello_first" in other.bulk.recv_multipart()[0]
    other.close()
    for address, messages in scene.ports()[:2]:
        assert answers(address, messages, keys) == []
    scene.check_unchanged()


def test_a_client_whose_key_was_taken_back_says_so(server, tmp_path, monkeypatch):
    server.start()
    keys = admit(server, "other")
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    make_keys(theirs)
    (theirs / "keys" / "server.key").write_bytes((server.state / "keys" / "server.key").read_bytes())
    (theirs / "keys" / "client.key").write_text(json.dumps({"public": keys.own.public, "secret": keys.own.secret}))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "config"))
    client = Client(server.address, tmp_path / "downloads", state=theirs)
    until(lambda: (client.poll(), client.status == "ready")[1])
    (server.state / "keys" / "clients" / "other.pub").unlink()
    until(lambda: (client.poll(), client.status == "refused")[1])
    assert f"The server at {server.address} does not accept this program's key" in client.problem
    client.close()
    client = Client(server.address, tmp_path / "downloads", state=theirs)
    until(lambda: (client.poll(), client.status == "refused")[1])
    assert f"The server at {server.address} does not accept this program's key" in client.problem
    client.close()


def test_another_key_of_the_same_server_learns_nothing_of_jobs_and_files(scene):
    other = Raw(scene.server.address, keys=admit(scene.server, "other"))
    for job_id in (scene.done, scene.slow, str(uuid.uuid4())):
        for message in (Follow(job_id, 0), Cancel(job_id), Fetched(job_id), First(job_id)):
            answer = other.ask(message)
            assert (answer.code, answer.message) == ("unknown_job", "The server does not know this job.")
        assert other.ask(First(job_id, of_all=True)).code == "refused"
    assert other.ask(Unload()) == Unloaded(False, "Nothing is loaded.")
    unknown = other.ask_bulk(Get("0" * 64, 0))
    for sha256 in (scene.result.sha256, scene.half.sha256):
        for message in (Get(sha256, 0), GetFile(sha256, "0" * 32)):
            answer = other.ask_bulk(message)
            assert (answer.code, answer.message) == (unknown.code, unknown.message)
        assert other.ask_bulk(Put(sha256, 300_000, 0), b"x").code == "not_wanted"
    assert other.ask(Submit(scene.slow, job_hash(scene.slow_job), scene.slow_job)).code == "conflict"
    assert other.control.poll(500) == 0, "no events either"
    other.close()
    scene.check_unchanged()


def test_an_upload_of_what_another_key_has_goes_its_whole_way_and_then_counts(scene):
    other = Raw(scene.server.address, keys=admit(scene.server, "other"))
    blobs = {blob.sha256: blob for blob in (scene.result, scene.half, *scene.done_job.source.depth)}
    job = Reconstruct(Source((scene.result, scene.half), scene.done_job.source.depth))
    submit = Submit(str(uuid.uuid4()), job_hash(job), job)
    assert {holds.sha256: holds.offset for holds in other.ask(submit).blobs} == dict.fromkeys(blobs, 0)
    wrong = other.ask_bulk(Put(scene.result.sha256, scene.result.size, 0), b"\0" * scene.result.size)
    assert wrong.code == "corrupt"
    assert [holds.offset for holds in other.ask(submit).blobs] == [0, 0, 0]
    contents = {
        scene.half.sha256: scene.content,
        **{sha256: path.read_bytes() for sha256, path in scene.files.items()},
    }
    for sha256, blob in blobs.items():
        for offset in range(0, blob.size, CHUNK_BYTES):
            chunk = contents[sha256][offset : offset + CHUNK_BYTES]
            assert other.ask_bulk(Put(sha256, blob.size, offset), chunk) == Holds(sha256, offset + len(chunk))
    assert isinstance(other.ask(submit), Status)
    other.close()
    assert hashlib.sha256((scene.server.state / "blobs" / scene.result.sha256).read_bytes()).hexdigest() == (
        scene.result.sha256
    )


def test_bulk_needs_the_secret_of_a_hello_of_the_same_key(scene):
    own = Raw(scene.server.address)
    secret, bulk = own.welcome.session, f"tcp://127.0.0.1:{own.welcome.bulk_port}"
    own.bulk.close()
    time.sleep(0.2)
    for keys, identity in (
        (client_keys(scene.server.state), b""),
        (client_keys(scene.server.state), b"0" * 32),
        (admit(scene.server, "other"), secret.encode()),
    ):
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.linger, socket.rcvtimeo = 0, int(1000 * PATIENCE)
        keys.put_on(socket)
        if identity:
            socket.routing_id = identity
        socket.connect(bulk)
        for frames in scene.bulk():
            socket.send_multipart(frames)
            assert b"hello_first" in socket.recv_multipart()[0]
        context.destroy(linger=0)
    own.close()
    scene.check_unchanged()


AS_NOBODY = """
import json, os, sys, zmq, time
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from ex4d.jobs.client import Client
from ex4d.jobs.keys import ClientKeys, KeyPair
from ex4d_server.server import MEMORY_BYTES
from raw import Raw
import ex4d.jobs.keys, ex4d.errors, encodings.idna
address, state = sys.argv[1:3]
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
os.environ["XDG_CONFIG_HOME"] = os.environ["HOME"] = "/nonexistent"
said = {"read": []}
for folder, _, files in os.walk(state):
    said["read"] += [folder, *files]
for name in ("keys/server.key", "keys/client.key", "journal.sqlite", "server.json", "exchange/instance", "stop"):
    for mode in ("rb", "ab"):
        try:
            open(os.path.join(state, name), mode).close()
            said["read"].append(name)
        except OSError:
            pass
for given in (None, Path(state)):
    client = Client(address, Path("/nonexistent"), state=given)
    end = time.monotonic() + 30
    while client.status == "connecting" and time.monotonic() < end:
        client.poll(0.01)
        time.sleep(0.01)
    said.setdefault("clients", []).append([client.status, client.problem])
    client.close()
print(json.dumps(said))
"""


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="only root may become another user")
def test_another_user_reads_no_key_and_its_client_sends_nothing_to_this_server(scene, tmp_path):
    for folder in (tmp_path, *tmp_path.parents):  # so that only the state folder itself is closed to others
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp/") and folder != Path("/tmp"):
            folder.chmod(0o755)
    command = [sys.executable, "-c", AS_NOBODY, scene.server.address, str(scene.server.state), str(HERE)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["read"] == []
    (status, problem), (with_folder, why) = said["clients"]
    assert status == with_folder == "refused"
    assert problem.startswith(f"The server at {scene.server.address} belongs to someone else on this machine")
    assert "cannot be read" in why or "belongs to someone else" in why
    scene.check_unchanged()


def test_a_client_sends_nothing_to_someone_elses_server_on_its_port(server, shot, tmp_path):
    server.start()
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    make_keys(theirs)
    registered = tmp_path / "config"
    for state in (None, theirs):  # a user who never had a server, and one who once had their own there
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CONFIG_HOME", str(registered))
            patch.setenv("LOCALAPPDATA", str(registered))
            client = Client(server.address, tmp_path / "downloads", state=state)
            job, files = shot("copy")
            job_id = client.submit(job, files)
            updates = until(lambda update: "belongs to someone else" in update.message, client)
            assert updates[-1].state == "uploading"
            assert client.status == "refused"
            with pytest.raises(ServerError, match="belongs to someone else on this machine"):
                client.wait(job_id)
            with pytest.raises(ServerError, match="start your own server there"):
                client.submit(job, files)
            client.close()
    server.terminate()
    with sqlite3.connect(server.state / "journal.sqlite") as journal:
        assert journal.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    journal.close()
    assert list((server.state / "blobs").iterdir()) == list((server.state / "incoming").iterdir()) == []


def test_a_client_that_met_a_strangers_server_goes_on_when_its_own_is_there(server, connect, shot):
    context = zmq.Context()
    stranger = context.socket(zmq.ROUTER)
    pair = KeyPair.new()
    stranger.curve_server, stranger.curve_secretkey, stranger.linger = True, pair.secret.encode(), 0
    port = stranger.bind_to_random_port("tcp://127.0.0.1")
    server.address = f"tcp://127.0.0.1:{port}"
    client = connect(server)
    job, files = shot("copy")
    job_id = client.submit(job, files)
    until(lambda update: "belongs to someone else" in update.message, client)
    assert client.occupied
    assert stranger.poll(300) == 0
    context.destroy(linger=0)
    server.start()
    updates = until(lambda update: update.ended, client)
    assert (updates[-1].job_id, updates[-1].state) == (job_id, "done")
    assert not client.occupied
    assert client.problem == ""


def test_an_older_server_that_proves_nothing_gets_nothing(connect, server, tmp_path):
    context = zmq.Context()
    old = context.socket(zmq.ROUTER)
    old.linger = 0
    server.address = f"tcp://127.0.0.1:{old.bind_to_random_port('tcp://127.0.0.1')}"
    client = connect(server)
    until(lambda: (client.poll(), client.status == "refused")[1])
    assert "is of an EX-4D version without keys, so nothing was sent to it" in client.problem
    assert old.poll(300) == 0
    context.destroy(linger=0)


def grown(server, before: int) -> int:
    return psutil.Process(server.process.pid).memory_info().rss - before


def test_clients_that_ask_and_never_read_make_the_server_hold_no_more_than_their_credit(server, connect, shot):
    """Six clients with a thousand requests each, for which the server once held 1.5 GiB."""
    server.start()
    client = connect(server)
    content = os.urandom(8 * CHUNK_BYTES)
    job, files = shot("copy", content)
    job_id = client.submit(job, files)
    assert client.wait(job_id, timeout=PATIENCE).state == "done"
    before = psutil.Process(server.process.pid).memory_info().rss
    peers = [Raw(server.address) for _ in range(6)]
    highest = 0
    for peer in peers:
        peer.bulk.rcvhwm = 1
        peer.bulk.rcvbuf = 4096
        assert peer.ask(Follow(job_id, 0)).state == "done"
    for i in range(1000):
        for peer in peers:
            with contextlib.suppress(zmq.Again):
                offset = i % 8 * CHUNK_BYTES
                peer.bulk.send_multipart([encode(Get(job.source.clip[0].sha256, offset))], zmq.NOBLOCK)
        if i % 50 == 0:
            highest = max(highest, grown(server, before))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        highest = max(highest, grown(server, before))
        time.sleep(0.05)
    assert highest < 6 * CREDIT * CHUNK_BYTES, f"{highest >> 20} MiB"
    job, files = shot("copy", b"next")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    for peer in peers:
        peer.close()


AS_A_PEER = """
import sys, zmq
sys.path.insert(0, sys.argv[4])
from raw import Raw
address, port, size = sys.argv[1:4]
peer = Raw(address)
socket = getattr(peer, port)
for _ in range(4000):
    socket.send(b"x" * int(size), zmq.SNDMORE)
socket.send(b"")
sys.stdin.read()
"""
"""In a process of its own, because ZeroMQ may abort its process if it is closed in the middle of such a message."""


@pytest.mark.parametrize("port", ["control", "bulk"])
def test_a_message_of_thousands_of_frames_costs_its_connection_and_bounded_memory(server, connect, shot, port):
    """ZeroMQ keeps the frames until the last one arrives. Only clients with a key get this far."""
    server.start()
    before = psutil.Process(server.process.pid).memory_info().rss
    client, size = connect(server), 200_000 if port == "control" else CHUNK_BYTES
    command = [sys.executable, "-c", AS_A_PEER, server.address, port, str(size), str(HERE)]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE)
    highest, end = 0, time.monotonic() + PATIENCE
    while "all connections are dropped" not in server.log and time.monotonic() < end:
        highest = max(highest, grown(server, before))
        time.sleep(0.01)
    peer.kill()
    peer.wait()
    assert peer.stdin is not None
    peer.stdin.close()
    assert "all connections are dropped" in server.log
    assert highest < MEMORY_BYTES + (512 << 20), f"{highest >> 20} MiB"
    until(lambda: grown(server, before) < 200 << 20)
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
