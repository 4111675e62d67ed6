"""The server is killed, comes back, is replaced by another, or is missing."""

import signal
import subprocess
import sys
import time

import pytest
from server_process import HERE, PATIENCE, until

from ex4d.errors import ServerError
from ex4d.jobs.client import Client


def test_a_job_that_ran_when_the_server_was_killed_runs_again_and_the_waiting_client_gets_it(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow_once", b"the clip")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    server.kill()
    dead = until(lambda update: "does not answer" in update.message, client)
    assert dead[-1].state == "running"
    assert client.status == "unreachable"
    assert not client.occupied, "nobody listens there now"
    assert "start it, or check the address" in client.problem
    server.start()
    updates = []
    last = client.wait(job_id, updates.append, timeout=PATIENCE)
    assert (last.state, last.attempt, last.message) == ("done", 2, "")
    assert any("server was restarted" in update.message for update in updates)
    assert last.files["result.mp4"].read_bytes() == b"the clip"
    assert client.status == "ready"


def test_a_job_that_ran_through_two_restarts_fails_with_a_sentence(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    for attempt in (1, 2):
        until(lambda update, attempt=attempt: update.stage == "wait" and update.attempt == attempt, client)
        server.kill()
        server.start()
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.state == "failed"
    assert "lost twice while this job ran" in last.message


def test_a_cancelled_job_does_not_come_back_with_the_server(server, connect, shot):
    server.start(cancel=60)
    client = connect(server)
    job, files = shot("hang")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "hang", client)
    client.cancel(job_id)
    client.poll()
    other = connect(server)  # once it is answered, the cancel has been read
    until(lambda: other.poll() or other.status == "ready")
    server.kill()
    client.close()  # it would cancel again, but here only the journal must remember
    server.start()
    late = connect(server)
    late.follow(job_id)
    assert late.wait(job_id, timeout=PATIENCE).state == "cancelled"


def test_a_cancel_while_the_server_is_away_counts_at_once_and_is_told_when_it_is_back(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    server.kill()
    until(lambda update: "does not answer" in update.message, client)
    client.cancel(job_id)
    assert client.wait(job_id).state == "cancelled"
    server.start()
    until(lambda: client.poll() or client.status == "ready")
    watcher = connect(server)
    watcher.follow(job_id)
    assert watcher.wait(job_id, timeout=PATIENCE).state == "cancelled"


def test_results_are_still_there_after_a_restart(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy", b"the clip")
    job_id = client.submit(job, files)
    client.wait(job_id, timeout=PATIENCE)
    server.terminate()
    server.start()
    late = connect(server)
    late.follow(job_id)
    assert late.wait(job_id, timeout=PATIENCE).files["result.mp4"].read_bytes() == b"the clip"


def test_a_server_that_does_not_know_the_job_fails_it_with_a_sentence(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    server.kill()
    server.state = server.state.with_name("another")
    server.start()
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.state == "failed"
    assert "does not know this job" in last.message


def test_jobs_submitted_before_the_server_is_there_run_when_it_comes(server, connect, shot):
    server.start()
    server.kill()
    client = connect(server)
    job, files = shot("copy")
    job_id = client.submit(job, files)
    client.poll()
    server.start()
    assert client.wait(job_id, timeout=PATIENCE).state == "done"


def test_a_server_that_never_answers_is_unreachable_after_a_while(tmp_path):
    now = [0.0]
    client = Client("tcp://127.0.0.1:9", tmp_path, clock=lambda: now[0])
    client.poll()
    assert (client.status, client.problem) == ("connecting", "")
    for _ in range(4):
        now[0] += 1
        client.poll()
    assert client.status == "unreachable"
    assert client.problem.startswith("The EX-4D server at tcp://127.0.0.1:9 does not answer: start it, or check")
    client.close()


def test_a_server_that_stopped_answering_is_unreachable_and_found_again(server, connect, shot):
    server.start()
    speed, before, passed = 1, time.monotonic(), 0.0

    def clock():
        nonlocal before, passed
        now = time.monotonic()
        passed, before = passed + speed * (now - before), now
        return passed

    client = connect(server, clock=clock)
    job, files = shot("slow_once")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    server.process.send_signal(signal.SIGSTOP)
    speed = 4  # so that the client gives up sooner
    until(lambda update: "does not answer" in update.message, client)
    speed = 1
    server.process.send_signal(signal.SIGCONT)
    until(lambda update: update.message == "" and update.stage == "wait" and update.step > 100, client)
    client.cancel(job_id)
    assert client.wait(job_id).state == "cancelled"


def test_waiting_for_a_server_that_is_not_there_ends_with_a_sentence(tmp_path, shot):
    now = [0.0]

    def clock():
        now[0] += 0.5
        return now[0]

    client = Client("tcp://127.0.0.1:9", tmp_path, clock=clock)
    job, files = shot("copy")
    with pytest.raises(ServerError, match="does not answer"):
        client.wait(client.submit(job, files))
    client.close()


def test_a_client_that_slept_does_not_blame_the_server(server, connect):
    server.start()
    now = [0.0]
    client = connect(server, clock=lambda: now[0])
    until(lambda: client.poll() or client.status == "ready")
    now[0] += 3600
    client.poll()
    assert client.status == "ready"


def refusal(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / "serve.py"), *arguments], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://0.0.0.0:0", "Other machines can reach tcp://0.0.0.0:0, but no client is let in yet"),
        ("tcp://192.168.0.1:5750", "Other machines can reach tcp://192.168.0.1:5750, but no client is let in yet"),
        ("tcp://*:5750", "is not a server address: write it like tcp://127.0.0.1:5750"),
        ("tcp://example.org:1", "write the IPv4 address of this machine, or tcp://0.0.0.0:1 for all of its addresses"),
    ],
)
def test_an_address_that_others_can_reach_is_refused(address, why, tmp_path):
    assert why in refusal(address, str(tmp_path / "state"))


@pytest.mark.parametrize("address", ["127.0.0.1:5750", "ipc:///tmp/x", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", ""])
def test_an_address_that_is_none_is_refused(address, tmp_path):
    assert "is not a server address" in refusal(address, str(tmp_path / "state"))


def test_a_second_server_on_the_same_state_is_refused(server):
    server.start()
    sentence = refusal("tcp://127.0.0.1:0", str(server.state))
    assert f"Another EX-4D server (process {server.process.pid})" in sentence


def test_a_port_that_is_taken_is_refused(server, tmp_path):
    server.start()
    assert "cannot listen" in refusal(server.address, str(tmp_path / "another"))


def test_a_state_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be used" in refusal("tcp://127.0.0.1:0", str(tmp_path / "file" / "state"))


def test_a_journal_of_another_version_is_refused(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 100)
    assert "cannot be used" in refusal("tcp://127.0.0.1:0", str(tmp_path))
