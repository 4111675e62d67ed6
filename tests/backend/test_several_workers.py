"""Several workers: jobs run at the same time, each on its own device, and none runs twice."""

import re
import uuid

import pytest
from ex4d_server.devices import PROCESSOR, Device, devices
from ex4d_server.orders import STATE_VARIABLE
from ex4d_server.platform import processes_with
from raw import Raw
from server_process import PATIENCE, until

from ex4d.errors import InputError
from ex4d.jobs.messages import Follow, Submit, Unload
from ex4d.pipeline.requests import job_hash

GPUS = """0, GPU-aaaa1111-0000-0000-0000-000000000000, NVIDIA H100 80GB HBM3
1, GPU-bbbb2222-0000-0000-0000-000000000000, NVIDIA L40S
2, GPU-bbcc3333-0000-0000-0000-000000000000, NVIDIA L40S
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """driver(text) makes a fake nvidia-smi that lists these GPUs, first on the PATH."""

    def make(listed: str) -> None:
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}END\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tool.parent), prepend=":")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return make


def seen(found: tuple[Device, ...]) -> list[str]:
    return [device.environment["CUDA_VISIBLE_DEVICES"][:8] for device in found]


def submit(peer: Raw, job) -> str:
    asked = Submit(str(uuid.uuid4()), job_hash(job), job)
    assert peer.ask(asked).state in ("queued", "running")
    return asked.job_id


def is_done(peer: Raw, job_id: str) -> bool:
    state = peer.ask(Follow(job_id, 0)).state
    assert state in ("queued", "running", "done")
    return state == "done"


def test_without_workers_named_there_is_one_for_each_gpu_and_each_sees_its_own_alone(driver):
    driver(GPUS)
    found = devices(None)
    assert [device.title for device in found] == [
        "GPU 0, NVIDIA H100 80GB HBM3",
        "GPU 1, NVIDIA L40S",
        "GPU 2, NVIDIA L40S",
    ]
    assert seen(found) == ["GPU-aaaa", "GPU-bbbb", "GPU-bbcc"]
    assert seen(devices(3)) == seen(found)


def test_where_there_are_more_gpus_than_workers_all_are_dealt_out_evenly(driver):
    driver(GPUS)
    (whole,) = devices(1)
    assert whole.title == "GPUs 0, 1 and 2, NVIDIA H100 80GB HBM3 and NVIDIA L40S"
    assert [uuid[:8] for uuid in whole.environment["CUDA_VISIBLE_DEVICES"].split(",")] == seen(devices(3))
    assert whole.names == "cuda:0,cuda:1,cuda:2"
    pair, alone = devices(2)
    assert (pair.title, pair.names) == ("GPUs 0 and 1, NVIDIA H100 80GB HBM3 and NVIDIA L40S", "cuda:0,cuda:1")
    assert (alone.title, alone.names) == ("GPU 2, NVIDIA L40S", "auto")
    driver("".join(f"{n}, GPU-{n:04}, NVIDIA H100\n" for n in range(8)))
    dealt = [device.environment["CUDA_VISIBLE_DEVICES"] for device in devices(3)]
    assert dealt == ["GPU-0000,GPU-0001,GPU-0002", "GPU-0003,GPU-0004,GPU-0005", "GPU-0006,GPU-0007"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,0", ["GPU-bbcc", "GPU-aaaa"]),
        ("GPU-bbbb,1", ["GPU-bbbb"]),
        ("0,0,2", ["GPU-aaaa", "GPU-bbcc"]),
        ("GPU-bb", []),  # two begin like this
        ("0,9,1", ["GPU-aaaa"]),
        ("MIG-1f2e,0", ["MIG-1f2e", "GPU-aaaa"]),
    ],
)
def test_gpus_that_the_server_may_not_see_get_no_worker(driver, monkeypatch, visible, expected):
    driver(GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert (seen(devices(None)) if expected else [d.title for d in devices(None)]) == (expected or ["CPU"])


def test_more_workers_than_gpus_are_refused(driver):
    driver(GPUS.splitlines(keepends=True)[0])
    with pytest.raises(InputError, match="needs its own GPU, and there is only 1: use --workers 1"):
        devices(2)


def test_where_the_driver_does_not_say_what_there_is_one_worker_takes_what_torch_finds_and_two_are_refused(
    driver, tmp_path
):
    driver("")
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (found,) = devices(None)
    assert (found.title, found.names, dict(found.environment)) == ("GPU or CPU, as torch finds them", "auto", {})
    with pytest.raises(InputError, match="use --workers 1, or repair the driver"):
        devices(2)


def test_workers_without_a_gpu_share_the_cores(driver, monkeypatch):
    driver("")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [dict(device.environment) for device in devices(2)] == [{"NUMBA_NUM_THREADS": "4"}] * 2
    assert devices(None) == (PROCESSOR,)


def most_at_once(log: str) -> int:
    """The highest number of attempts in a server's log that ran at the same time."""
    running, most = 0, 0
    for word in re.findall(r"starts under lease|lease \d+ ended", log):
        running += 1 if word.startswith("starts") else -1
        most = max(most, running)
    return most


