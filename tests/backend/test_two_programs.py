"""Two programs of one artist: what each sees of the other's jobs, who owns which files, and which take comes first."""

import os
import uuid
from pathlib import Path

import pytest
from ex4d_server.access import authorize, prepare
from raw import Raw
from server_process import PATIENCE, until
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.jobs.client import Client
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys, shown_key
from ex4d.jobs.messages import AskQueue, Missing, Put, Submit
from ex4d.pipeline.requests import Generate, job_hash

ANNA = KeyPair.new()


@pytest.fixture
def blender(server, tmp_path):
    """blender("one") -> Client with its own downloads folder, closed at the end."""
    clients = []

    def begin(name: str) -> Client:
        clients.append(Client(server.address, tmp_path / name))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()


@pytest.fixture
def take(shot):
    """take("copy") -> (job, files): a take for which the worker runs that function of runners.py."""

    def make(runner: str, content: bytes = b"clip"):
        job, files = shot(runner, content)
        return Generate(job.source, job.source.depth[0]), files

    return make


def queue_of(client: Client, wanted=lambda queue: True):
    """The queue that a client receives, once it meets the condition `wanted`."""
    client.ask_queue()

    def told() -> bool:
        client.poll()
        if client.queue is not None and not wanted(client.queue):
            client.ask_queue()
        return client.queue is not None

    until(told)
    return client.queue


def ready(client: Client) -> Client:
    until(lambda: (client.poll(), client.status == "ready")[1])
    return client


def test_another_program_of_the_same_user_is_told_of_a_job_and_may_stop_it(server, blender, take):
    server.start()
    one, two = blender("one"), blender("two")
    job_id = one.submit(*take("slow"), file="shot.blend", shot="clip_1a2b")
    until(lambda update: update.stage == "wait", one)
    (entry,) = queue_of(ready(two)).running
    assert (entry.job_id, entry.own, entry.file, entry.shot) == (job_id, True, "shot.blend", "clip_1a2b")
    assert (entry.work, entry.stage, entry.followed) == ("generate", "wait", True)
    two.stop(job_id)
    until(lambda: (two.poll(), one.poll(), job_id in one.jobs and one._jobs[job_id].update.ended)[2])
    assert one._jobs[job_id].update.state == "cancelled"
    assert two.jobs == frozenset(), "it does not look after it"


def test_somebody_else_is_told_of_neither_file_nor_shot(server, blender, take):
    prepare(server.state)
    authorize(server.state, shown_key(ANNA.public), "Anna")
    server.start()
    client = blender("one")
    done = client.submit(*take("copy"), file="secret.blend", shot="secret")
    client.wait(done, timeout=PATIENCE)
    running = client.submit(*take("slow"), file="secret.blend", shot="secret")
    until(lambda update: update.job_id == running and update.stage == "wait", client)
    anna = Raw(server.address, keys=ClientKeys(client_keys(server.state).server, ANNA))
    queue = anna.ask(AskQueue())
    assert [(e.file, e.shot, e.job_id, e.own, e.followed) for e in queue.running] == [("", "", "", False, False)]
    assert queue.done == ()
    anna.close()


def test_each_program_gets_its_own_files_which_are_not_offered_to_the_other(server, blender, take, tmp_path):
    server.start()
    one, two = blender("one"), ready(blender("two"))
    job_id = one.submit(*take("copy", b"of one"), file="one.blend")
    last = one.wait(job_id, timeout=PATIENCE)
    assert last.files["result.mp4"].read_bytes() == b"of one"
    until(lambda: (one.poll(), queue_of(two).done == ())[1])
    assert not (tmp_path / "two").exists(), "nothing came to who did not ask"


def test_what_a_closed_program_did_not_fetch_is_offered_and_still_there_for_that_one(server, blender, take):
    server.start()
    one, two = blender("one"), ready(blender("two"))
    job_id = one.submit(*take("one_second"), file="one.blend", shot="clip_1a2b")
    until(lambda update: update.state == "running", one)
    assert queue_of(two).running[0].followed
    one.close()
    (entry,) = queue_of(two, lambda queue: queue.done).done
    assert (entry.job_id, entry.file, entry.shot, entry.work) == (job_id, "one.blend", "clip_1a2b", "generate")
    queue_of(two, lambda queue: not queue.done[0].followed)
    two.follow(job_id)
    assert two.wait(job_id, timeout=PATIENCE).facts["device"] == "CPU"
    queue_of(two, lambda queue: not queue.done)
    again = blender("again")
    again.follow(job_id)
    assert again.wait(job_id, timeout=PATIENCE).state == "done"


