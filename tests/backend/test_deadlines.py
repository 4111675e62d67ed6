"""Workers that hang are ended, whatever they hang in; workers in a long step are not."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from ex4d_server.executor import Deadlines, Lost
from ex4d_server.gate import Gate
from ex4d_server.local import local_executor
from ex4d_server.orders import STATE_VARIABLE, Beat, Finished, Ready, Run, Step
from ex4d_server.platform import processes_with
from server_process import PATIENCE, until

from ex4d.jobs.codec import encode
from ex4d.jobs.keys import KeyPair
from ex4d.jobs.messages import Result
from ex4d.pipeline.requests import Blob, Reconstruct, Source

BLOB = Blob("0" * 64, 1, "slow.mp4")
JOB = Reconstruct(Source((BLOB,), (BLOB,)))


def workers(server) -> list[int]:
    return [process.pid for process in processes_with(STATE_VARIABLE, str(server.state))]


def test_a_worker_that_is_stopped_in_a_job_is_ended_and_the_job_runs_again(server, connect, shot):
    server.start(beat=2)
    client = connect(server)
    job, files = shot("slow_once")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    (pid,) = workers(server)
    os.kill(pid, signal.SIGSTOP)
    updates = []
    last = client.wait(job_id, updates.append, timeout=PATIENCE)
    assert (last.state, last.attempt) == ("done", 2)
    assert any("did not answer for" in update.message for update in updates)
    assert not psutil.pid_exists(pid)


def test_an_idle_worker_that_is_stopped_is_replaced(server, connect, shot):
    server.start(beat=2)
    client = connect(server)
    job, files = shot("copy")
    first = client.wait(client.submit(job, files), timeout=PATIENCE)
    os.kill(first.facts["pid"], signal.SIGSTOP)
    until(lambda: not psutil.pid_exists(first.facts["pid"]))
    second = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert (second.state, second.attempt) == ("done", 1)


def test_an_endless_loop_is_ended_after_the_time_for_a_step(server, connect, shot):
    server.start(step=1)
    client = connect(server)
    job, files = shot("endless")
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert (last.state, last.attempt) == ("failed", 2)
    assert "made no step for" in last.message
    assert "'turn'" in last.message
    job, files = shot("copy")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"


def test_a_step_that_takes_longer_than_a_beat_is_let_be(server, connect, shot):
    server.start(beat=2)
    client = connect(server)
    job, files = shot("long_step")
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert (last.state, last.attempt) == ("done", 1)


def runs(pid: int) -> bool:
    """Whether a process exists and is not just a zombie that init has not reaped yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_stopped_worker_of_a_killed_server_is_ended_before_there_is_another(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("family")
    client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    pids = [int(pid) for pid in server.mark.read_text().split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    server.kill()
    time.sleep(0.5)
    assert all(psutil.pid_exists(pid) for pid in pids)  # while suspended, they do not notice that their pipe closes
    server.start()
    assert not any(runs(pid) for pid in pids)
    until(lambda update: update.stage == "wait" and update.attempt == 2, client)
    assert not set(workers(server)) & set(pids)


def test_processes_of_another_state_folder_are_left_alone(server, tmp_path):
    environment = {**os.environ, STATE_VARIABLE: str(tmp_path / "another")}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=subprocess.PIPE) as other:
        server.start()
        assert other.poll() is None
        other.kill()


class Watch:
    """A local executor with a clock that the test controls, and a process that never sends anything as its worker."""

    def __init__(self, context, state, monkeypatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(
            "ex4d_server.worker_process.subprocess.Popen", lambda command, **options: _popen(["/bin/cat"], **options)
        )
        self.gate = Gate(context, KeyPair.new())
        self.executor = local_executor(context, self.gate, state, deadlines=Deadlines(), clock=lambda: self.now)
        self.executor.start(7, JOB, "owner")
        self.worker = self.executor._worker
        self.peer = b"peer"

    def say(self, message) -> None:
        self.executor._receive(self.peer, message)

    def after(self, seconds: float, beating: bool = True) -> list:
        """The events of the next `seconds`, in ticks of two seconds."""
        events = []
        for _ in range(int(seconds / 2)):
            self.now += 2
            if beating and self.executor._worker:
                self.say(Beat(self.worker.token))
            events += self.executor.tick()
        return events


_popen = subprocess.Popen


@pytest.fixture
def watch(tmp_path, monkeypatch):
    import zmq

    context = zmq.Context()
    watch = Watch(context, tmp_path, monkeypatch)
    yield watch
    watch.executor.close()
    watch.gate.close()
    context.destroy(linger=0)


def test_a_worker_that_never_gives_a_sign_of_life_is_given_up(watch):
    assert watch.after(120, beating=False) == []
    (lost,) = watch.after(4, beating=False)
    assert isinstance(lost, Lost)
    assert watch.executor._worker is None
    assert watch.executor.has_room()


@pytest.mark.parametrize(
    ("step", "patience"),
    [
        (None, 7200),
        (Step(7, "sample", 1, 20, 0.1), 1800),
        (Step(7, "sample", 20, 20, 0.1), 7200),  # the next stage may load something
        (Step(7, "decode", 0, 1, 0.1), 7200),
    ],
)
def test_each_stage_has_its_own_patience(watch, step, patience):
    watch.executor._send = lambda message: None
    watch.say(Ready(watch.worker.token))
    if step:
        watch.say(step)
        assert watch.executor.tick() == [step]
    assert watch.after(patience - 2) == []
    (lost,) = watch.after(6)
    assert "made no step for" in lost.message


def test_a_worker_that_has_had_no_job_for_long_is_ended_and_gives_back_what_it_holds(watch):
    watch.executor._send = lambda message: None
    watch.say(Ready(watch.worker.token))
    watch.after(1000)
    watch.say(Finished(7, Result({}, ())))
    assert watch.after(898) == [Finished(7, Result({}, ()))]
    assert watch.executor.is_running
    assert watch.after(6) == []
    assert not watch.executor.is_running
    assert watch.worker.process.poll() is not None


def test_time_in_which_the_server_itself_stood_still_does_not_count(watch):
    watch.after(10)
    watch.now += 100_000
    assert watch.after(60, beating=False) == []
    assert watch.executor._worker is watch.worker


def test_a_worker_that_cannot_be_started_fails_the_attempt_and_nothing_else(tmp_path, monkeypatch):
    import zmq

    def refuse(*arguments, **options):
        raise OSError(24, "Too many open files")

    context = zmq.Context()
    gate = Gate(context, KeyPair.new())
    executor = local_executor(context, gate, tmp_path)
    monkeypatch.setattr("ex4d_server.worker_process.subprocess.Popen", refuse)
    executor.start(1, JOB, "owner")
    (lost,) = executor.tick()
    assert "Too many open files" in lost.message
    assert executor.has_room()
    monkeypatch.undo()
    executor.close()
    gate.close()
    context.destroy(linger=0)


def test_the_order_of_a_job_reaches_a_worker_once_it_has_shown_its_token(watch):
    sent = []
    watch.executor._send = sent.append
    watch.say(Ready("ä" * 32))
    assert sent == []
    watch.say(Ready(watch.worker.token))
    assert sent == [Run(7, JOB)]
    assert encode(sent[0])
