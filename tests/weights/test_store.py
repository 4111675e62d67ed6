import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest

from ex4d.errors import InputError
from ex4d.weights import store

needs_hub = pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="needs the extra wan: make test-wan")

FETCH = """
import sys
from dataclasses import replace
from pathlib import Path
from ex4d.weights import store
from ex4d.errors import Cancelled, EX4DError

def progress(stage, step, steps, picture=None):
    print("PROGRESS", stage, step, steps)
    if step >= int(sys.argv[3]):
        raise Cancelled("enough")

part = replace(store.VIDEO, sha256=(sys.argv[2],), keys="")
try:
    print("FETCHED", *store.fetch(part, Path(sys.argv[1]), progress))
except EX4DError as error:
    print(type(error).__name__, error)
"""


def fetched(root, sha256="", until=10**9, **environment):
    """What a process of its own prints that fetches the video model (hub settings are read once in a process)."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | environment
    environment |= {"HF_HOME": str(root / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, str(root / "models"), sha256, str(until)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def hub():
    """A hub on this machine that gives `hub.body` for the video model and remembers from where it was asked for."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(b"")

        def do_GET(self):
            if self.path != f"/{store.VIDEO.hub}/resolve/{store.VIDEO.revision}/video_depth_anything_vits.pth":
                return self.send_error(404)
            self.server.asked.append(self.headers["Range"])
            start = int(re.search(r"\d+", self.headers["Range"] or "0").group())
            self.answer(self.server.body[start:], start)

        def answer(self, body, start=0):
            whole = len(self.server.body)
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", store.VIDEO.revision)
            self.send_header("ETag", f'"{hashlib.sha256(self.server.body).hexdigest()}"')
            if start:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            self.send_header("Content-Length", str(whole - start))
            self.end_headers()
            with suppress(ConnectionError):  # the other side may stop
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.body, server.asked = b"", []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def safetensors(path, tensors):
    """A file of zeros with these names and shapes."""
    entries, end = {}, 0
    for name, count in tensors.items():
        entries[name] = {"dtype": "F32", "shape": [count], "data_offsets": [end, end + 4 * count]}
        end += 4 * count
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return path


def test_every_model_is_pinned_to_a_commit():
    for part in store.PARTS:
        assert re.fullmatch("[0-9a-f]{40}", part.revision), part.name
        assert len(part.sha256) == len(part.files)
        assert all(re.fullmatch("([0-9a-f]{64})?", digest) for digest in part.sha256)
        assert {part.folder} == {file.partition("/")[0] for file in part.files}


def test_only_models_with_a_permissive_licence_can_be_fetched_without_accepting_one(tmp_path):
    assert {part.name for part in store.PARTS if part.research_only} == {"DepthCrafter", "Stable Video Diffusion"}
    with pytest.raises(InputError, match="accept its licence"):
        store.fetch(store.DEPTHCRAFTER, tmp_path)


def test_the_state_says_what_is_missing_and_what_is_damaged(tmp_path):
    part = store.DEPTHCRAFTER
    assert store.state(part, tmp_path) == "missing"
    file = safetensors(tmp_path / part.files[1], {"a": 3})
    assert store.state(part, tmp_path) == "1 of 2 files missing"
    config = tmp_path / part.files[0]
    config.write_text("{}")
    assert store.state(part, tmp_path) == "ready"
    config.write_text("[1")
    assert "cannot be read" in store.state(part, tmp_path)
    config.write_text("{}")
    file.write_bytes(file.read_bytes()[:-1])
    assert "cannot be read" in store.state(part, tmp_path)


def test_a_safetensors_file_with_a_huge_header_is_refused(tmp_path):
    file = tmp_path / store.DEPTHCRAFTER.files[1]
    safetensors(file, {"a": 3})
    (tmp_path / store.DEPTHCRAFTER.files[0]).write_text("{}")
    with file.open("r+b") as opened:
        opened.write(struct.pack("<Q", 1 << 60))
    assert "header claims" in store.state(store.DEPTHCRAFTER, tmp_path)


def test_another_models_weights_are_told_from_those_of_moge(tmp_path):
    for part in store.MOGE:
        safetensors((tmp_path / part.files[0]).with_suffix(".safetensors"), {"a": 3})
        assert "is another model" in store.state(part, tmp_path)


