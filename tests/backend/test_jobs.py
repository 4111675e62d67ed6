"""Whole jobs, through a real server, a real worker process and the client."""

import os
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from ex4d_server import server as server_module
from ex4d_server.server import Server
from server_process import PATIENCE, until

from ex4d.errors import InputError
from ex4d.generate.registry import generators
from ex4d.jobs.client import Client
from ex4d.jobs.codec import ProtocolError
from ex4d.jobs.limits import PICTURE_BYTES
from ex4d.jobs.messages import Unloaded
from ex4d.pipeline.requests import Blob, Generate, job_hash
from ex4d.pipeline.settings import GenerateSettings, SourceSettings
from ex4d.schema import describe


def exists(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_runs_and_its_files_come_back(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy", b"the clip" * 100_000)
    updates = []
    last = client.wait(client.submit(job, files), updates.append, timeout=PATIENCE)
    assert last.state == "done", last.message
    assert last.facts["coverage"] == [0.5, 1.0]
    assert last.facts["suffix"] == ".mp4"
    assert last.files["result.mp4"].read_bytes() == b"the clip" * 100_000
    assert last.files["empty.txt"].read_bytes() == b""
    assert not list(last.files["empty.txt"].parent.glob("*.part"))
    order = ["uploading", "queued", "running", "downloading", "done"]
    states = [update.state for update in updates]
    assert sorted(set(states), key=states.index) == order
    assert states == sorted(states, key=order.index)
    can = client.server.capabilities
    assert [info.name for info in can.generators] == list(generators())
    assert [info.missing for info in can.generators] == [spec.missing(False) for spec in generators().values()]
    needs = [spec.memory(spec.settings()) for spec in generators().values()]
    assert [(info.least_gb, info.best_gb) for info in can.generators] == [(need.least, need.best) for need in needs]
    assert [info.files_gb for info in can.generators] == [spec.gigabytes for spec in generators().values()]
    assert can.generators[-1].is_preview
    assert not can.generators[-1].missing
    assert [info.settings for info in can.generators] == [describe(s.settings) for s in generators().values()]


def test_progress_arrives_in_order_and_each_stage_ends_with_its_last_step(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("stages")
    updates = []
    client.wait(client.submit(job, files), updates.append, timeout=PATIENCE)
    running = [update for update in updates if update.state == "running" and update.stage]
    assert [update.seq for update in running] == sorted({update.seq for update in running})
    for stage in ("read", "render", "write"):
        steps = [update.step for update in running if update.stage == stage]
        assert steps == sorted(steps)
        assert steps[-1] == 300
    assert len(running) < 100, "progress must be thinned out"


def test_pictures_of_what_is_being_made_come_with_the_progress_and_end_with_it(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("paint")
    updates = []
    client.wait(client.submit(job, files), updates.append, timeout=PATIENCE)
    shown = {update.step: update.picture for update in updates if update.stage == "Sampling" and update.picture}
    assert set(shown) == {1, 2, 3}
    first = cv2.imdecode(np.frombuffer(shown[1], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert first.shape == (90, 160, 3)
    assert np.abs(first.mean(axis=(0, 1)) - (250, 40, 0)).max() < 6
    assert len(shown[3]) <= PICTURE_BYTES
    assert updates[-1].picture == b""


def test_unload_ends_the_worker_and_the_next_job_gets_a_new_one(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    first = client.wait(client.submit(job, files), timeout=PATIENCE)

    def unload():
        client.unload()
        until(lambda: client.poll(0.01) or client.unloaded is not None)
        return client.unloaded

    assert unload() == Unloaded(True, "The memory has been freed; models are loaded again when they are needed.")
    assert not exists(first.facts["pid"])
    assert unload() == Unloaded(False, "Nothing is loaded.")
    second = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert second.state == "done"
    assert second.facts["pid"] != first.facts["pid"]


def test_unload_waits_for_no_running_job(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    until(lambda: any(update.state == "running" and update.stage for update in client.poll(0.01)))
    client.unload()
    until(lambda: client.poll(0.01) or client.unloaded is not None)
    assert client.unloaded == Unloaded(False, "A job is running: wait for it, or cancel it first.")
    client.cancel(job_id)
    assert client.wait(job_id, timeout=PATIENCE).state == "cancelled"


def test_the_worker_stays_warm_and_known_files_are_not_sent_again(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    first = client.wait(client.submit(job, files), timeout=PATIENCE)
    updates = []
    second = client.wait(client.submit(job, files), updates.append, timeout=PATIENCE)
    assert second.facts["pid"] == first.facts["pid"]
    assert not any(update.stage == "upload" for update in updates)


def test_submitting_twice_makes_one_job(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    job_id = client.submit(job, files)
    first = client.wait(job_id, timeout=PATIENCE)
    again = client.wait(client.submit(job, files, job_id=job_id), timeout=PATIENCE)
    assert again.state == "done"
    assert again.attempt == first.attempt == 1
    assert again.seq == first.seq


def test_a_lost_reply_is_harmless_for_the_client_that_submits_again(server, connect, shot):
    server.start()
    job, files = shot("copy")
    job_id = str(uuid.uuid4())
    lost = connect(server)
    lost.submit(job, files, job_id=job_id)
    until(lambda update: update.stage == "upload" and update.step == update.steps, lost)
    lost._connection.close()  # the submission is in transit, and its answer gets lost
    lost._connection = lost._connect()
    client = connect(server)
    client.submit(job, files, job_id=job_id)
    last = client.wait(job_id, timeout=PATIENCE)
    assert (last.state, last.attempt) == ("done", 1)


def test_the_same_id_for_another_job_is_a_conflict(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    job_id = client.submit(job, files)
    client.wait(job_id, timeout=PATIENCE)
    other, files = shot("copy", start=5)
    client.submit(other, files, job_id=job_id)
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.state == "failed"
    assert "already stands for another job" in last.message


def test_jobs_run_one_after_another(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    ids = [
        client.submit(replace(job, source=replace(job.source, settings=SourceSettings(start=i))), files)
        for i in range(3)
    ]
    ended = []
    while len(ended) < 3:
        ended += [update.job_id for update in until(lambda update: update.state == "done", client) if update.ended]
    assert ended == ids


def test_cancel_stops_between_two_steps_and_leaves_the_server_idle(server, connect, shot):
    server.start(cancel=60)
    client = connect(server)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    client.cancel(job_id)
    last = client.wait(job_id, timeout=PATIENCE)
    assert (last.state, last.message, dict(last.files)) == ("cancelled", "", {})
    assert not list((server.state / "work").glob("*"))
    next_job, files = shot("copy")
    assert client.wait(client.submit(next_job, files), timeout=PATIENCE).state == "done"


def test_cancel_of_a_waiting_job_does_not_touch_the_running_one(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("slow")
    running = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    waiting = client.submit(replace(job, source=replace(job.source, settings=SourceSettings(start=1))), files)
    until(lambda update: update.job_id == waiting and update.state == "queued", client)
    client.cancel(waiting)
    assert client.wait(waiting, timeout=PATIENCE).state == "cancelled"
    until(lambda update: update.job_id == running and update.state == "running", client)


def test_cancel_after_the_end_changes_nothing(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    job_id = client.submit(job, files)
    client.wait(job_id, timeout=PATIENCE)
    client.cancel(job_id)
    late = connect(server)
    late.follow(job_id)
    late.cancel(job_id)
    assert late.wait(job_id, timeout=PATIENCE).state == "done"


def test_a_job_that_ignores_cancel_is_ended_and_the_next_one_works(server, connect, shot):
    server.start(cancel=0.2)
    client = connect(server)
    job, files = shot("hang")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "hang", client)
    client.cancel(job_id)
    assert client.wait(job_id, timeout=PATIENCE).state == "cancelled"
    next_job, files = shot("copy")
    assert client.wait(client.submit(next_job, files), timeout=PATIENCE).state == "done"


@pytest.mark.parametrize(("runner", "how"), [("crash", "SIGSEGV"), ("leave", "code 3")])
def test_a_worker_that_dies_costs_its_attempts_and_the_next_job_works(server, connect, shot, runner, how):
    server.start()
    client = connect(server)
    job, files = shot(runner)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert (last.state, last.attempt) == ("failed", 2)
    assert how in last.message
    assert "worker.log" in last.message
    next_job, files = shot("copy")
    assert client.wait(client.submit(next_job, files), timeout=PATIENCE).state == "done"


@pytest.mark.parametrize(
    ("runner", "sentence"),
    [
        ("refuse", "The depth holds zeros: mask them first."),
        (
            "surprise",
            "'no such thing'); the worker's log has the details: logs/worker.log in the server's state folder.",
        ),
        ("nonsense", "The job's result cannot be sent"),
        ("chatter", "over the limit"),
    ],
)
def test_a_job_that_fails_says_why_and_keeps_its_worker(server, connect, shot, runner, sentence):
    server.start()
    client = connect(server)
    job, files = shot(runner)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert sentence in last.message
    next_job, files = shot("copy")
    assert client.wait(client.submit(next_job, files), timeout=PATIENCE).state == "done"
    assert not list((server.state / "work").glob("*"))


def test_the_log_has_the_traceback_of_an_unexpected_error(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("surprise")
    client.wait(client.submit(job, files), timeout=PATIENCE)
    assert 'raise KeyError("no such thing")' in (server.state / "logs" / "worker.log").read_text()


def test_a_full_disk_fails_the_job_with_a_sentence(server, connect, shot):
    server.start(file_limit=8 << 20)
    client = connect(server)
    job, files = shot("eat_disk")
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert "disk is full" in last.message
    assert not list((server.state / "work").glob("*"))


def test_nothing_outlives_the_server(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("family")
    client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    pids = [int(pid) for pid in server.mark.read_text().split()]
    assert all(exists(pid) for pid in pids)
    server.kill()
    until(lambda: not any(exists(pid) for pid in pids))


def test_a_server_that_is_told_to_end_ends_cleanly_with_its_worker(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("family")
    client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    pids = [int(pid) for pid in server.mark.read_text().split()]
    assert server.terminate() == 0
    until(lambda: not any(exists(pid) for pid in pids))


def test_nothing_leaks_over_many_clients_and_jobs(server, connect, shot):
    server.start()
    job, files = shot("copy")
    client = connect(server)
    client.wait(client.submit(job, files), timeout=PATIENCE)
    folder = f"/proc/{server.process.pid}/fd"
    before = len(os.listdir(folder))
    for start in range(1, 21):
        passing = connect(server)
        job = replace(job, source=replace(job.source, settings=SourceSettings(start=start)))
        assert passing.wait(passing.submit(job, files), timeout=PATIENCE).state == "done"
        passing.close()
        client.poll()
    until(lambda: len(os.listdir(folder)) <= before)


def test_a_job_with_a_bad_field_is_refused_before_it_is_sent(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    job = replace(job, source=replace(job.source, folder="../elsewhere"))
    with pytest.raises(ProtocolError, match=r"reconstruct\.source\.folder must be a plain file name"):
        client.submit(job, files)


def test_a_job_whose_files_are_not_given_is_refused(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    path = Blob("0" * 64, 10, "path.npz")
    with pytest.raises(InputError, match=r"path\.npz"):
        client.submit(Generate(job.source, path), files)


def test_the_hash_of_a_job_changes_with_every_field(shot):
    job, _ = shot("copy")
    hashes = {
        job_hash(replace(job, source=replace(job.source, settings=SourceSettings(**change))))
        for change in ({}, {"start": 1}, {"fps": "24"})
    }
    assert len(hashes) == 3


def test_what_cannot_be_looked_at_is_told_and_ends_nobody(monkeypatch):
    def gone(*_, **__):
        raise InputError("The folder of models is gone.")

    known = {name: replace(spec, missing=gone) for name, spec in generators().items()}
    monkeypatch.setattr(server_module, "generators", lambda: known)
    monkeypatch.setattr(server_module.registry, "lacking", gone)
    able = server_module._capabilities()
    assert {info.missing for info in able.generators} == {"The folder of models is gone."}
    assert {info.missing for info in able.estimators} == {"The folder of models is gone."}


def test_a_job_for_a_generator_that_is_not_there_fails_with_its_name_and_the_others(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    wanted = Generate(job.source, generation=GenerateSettings("telepathy"))
    last = client.wait(client.submit(wanted, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert "no generator 'telepathy'" in last.message
    assert "auto" in last.message


def test_more_pictures_than_one_job_may_name_are_refused_in_a_sentence(server, connect, shot):
    server.start()
    client = connect(server)
    job, files = shot("copy")
    many = tuple(Blob(f"{number:064x}", 1, f"{number}.png") for number in range(2001))
    job = replace(job, source=replace(job.source, clip=many, folder="frames"))
    with pytest.raises(InputError, match="2002 images, and at most 2000 can be sent"):
        client.submit(job, files)
    long = tuple(Blob(f"{number:064x}", 1, f"{number:04d}_{'x' * 90}.png") for number in range(1900))
    job = replace(job, source=replace(job.source, clip=long))
    with pytest.raises(InputError, match=r"1901 images with such long names are too many .* use fewer frames"):
        client.submit(job, {**files, **{blob.sha256: next(iter(files.values())) for blob in long}})


def test_a_server_keeps_nothing_in_memory_of_those_who_followed_a_job_that_has_ended(tmp_path, shot, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for the worker, which imports `runners`
    server = Server("tcp://127.0.0.1:0", tmp_path / "state", runner="runners:make")
    states = []

    def two_jobs() -> None:
        client = Client(server.address, tmp_path / "downloads")
        for name in ("copy", "refuse"):
            job, files = shot(name)
            job_id = client.submit(job, files)
            states.append(client.wait(job_id, timeout=PATIENCE).state)
            client.follow(job_id)
            states.append(client.wait(job_id, timeout=PATIENCE).state)
        client.close()

    jobs = threading.Thread(target=two_jobs)
    jobs.start()
    server.run(lambda: not jobs.is_alive())  # the journal belongs to this thread
    followers = dict(server._followers)
    server.close()
    assert states == ["done", "done", "failed", "failed"]
    assert followers == {}
