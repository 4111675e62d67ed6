"""Whose job runs next, and who is told when it ends."""

import random
import re
import time
import uuid

import pytest
import zmq
from ex4d_server.journal import Journal
from ex4d_server.server import Server
from raw import Raw
from server_process import PATIENCE, until

from ex4d.jobs.codec import decode, encode
from ex4d.jobs.keys import client_keys
from ex4d.jobs.messages import PROTOCOL_VERSION, SERVER_CONTROL, Event, Follow, Hello, Submit
from ex4d.pipeline.requests import Blob, Generate, Reconstruct, Source, job_hash

BLOB = Blob("0" * 64, 1, "a.mp4")
JOB = Reconstruct(Source((BLOB,), (BLOB,)))
TAKE = Generate(Source((BLOB,), (BLOB,)))


def order(journal: Journal, steps: int) -> list[str]:
    """Run this many jobs, one after another; returns their ids."""
    ran = []
    for _ in range(steps):
        ran.append(journal.next_queued())
        journal.start(ran[-1])
        journal.finish(ran[-1], "cancelled")
    return ran


def test_owners_take_turns():
    journal = Journal(":memory:")
    for owner in "abcde":
        for number in range(10):
            journal.add(f"{owner}{number}", JOB, owner)
    ran = order(journal, 50)
    assert ran == [f"{owner}{number}" for number in range(10) for owner in "abcde"]
    journal.close()


def test_one_who_comes_late_waits_for_one_job_and_not_for_all_of_another():
    journal = Journal(":memory:")
    for number in range(10):
        journal.add(f"a{number}", JOB, "a")
    assert order(journal, 3) == ["a0", "a1", "a2"]
    journal.add("b0", JOB, "b")
    journal.add("b1", JOB, "b")
    assert order(journal, 5) == ["b0", "a3", "b1", "a4", "a5"]
    journal.close()


def test_what_somebody_waits_for_at_a_screen_comes_before_takes_of_all():
    journal = Journal(":memory:")
    for number in range(3):
        journal.add(f"a{number}", TAKE, "a")
    journal.add("b0", TAKE, "b")
    journal.add("b1", JOB, "b")
    journal.add("a3", JOB, "a")
    assert order(journal, 6) == ["b1", "a3", "b0", "a0", "a1", "a2"]
    journal.close()


def test_turns_are_remembered_over_a_restart(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    for owner in "ab":
        for number in range(2):
            journal.add(f"{owner}{number}", JOB, owner)
    assert order(journal, 1) == ["a0"]
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite")
    assert order(journal, 3) == ["b0", "a1", "b1"]
    journal.close()


def test_each_of_a_hundred_owners_starts_once_before_any_starts_twice():
    journal = Journal(":memory:")
    for number in range(400):
        journal.add(f"j{number}", JOB, f"owner{number % 100}")
    expected = [f"j{number}" for number in range(400)]
    assert journal.in_turn(1000) == [(job_id, f"owner{int(job_id[1:]) % 100}") for job_id in expected], "as it will be"
    assert order(journal, 400) == expected, "and is"
    journal.close()


@pytest.mark.parametrize("started", range(0, 12, 3))
def test_the_order_that_is_foretold_is_the_order_in_which_jobs_start(started):
    """With owners and connections that have different numbers of jobs, some of which have already run."""
    chance, journal = random.Random(started), Journal(":memory:")
    for number in range(24):
        owner = chance.choice("abc")
        journal.add(f"j{number}", chance.choice((JOB, TAKE)), owner, owner + chance.choice("12"))
    order(journal, started)
    foretold = [job_id for job_id, _owner in journal.in_turn(100)]
    assert len(foretold) == 24 - started
    assert [job_id for job_id, _owner in journal.in_turn(5)] == foretold[:5]
    assert order(journal, 24 - started) == foretold
    journal.close()


def test_a_ping_asks_the_journal_no_more_often_where_many_jobs_wait(tmp_path):
    server, asked = Server("tcp://127.0.0.1:0", tmp_path / "state"), []
    try:
        for number in range(300):
            server._journal.add(f"j{number}", JOB, "ab"[number % 2])
        server._journal._db.set_trace_callback(asked.append)
        told = server._pong("b").ahead
        assert [(each.job_id, each.jobs) for each in told] == [(f"j{n}", n) for n in range(1, 200, 2)]
        assert len(asked) < 10
    finally:
        server.close()


def test_of_five_clients_with_jobs_the_fifth_waits_for_four(server, connect, shot):
    server.start()
    job, files = shot("copy")
    first = connect(server)
    first.wait(first.submit(job, files), timeout=PATIENCE)  # the server has the files now
    slow, slow_files = shot("slow")
    blocking = first.submit(slow, slow_files)
    until(lambda update: update.stage == "wait", first)
    peers = [Raw(server.address) for _ in range(5)]
    owner = {}
    for number, peer in enumerate(peers):
        for _ in range(6):
            submit = Submit(str(uuid.uuid4()), job_hash(job), job)
            assert peer.ask(submit).state == "queued"
            owner[submit.job_id] = number
    first.cancel(blocking)
    assert first.wait(blocking, timeout=PATIENCE).state == "cancelled"
    for job_id in owner:
        until(lambda job_id=job_id: peers[0].ask(Follow(job_id, 0)).state == "done")
    for peer in peers:
        peer.close()
    started = [job_id for job_id in re.findall("job (\\S+) starts", server.log) if job_id in owner]
    ran = [owner[job_id] for job_id in started]
    assert all(sorted(ran[i : i + 5]) == [0, 1, 2, 3, 4] for i in range(0, 30, 5)), ran


def test_the_end_of_a_job_reaches_a_client_whose_queue_was_full_meanwhile(server, connect, shot):
    server.start()
    job, files = shot("noisy_stages")
    client = connect(server)
    job_id = client.submit(job, files)
    until(lambda update: update.state == "running", client)
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.linger, peer.rcvhwm, peer.rcvbuf, peer.rcvtimeo = 0, 10, 4096, int(1000 * PATIENCE)
    client_keys(server.state).put_on(peer)
    peer.connect(server.address)
    peer.send(encode(Hello(PROTOCOL_VERSION, "lazy")))
    peer.send(encode(Follow(job_id, 0)))
    # It reads nothing while 30 MB of events are sent to it: its own queue, the server's and the system's fill up.
    assert client.wait(job_id, timeout=60).state == "done"
    time.sleep(0.5)
    states, numbers = [], []
    while not states or states[-1] != "done":
        message = decode(peer.recv(), SERVER_CONTROL)
        if isinstance(message, Event):
            states.append(message.state)
            numbers.append(message.seq)
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 3003, "of each stage the last step, and three of the job itself"
    context.destroy(linger=0)
