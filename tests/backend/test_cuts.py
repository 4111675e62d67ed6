"""Connections that break while files are in transit: a job is done only once every file is here and complete."""

import os
import random

import pytest
from proxy import Proxy
from server_process import PATIENCE, until

from ex4d.jobs.client import Client
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source

MB = 1 << 20


@pytest.fixture
def behind_proxy(server, tmp_path):
    """behind_proxy() -> (client, proxy) for the server, which it starts."""
    made = []

    def make() -> tuple[Client, Proxy]:
        proxy = Proxy(server.start() if server.process is None else server.address)
        made.append(proxy)
        made.append(Client(proxy.address, tmp_path / f"downloads_{len(made)}", same_disk=False, state=server.state))
        return made[-1], proxy

    yield make
    for thing in reversed(made):
        thing.close()


def several(tmp_path, sizes: tuple[int, ...]):
    """A job whose results are files of these sizes."""
    files = {}
    for i, size in enumerate(sizes):
        path = tmp_path / ("several.mp4" if i == 0 else f"clip_{i}.mp4")
        path.write_bytes(os.urandom(size))
        files[blob_of(path)] = path
    job = Reconstruct(Source(tuple(files), (next(iter(files)),)))
    return job, {blob.sha256: path for blob, path in files.items()}


def check_all_there(last, files) -> None:
    assert last.state == "done", last.message
    assert len(last.files) == len(files)
    for path in files.values():
        assert last.files[path.name].read_bytes() == path.read_bytes()
    assert list(next(iter(last.files.values())).parent.glob("*.part")) == []


@pytest.mark.parametrize("seed", range(4))
def test_downloads_that_are_cut_anywhere_end_done_with_every_file_whole(behind_proxy, tmp_path, seed):
    client, proxy = behind_proxy()
    job, files = several(tmp_path, (3 * MB, 1, 2 * MB, 0, 700_000))
    job_id = client.submit(job, files)
    distances = [random.Random(seed + i).randrange(1, 1_500_000) for i in range(12)]
    until(lambda: any(update.state == "downloading" for update in client.poll(0)) or proxy.moved["down"] > 0)
    proxy.cut_each("down", distances)
    check_all_there(client.wait(job_id, timeout=60), files)
    assert proxy.cuts >= 3


def test_a_download_that_is_cut_after_each_of_its_chunks_ends_done(behind_proxy, tmp_path):
    client, proxy = behind_proxy()
    job, files = several(tmp_path, (5 * MB + 17, 8 * MB))
    proxy.cut_each("down", [MB + 400] * 30)
    check_all_there(client.wait(client.submit(job, files), timeout=60), files)
    assert proxy.cuts >= 8


@pytest.mark.parametrize("seed", range(3))
def test_uploads_that_are_cut_anywhere_arrive_whole(behind_proxy, tmp_path, seed):
    client, proxy = behind_proxy()
    job, files = several(tmp_path, (4 * MB, 1, 2 * MB, 0))
    proxy.cut_each("up", [random.Random(seed + i).randrange(1, 1_500_000) for i in range(10)])
    check_all_there(client.wait(client.submit(job, files), timeout=60), files)
    assert proxy.cuts >= 3


def test_a_server_that_restarts_during_each_download_loses_no_file(server, connect, tmp_path):
    server.start()
    job, files = several(tmp_path, (4 * MB, 3 * MB, 2 * MB))
    for _ in range(3):
        client = connect(server, same_disk=False)
        job_id = client.submit(job, files)
        until(lambda update: update.stage == "download" and update.step > MB, client)
        server.kill()
        server.start()
        last = client.wait(job_id, timeout=PATIENCE)
        check_all_there(last, files)


def test_follow_again_in_the_middle_of_a_download_changes_nothing(server, connect, tmp_path):
    server.start()
    job, files = several(tmp_path, (4 * MB, 3 * MB))
    client = connect(server, same_disk=False)
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "download" and update.step > 0, client)
    client._introduce(client._jobs[job_id])  # as the client does after each hello, but on the same connection
    check_all_there(client.wait(job_id, timeout=PATIENCE), files)


def test_a_cancel_during_the_download_ends_the_job_here_and_the_result_stays(server, connect, tmp_path):
    server.start()
    job, files = several(tmp_path, (4 * MB, 3 * MB))
    client = connect(server, same_disk=False)
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "download" and update.step > 0, client)
    client.cancel(job_id)
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.state == "cancelled"
    assert last.files == {}
    assert "stays on the server" in last.message
    folder = tmp_path / "downloads" / job_id
    assert list(folder.glob("*.part")) == []
    client.follow(job_id)
    check_all_there(client.wait(job_id, timeout=PATIENCE), files)


def test_a_file_that_is_taken_away_during_the_download_is_fetched_again(server, connect, tmp_path):
    server.start()
    job, files = several(tmp_path, (MB, 6 * MB))
    client = connect(server, same_disk=False)
    job_id = client.submit(job, files)
    first = tmp_path / "downloads" / job_id / "several.mp4"
    until(lambda: client.poll(0) is None or first.exists())
    first.unlink()
    check_all_there(client.wait(job_id, timeout=PATIENCE), files)