def test_three_workers_run_three_jobs_at_a_time_and_each_clients_first_is_among_the_first_three(server, connect, shot):
    server.start(workers=3)
    job, files = shot("one_second")
    first = connect(server)
    first.wait(first.submit(job, files), timeout=PATIENCE)  # the server has the files now
    slow, slow_files = shot("slow")
    blocking = [first.submit(slow, slow_files) for _ in range(3)]
    until(lambda: server.log.count(" starts under lease") == 4)
    peers = [Raw(server.address) for _ in range(3)]
    owner = {submit(peer, job): number for number, peer in enumerate(peers) for _ in range(3)}
    for job_id in blocking:
        first.cancel(job_id)
    for job_id in owner:
        until(lambda job_id=job_id: is_done(peers[0], job_id))
    for peer in peers:
        peer.close()
    started = [job_id for job_id in re.findall("job (\\S+) starts", server.log) if job_id in owner]
    assert sorted(owner[job_id] for job_id in started[:3]) == [0, 1, 2]
    assert sorted(started) == sorted(owner), "none runs twice"
    assert most_at_once(server.log) == 3
    assert len(processes_with(STATE_VARIABLE, str(server.state))) == 3
    assert {path.name for path in (server.state / "logs").iterdir()} >= {"worker.log", "worker-2.log", "worker-3.log"}


def pid_of(client, job, files) -> int:
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "done", last.message
    return last.facts["pid"]


def test_a_shot_goes_to_the_worker_that_has_it_warm_and_another_one_does_not_drive_it_out(server, connect, shot):
    server.start(workers=3)
    client = connect(server)
    one, two = shot("one_second", frames=5), shot("one_second", frames=9)
    first, second = pid_of(client, *one), pid_of(client, *two)
    assert first != second
    assert [pid_of(client, *each) for each in (two, one, two)] == [second, first, second]


def test_a_worker_that_dies_takes_its_own_job_along_and_no_other(server, connect, shot):
    server.start(workers=2)
    client = connect(server)
    slow, files = shot("slow")
    going = client.submit(slow, files)
    until(lambda update: update.job_id == going and update.stage == "wait", client)
    crash, files = shot("crash")
    assert client.wait(client.submit(crash, files), timeout=PATIENCE).state == "failed"
    client.cancel(going)
    last = client.wait(going, timeout=PATIENCE)
    assert (last.state, last.attempt) == ("cancelled", 1)


def test_each_client_frees_the_workers_of_its_own_jobs(server, connect, shot):
    server.start(workers=2)
    client = connect(server)
    for frames in (5, 9):
        pid_of(client, *shot("one_second", frames=frames))
    assert len(processes_with(STATE_VARIABLE, str(server.state))) == 2
    peer = Raw(server.address)
    assert peer.ask(Unload()).freed
    peer.close()
    until(lambda: not processes_with(STATE_VARIABLE, str(server.state)))


def test_a_server_that_was_killed_leaves_no_worker_to_one_with_fewer(server, connect, shot):
    server.start(workers=3)
    client = connect(server)
    slow, files = shot("slow")
    ids = []
    for _ in range(3):
        ids.append(client.submit(slow, files))
        until(lambda update: update.job_id == ids[-1] and update.stage == "wait", client)
    old = {process.pid for process in processes_with(STATE_VARIABLE, str(server.state))}
    assert len(old) == 3
    server.kill()
    server.start(workers=1)
    assert not old & {process.pid for process in processes_with(STATE_VARIABLE, str(server.state))}


def test_the_take_says_what_it_was_made_on(server, connect, shot):
    server.start(workers=2)
    job, files = shot("one_second")
    client = connect(server)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.facts["device"] == "CPU, worker 1"
