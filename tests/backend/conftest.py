"""Fixtures: a real server, always killed at the end; clients of it; jobs for it."""

import pytest
from server_process import ServerProcess

from ex4d.jobs.client import Client
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source
from ex4d.pipeline.settings import SourceSettings


@pytest.fixture
def server(tmp_path):
    process = ServerProcess(tmp_path)
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def connect(tmp_path):
    """connect(server) -> Client, closed at the end."""
    clients = []

    def make(server: ServerProcess, **options) -> Client:
        clients.append(Client(server.address, tmp_path / "downloads", **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def shot(tmp_path):
    """shot("copy") -> (job, files): a job for which the worker runs that function of runners.py."""

    def make(runner: str, content: bytes = b"clip", **options):
        folder = tmp_path / "inputs"
        folder.mkdir(exist_ok=True)
        clip, depth = folder / f"{runner}.mp4", folder / "depth.npz"
        clip.write_bytes(content)
        depth.write_bytes(b"depth")
        blobs = blob_of(clip), blob_of(depth)
        job = Reconstruct(Source((blobs[0],), (blobs[1],), settings=SourceSettings(**options)))
        return job, {blobs[0].sha256: clip, blobs[1].sha256: depth}

    return make
