"""Orderly shutdown: it costs no attempt, this user's programs can request it, and an abandoned server shuts down."""

import json
import os
import signal
import time

import pytest
from ex4d_server.orders import STATE_VARIABLE
from ex4d_server.platform import processes_with
from raw import Raw
from server_process import PATIENCE, until

from ex4d.jobs.messages import Follow


def about(server) -> dict:
    return json.loads((server.state / "server.json").read_text())


STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
HEARD = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]
"""Signals not ignored where these tests run: SIGHUP is ignored under nohup, and SIGINT in a shell's background job."""


@pytest.mark.parametrize("number", HEARD)
def test_orderly_stops_spend_no_attempt(server, connect, shot, number):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    for _ in range(3):
        started = until(lambda update: update.state == "running" and update.stage == "", client)
        assert started[-1].attempt == 1
        until(lambda update: update.stage == "wait", client)
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == 0
        assert not processes_with(STATE_VARIABLE, str(server.state))
        server.start()
    until(lambda update: update.state == "running" and update.stage == "", client)
    client.cancel(job_id)
    last = client.wait(job_id, timeout=PATIENCE)
    assert (last.state, last.attempt) == ("cancelled", 1)


def test_a_client_that_comes_back_hears_that_the_server_was_stopped(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    server.terminate()
    server.start()
    until(lambda update: "was stopped" in update.message, client)


def test_a_job_that_was_to_be_cancelled_is_so_after_an_orderly_stop(server, connect, shot):
    server.start(cancel=60)
    client = connect(server)
    job, files = shot("hang")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "hang", client)
    peer = Raw(server.address)
    client.cancel(job_id)
    client.poll()
    time.sleep(0.3)
    server.terminate()
    server.start()
    peer.close()
    peer = Raw(server.address)
    assert peer.ask(Follow(job_id, 0)).state == "cancelled"
    peer.close()


def test_who_can_write_into_the_state_folder_can_end_the_server_in_order(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    assert about(server) == {
        "address": server.address,
        "instance": client.server.instance,
        "pid": server.process.pid,
    }
    (server.state / "stop").touch()
    assert server.process.wait(PATIENCE) == 0
    assert not (server.state / "server.json").exists()
    server.start()  # the request does not carry over to it
    until(lambda update: update.job_id == job_id and update.stage == "wait" and update.attempt == 1, client)
    assert not (server.state / "stop").exists()


def test_a_server_ends_when_no_client_has_been_heard_for_as_long_as_it_lingers(server, connect, shot):
    server.start(linger=4)
    client = connect(server)
    until(lambda: client.poll() or client.status == "ready")
    end = time.monotonic() + 6
    while time.monotonic() < end:
        client.poll()  # pings every two seconds
        time.sleep(0.01)
    assert server.process.poll() is None
    client.close()
    assert server.process.wait(PATIENCE) == 0
    assert not processes_with(STATE_VARIABLE, str(server.state))


def test_a_server_without_clients_does_its_jobs_before_it_ends(server, connect, shot):
    server.start(linger=1)
    client = connect(server)
    job, files = shot("long_step")
    job_id = client.submit(job, files)
    until(lambda update: update.state == "running", client)
    client.close()
    assert server.process.wait(PATIENCE) == 0
    server.start()
    client = connect(server)
    client.follow(job_id)
    assert client.wait(job_id, timeout=PATIENCE).state == "done"


def test_a_server_that_was_started_by_hand_stays(server):
    server.start()
    peer = Raw(server.address)
    peer.close()
    time.sleep(3)
    assert server.process.poll() is None


def test_a_server_whose_output_nobody_reads_serves_all_the_same(server, connect, shot):
    server.start()
    server.process.stdout.close()
    os.kill(server.process.pid, 0)
    client = connect(server)
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
