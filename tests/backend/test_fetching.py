"""Fetching a model in a process of its own: what it tells, and how it ends."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest


def fetching(tmp_path, name: str, **environment: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | environment
    environment |= {"EX4D_MODELS": str(tmp_path / "models"), "HF_HOME": str(tmp_path / "home")}
    return subprocess.Popen(
        [sys.executable, "-m", "ex4d_server.fetching", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_a_model_that_nobody_has_is_told_with_those_that_there_are(tmp_path):
    with fetching(tmp_path, "nothing") as process:
        out = process.stdout.readline()
        assert process.wait(30) == 1
    assert "'nothing' has no files to fetch: choose one of wan, " in json.loads(out)["failed"]


@pytest.mark.depth
@pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="needs the extra depth: make test-wan")
def test_fetching_ends_as_paused_when_its_input_closes(tmp_path):
    asked = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.set()
            time.sleep(20)

        def log_message(self, *_):
            pass

    hub = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    hub.daemon_threads = True
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{hub.server_port}"
        with fetching(tmp_path, "video-depth-anything", HF_ENDPOINT=address) as process:
            assert asked.wait(30)
            process.stdin.close()
            said = json.loads(process.stdout.read().strip().splitlines()[-1])
            assert process.wait(10) == 1
    finally:
        hub.shutdown()
        hub.server_close()
    assert said["failed"].startswith("Paused.")