def test_a_result_that_nobody_wants_is_offered_no_more(server, blender, take):
    server.start()
    two = ready(blender("two"))
    peer = Raw(server.address)
    job, files = take("copy")
    submit = Submit(str(uuid.uuid4()), job_hash(job), job)
    assert isinstance(peer.ask(submit), Missing)
    for sha256, path in files.items():
        peer.ask_bulk(Put(sha256, path.stat().st_size, 0), path.read_bytes())
    peer.ask(submit)
    peer.close()
    queue_of(two, lambda queue: queue.done)
    two.forget_result(submit.job_id)
    assert queue_of(two).done == ()


def test_a_take_that_is_put_first_is_made_before_its_users_others(server, blender, take):
    server.start()
    client = blender("one")
    slow, (job, files) = take("slow"), take("copy")
    blocking = client.submit(*slow)
    until(lambda update: update.stage == "wait", client)
    first, second, third = (client.submit(job, files) for _ in range(3))
    until(lambda update: update.job_id == third and update.state == "queued", client)
    client.put_first(third)
    assert [entry.job_id for entry in queue_of(client).waiting] == [third, first, second]
    until(lambda update: update.job_id == third and update.ahead == 0, client)
    client.cancel(blocking)
    updates = []
    until(lambda: updates.extend(client.poll()) or sum(update.ended for update in updates) == 4)
    # Files of several takes arrive at the same time, so takes may not be complete in the order they were made.
    begun = dict.fromkeys(update.job_id for update in updates if update.state == "running")
    assert [job_id for job_id in begun if job_id != blocking] == [third, first, second]


def test_whoever_runs_the_server_puts_any_job_first_by_the_digits_that_the_queue_shows(server, blender, take):
    prepare(server.state)
    authorize(server.state, shown_key(ANNA.public), "Anna")
    server.start()
    client = blender("one")
    job, files = take("copy")
    blocking = client.submit(*take("slow"))
    until(lambda update: update.stage == "wait", client)
    own = client.submit(job, files)
    until(lambda update: update.job_id == own and update.state == "queued", client)
    anna, ids = Raw(server.address, keys=ClientKeys(client_keys(server.state).server, ANNA)), []
    for _ in range(2):
        ids.append(str(uuid.uuid4()))
        submit = Submit(ids[-1], job_hash(job), job)
        if isinstance(anna.ask(submit), Missing):
            for sha256, path in files.items():
                anna.ask_bulk(Put(sha256, path.stat().st_size, 0), path.read_bytes())
            anna.ask(submit)

    def typed(*arguments: str):
        return CliRunner().invoke(build_app(), ["server", "queue", "--address", server.address, *arguments])

    def waiting(shown) -> list[str]:
        return [line.split()[1] for line in shown.output.splitlines() if line.split()[0].isdecimal()]

    assert waiting(typed()) == [ids[0][:8], own[:8], ids[1][:8]]
    assert waiting(typed("--first", ids[1][:8])) == [ids[1][:8], own[:8], ids[0][:8]], "Anna had her turn"
    assert "No job that you may put first begins with ffffffff-0" in str(typed("--first", "ffffffff-0").exception)
    assert str(typed("--first", blocking[:8]).exception).startswith(
        f"Job {blocking[:8]} is already running: only a waiting job"
    )
    with pytest.MonkeyPatch.context() as patch:  # as Anna, who sees only the digits of her own jobs
        patch.setattr("ex4d.jobs.client.client_keys", lambda state: ClientKeys(client_keys(state).server, ANNA))
        assert own[:8] not in typed().output
        assert "Only the server's administrator" in str(typed("--first", ids[0][:8]).exception)
    assert waiting(typed()) == [ids[1][:8], own[:8], ids[0][:8]]
    anna.close()


def test_a_cancel_that_the_server_has_not_confirmed_is_known_as_such_and_sent_when_it_is_back(server, blender, take):
    server.start()
    client = blender("one")
    job_id = client.submit(*take("slow"))
    until(lambda update: update.stage == "wait", client)
    server.kill()
    until(lambda update: "does not answer" in update.message, client)
    client.cancel(job_id)
    assert client.cancelling == {job_id}
    server.start()
    until(lambda: (client.poll(), not client.cancelling)[1])
    peer = Raw(server.address)
    assert peer.ask(AskQueue()).running == peer.ask(AskQueue()).waiting == ()
    peer.close()


def test_the_proxy_of_a_take_is_neither_made_nor_shown_where_the_server_is_on_this_machine(server, take, tmp_path):
    server.start()
    client = Client(server.address, tmp_path / "one", proxies=True, same_disk=False)
    updates = []
    job_id = client.submit(*take("take", os.urandom(4 << 20)))
    last = client.wait(job_id, updates.append, timeout=PATIENCE)
    assert client._jobs[job_id].done.result.proxy is None, "it is not even made"
    assert set(last.files) == {"result.mp4"}
    assert [update for update in updates if update.proxy] == []
    assert [path.name for path in Path(tmp_path / "one").rglob("*.*")] == ["result.mp4"]
    client.close()
