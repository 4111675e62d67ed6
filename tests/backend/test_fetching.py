"""Downloading a model in a separate process: what it reports, and how it ends."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest

from ex4d.depth.registry import estimators

needs_hub = pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="needs the extra depth: make test-wan")


def fetching(tmp_path, *words: str, **environment: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | environment
    environment |= {"EX4D_MODELS": str(tmp_path / "models"), "HF_HOME": str(tmp_path / "home")}
    return subprocess.Popen(
        [sys.executable, *(words if "-c" in words else ("-m", "ex4d_server.fetching", *words))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_a_model_that_nobody_has_is_told_with_those_that_there_are(tmp_path):
    with fetching(tmp_path, "nothing") as process:
        out = process.stdout.readline()
        assert process.wait(30) == 1
    assert "'nothing' has no files to download: choose one of wan, " in json.loads(out)["failed"]


def test_before_anything_is_fetched_it_can_be_asked_how_much_that_is_where_it_goes_and_by_hand_from_where(tmp_path):
    (model,) = estimators()["video-depth-anything"].usual_parts
    begun = tmp_path / "models" / f"{model.files[0]}.part"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(bytes(20_000_000))
    with fetching(tmp_path, "video-depth-anything", "--look") as process:
        said = json.loads(process.stdout.read())
        assert process.wait(30) == 0
    assert said["title"] == "Video-Depth-Anything Small"
    assert said["folder"] == str(tmp_path / "models")
    assert said["download_gb"] == pytest.approx(model.gigabytes - 0.02)
    assert said["room_gb"] == pytest.approx(2 * model.gigabytes - 0.02)  # a torch file, which is converted
    assert said["free_gb"] == pytest.approx(shutil.disk_usage(tmp_path).free / 1e9, abs=0.5)
    assert said["files"] == [
        [
            f"https://huggingface.co/{model.hub}/resolve/{model.revision}/{model.inside(model.files[0])}",
            str(tmp_path / "models" / model.files[0]),
        ]
    ]


TOY = """
import sys
from ex4d.pipeline import model_files
from ex4d.weights.store import Part
from ex4d_server import fetching

files = (Part("encoder", ("Toy/a.safetensors",), 0.015, "MIT", "someone/toy", revision="1" * 40, extra="depth"),
         Part("painter", ("Toy/b.safetensors", "Toy/c.safetensors"), 0.045, "MIT", "someone/toy", revision="1" * 40,
              extra="depth"))
model_files.fetchable = lambda: {"toy": files}
model_files.title = lambda name: "Toy"
fetching.TELL_SECONDS = 0
sys.argv = ["fetching", "toy"]
sys.exit(fetching.main())
"""


def weights(megabytes: int) -> bytes:
    """A complete .safetensors file."""
    head = json.dumps({"x": {"dtype": "U8", "shape": [10**6 * megabytes], "data_offsets": [0, 10**6 * megabytes]}})
    return struct.pack("<Q", len(head)) + head.encode() + bytes(10**6 * megabytes)


@pytest.mark.depth
@needs_hub
def test_the_progress_of_a_model_is_that_of_all_its_files_and_never_begins_anew(tmp_path):
    bodies = {"a": weights(15), "b": weights(25), "c": weights(20)}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(b"")

        def do_GET(self):
            self.answer(self.body)

        @property
        def body(self):
            return bodies[self.path.rpartition("/")[2][0]]

        def answer(self, body):
            self.send_response(200)
            self.send_header("X-Repo-Commit", "1" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(self.body).hexdigest()}"')
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{hub.server_port}"
        with fetching(tmp_path, "-c", TOY, HF_ENDPOINT=address, HF_HUB_DISABLE_XET="1") as process:
            told = [json.loads(line) for line in process.stdout if line.startswith("{")]
            assert process.wait(30) == 0
    finally:
        hub.shutdown()
        hub.server_close()
    *under_way, last = told
    assert {(line["stage"], line["steps"]) for line in under_way} == {("Fetching Toy", 60_000_000)}
    steps = [line["step"] for line in under_way]
    assert steps == sorted(steps)
    assert any(0 < step < 15_000_000 for step in steps)
    assert any(15_000_000 < step < 60_000_000 for step in steps)
    assert steps[-1] == 60_000_000
    assert last == {"done": "Toy has been downloaded."}


@pytest.mark.depth
@needs_hub
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
