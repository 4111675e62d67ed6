"""What is running and waiting: the positions of a client's own jobs, and the queue as every client may see it."""

import uuid

import pytest
from ex4d_server.access import authorize, prepare, revoke
from raw import Raw
from server_process import PATIENCE, until
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.jobs.keys import CLIENT, KEYS, ClientKeys, KeyPair, client_keys, shown_key
from ex4d.jobs.messages import AskQueue, Cancel, Missing, Ping, Put, Submit
from ex4d.pipeline.requests import job_hash

ANNA = KeyPair.new()


@pytest.fixture
def busy(server, connect, shot):
    """A server that also lets Anna in and whose only worker is busy; its client, a job, and the running job."""
    prepare(server.state)
    authorize(server.state, shown_key(ANNA.public), "Anna")
    server.start()
    client = connect(server)
    job, files = shot("copy")
    client.wait(client.submit(job, files), timeout=PATIENCE)  # the server has the files now
    slow, slow_files = shot("slow")
    blocking = client.submit(slow, slow_files)
    until(lambda update: update.job_id == blocking and update.stage == "wait", client)
    return client, job, files, blocking


@pytest.fixture
def anna(server, busy):
    """Anna's client."""
    peer = Raw(server.address, keys=ClientKeys(client_keys(server.state).server, ANNA))
    yield peer
    peer.close()


def test_a_client_hears_how_many_jobs_are_before_its_own_until_they_run(server, busy):
    client, job, files, blocking = busy
    first, second = client.submit(job, files), client.submit(job, files)
    heard = {}
    updates = until(lambda update: update.job_id == second and update.ahead == 1, client)
    for update in updates:
        heard[update.job_id] = update.ahead
    until(lambda update: heard.update({update.job_id: update.ahead}) or heard.get(first) == 0, client)
    client.cancel(blocking)
    assert client.wait(second, timeout=PATIENCE).ahead is None


def test_the_queue_names_clients_and_their_work_and_tells_ids_to_their_owners_alone(server, busy, anna):
    client, job, files, blocking = busy
    waiting = client.submit(job, files)
    until(lambda update: update.job_id == waiting and update.state == "queued", client)
    queue = anna.ask(AskQueue())
    assert [(e.client, e.work, e.device, e.stage, e.job_id, e.own) for e in queue.running] == [
        ("this machine", "reconstruct", "CPU", "wait", "", False)
    ]
    assert queue.running[0].steps == 6000
    assert [(e.client, e.work, e.device, e.job_id) for e in queue.waiting] == [("this machine", "reconstruct", "", "")]
    peer = Raw(server.address)
    own = peer.ask(AskQueue())
    assert (own.running[0].job_id, own.waiting[0].job_id) == (blocking, waiting)
    assert [each.job_id for each in peer.ask(Ping()).ahead] == [waiting]
    assert anna.ask(Ping()).ahead == ()
    peer.close()


def test_the_queue_is_told_also_while_the_file_with_the_users_own_key_is_damaged(server, busy, anna):
    client, job, files, _ = busy
    waiting = client.submit(job, files)
    until(lambda update: update.job_id == waiting and update.state == "queued", client)
    own = server.state / KEYS / CLIENT
    key = own.read_bytes()
    own.write_bytes(b"not a key")
    try:
        queue = anna.ask(AskQueue())
        assert [(e.work, e.stage, e.job_id, e.own) for e in queue.running] == [("reconstruct", "wait", "", False)]
        assert [(e.work, e.job_id) for e in queue.waiting] == [("reconstruct", "")]
    finally:
        own.write_bytes(key)
    assert [e.client for e in anna.ask(AskQueue()).waiting] == ["this machine"]


def test_jobs_of_a_client_that_is_let_in_no_longer_are_shown_as_such(server, busy, anna):
    _, job, files, _ = busy
    asked = Submit(str(uuid.uuid4()), job_hash(job), job)
    assert isinstance(anna.ask(asked), Missing)
    for sha256, path in files.items():
        content = path.read_bytes()
        anna.ask_bulk(Put(sha256, len(content), 0), content)
    assert anna.ask(asked).state == "queued"
    peer = Raw(server.address)
    assert [entry.client for entry in peer.ask(AskQueue()).waiting] == ["Anna"]
    revoke(server.state, "Anna")
    assert [entry.client for entry in peer.ask(AskQueue()).waiting] == ["let in no longer"]
    peer.close()


def test_the_command_shows_what_runs_and_what_waits(server, busy):
    client, job, files, blocking = busy
    waiting = client.submit(job, files)
    until(lambda update: update.job_id == waiting and update.state == "queued", client)
    shown = CliRunner().invoke(build_app(), ["server", "queue", "--address", server.address])
    now, then = shown.output.splitlines()
    assert now.startswith(f"now  {blocking[:8]}  this machine  opens a clip on CPU: wait ")
    assert then == f"  1  {waiting[:8]}  this machine  opens a clip"
    peer = Raw(server.address)
    for job_id in (waiting, blocking):
        peer.ask(Cancel(job_id))
    until(lambda: not peer.ask(AskQueue()).running)
    peer.close()
    shown = CliRunner().invoke(build_app(), ["server", "queue", "--address", server.address])
    assert shown.output == "Nothing is running, and nothing is waiting.\n"