def test_the_commands_fetch_the_pinned_revisions(tmp_path):
    (command,) = store.fetch_commands([store.VIDEO], tmp_path)
    assert command == (
        "hf download depth-anything/Video-Depth-Anything-Small video_depth_anything_vits.pth"
        f' --revision {store.VIDEO.revision} --local-dir "{tmp_path / "Video-Depth-Anything-Small"}"'
    )


WHAT_TO_PLACE = (
    f"place https://huggingface.co/depth-anything/Video-Depth-Anything-Small/resolve/{store.VIDEO.revision}"
    "/video_depth_anything_vits.pth as "
)


@pytest.mark.wan
@needs_hub
def test_offline_the_sentence_says_what_to_place_where(tmp_path):
    said = fetched(tmp_path, HF_HUB_OFFLINE="1").strip()
    place = tmp_path / "models" / store.VIDEO.files[0]
    assert said == (
        "InputError Video-Depth-Anything small cannot be fetched, HF_HUB_OFFLINE forbids the network:"
        f" {WHAT_TO_PLACE}{place}."
    )


@pytest.mark.wan
@needs_hub
def test_without_a_network_the_sentence_says_what_to_place_where(tmp_path):
    said = fetched(tmp_path, HF_ENDPOINT="http://127.0.0.1:9").strip()
    place = tmp_path / "models" / store.VIDEO.files[0]
    assert said.startswith("InputError Video-Depth-Anything small cannot be fetched (")
    assert said.endswith(f"): look at the connection and try again, or {WHAT_TO_PLACE}{place}.")


@pytest.mark.wan
@needs_hub
def test_a_download_that_was_stopped_goes_on_and_no_pickle_stays(tmp_path, hub):
    torch = pytest.importorskip("torch")
    numbers = torch.arange(7_000_000, dtype=torch.float32)
    torch.save({"a": numbers}, tmp_path / "published.pth")
    hub.body = (tmp_path / "published.pth").read_bytes()
    digest = hashlib.sha256(hub.body).hexdigest()

    stopped = fetched(tmp_path, digest, until=15, HF_ENDPOINT=hub.address)
    assert "Cancelled enough" in stopped
    assert not (tmp_path / "models" / store.VIDEO.files[0]).exists()

    said = fetched(tmp_path, digest, HF_ENDPOINT=hub.address)
    path = (tmp_path / "models" / store.VIDEO.files[0]).with_suffix(".safetensors")
    assert f"FETCHED {path}" in said
    assert "PROGRESS Fetching Video-Depth-Anything small 28 28" in said
    first, second = hub.asked
    assert first is None
    assert re.fullmatch(r"bytes=[1-9]\d*-", second)
    from safetensors.torch import load_file

    assert torch.equal(load_file(path)["a"], numbers)
    assert not path.with_suffix(".pth").exists()

    assert f"FETCHED {path}" in fetched(tmp_path, digest, HF_HUB_OFFLINE="1")


@pytest.mark.wan
@needs_hub
def test_other_bytes_than_the_published_are_refused_and_removed(tmp_path, hub):
    hub.body = b"something else"
    said = fetched(tmp_path, hashlib.sha256(b"published").hexdigest(), HF_ENDPOINT=hub.address)
    assert "InputError" in said
    assert "other bytes than were published" in said
    assert not (tmp_path / "models" / store.VIDEO.files[0]).exists()


@pytest.mark.wan
@needs_hub
def test_a_pickle_that_runs_code_is_not_run(tmp_path, hub):
    torch = pytest.importorskip("torch")
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (mark.touch, ())

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    hub.body = (tmp_path / "evil.pth").read_bytes()
    said = fetched(tmp_path, hashlib.sha256(hub.body).hexdigest(), HF_ENDPOINT=hub.address)
    assert said.splitlines()[-1].startswith("InputError")
    assert not mark.exists()
    assert not (tmp_path / "models" / store.VIDEO.files[0]).with_suffix(".safetensors").exists()


def test_listing_needs_no_torch():
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from ex4d.weights import store; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_a_part_names_its_files_inside_the_hubs_repository():
    assert store.BASE.inside(store.BASE.files[2]) == "vae/diffusion_pytorch_model.fp16.safetensors"
