import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest

from ex4d import extras
from ex4d.cli.models import fetch_commands
from ex4d.errors import InputError
from ex4d.weights import store

SMALL = store.Part(
    "small model",
    ("Small/model.pth",),
    0.1,
    "Apache-2.0",
    "someone/small",
    revision="0123456789012345678901234567890123456789",
    extra="depth",
)
"""One torch file; `FETCH` has the same."""

SEVERAL = store.Part(
    "large model",
    ("Large/config.json", "Large/model.safetensors"),
    3,
    "research only",
    "someone/large",
    research_only=True,
)

needs_hub = pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="needs the extra depth: make test-wan")

FETCH = """
import sys
from pathlib import Path
from ex4d.weights import store
from ex4d.errors import Cancelled, EX4DError

def progress(stage, step, steps, picture=None):
    print("PROGRESS", stage, step, steps)
    if step >= int(sys.argv[3]):
        raise Cancelled("enough")

part = store.Part(
    "small model",
    ("Small/model.pth",),
    0.1,
    "Apache-2.0",
    "someone/small",
    revision="0123456789012345678901234567890123456789",
    sha256=(sys.argv[2],),
    extra="depth",
)
try:
    print("FETCHED", *store.fetch(part, Path(sys.argv[1]), progress))
except EX4DError as error:
    print(type(error).__name__, error)
"""


def fetched(root, sha256="", until=10**9, **environment):
    """What a process of its own prints that fetches the small model (hub settings are read once in a process)."""
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
    """A hub on this machine that gives `hub.body` for the small model and remembers from where it was asked for."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(b"")

        def do_GET(self):
            if self.path != f"/{SMALL.hub}/resolve/{SMALL.revision}/model.pth":
                return self.send_error(404)
            self.server.asked.append(self.headers["Range"])
            start = int(re.search(r"\d+", self.headers["Range"] or "0").group())
            self.answer(self.server.body[start:], start)

        def answer(self, body, start=0):
            whole = len(self.server.body)
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", SMALL.revision)
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


def test_what_is_for_research_only_is_fetched_once_its_licence_is_accepted(tmp_path):
    with pytest.raises(InputError, match=r"not free for every use \(research only\): accept its licence"):
        store.fetch(SEVERAL, tmp_path)


def test_the_state_says_what_is_missing_and_what_is_damaged(tmp_path):
    part = SEVERAL
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
    file = tmp_path / SEVERAL.files[1]
    safetensors(file, {"a": 3})
    (tmp_path / SEVERAL.files[0]).write_text("{}")
    with file.open("r+b") as opened:
        opened.write(struct.pack("<Q", 1 << 60))
    assert "header claims" in store.state(SEVERAL, tmp_path)


def test_another_models_weights_are_told_by_the_names_and_shapes_of_their_tensors(tmp_path):
    part = replace(SEVERAL, keys=store.key_hash({"a": (3,)}))
    (tmp_path / "Large").mkdir()
    (tmp_path / part.files[0]).write_text("{}")
    weights = replace(part, files=part.files[1:])
    safetensors(tmp_path / part.files[1], {"a": 3})
    assert store.state(weights, tmp_path) == "ready"
    safetensors(tmp_path / part.files[1], {"a": 4})
    said = store.state(weights, tmp_path)
    assert "is another model: its 1 tensors do not have the names and shapes of those in someone/large" in said
    assert said.endswith("download model.safetensors again.")


def test_a_converted_file_stands_in_for_one_that_is_gone(tmp_path):
    converted = safetensors(tmp_path / "Small/model.safetensors", {"a": 3})
    assert store.located(SMALL.files[0], tmp_path) == converted
    assert store.is_there(SMALL, tmp_path)
    (tmp_path / SMALL.files[0]).touch()
    assert store.located(SMALL.files[0], tmp_path) == tmp_path / SMALL.files[0]


def test_one_part_of_several_is_enough_where_the_model_says_so(tmp_path):
    other = replace(SMALL, name="smaller model", files=("Smaller/model.pth",), hub="someone/smaller")
    either = store.listing("x", (SMALL, other), tmp_path, any_part=True)
    assert [state for _, state in either.states] == ["missing", "missing"]
    assert either.wanted == (SMALL,)
    assert store.listing("x", (SMALL, other), tmp_path).wanted == (SMALL, other)
    safetensors(tmp_path / "Smaller/model.safetensors", {"a": 3})
    assert store.listing("x", (SMALL, other), tmp_path, any_part=True).wanted == ()
    assert store.listing("x", (SMALL, other), tmp_path).wanted == (SMALL,)


@pytest.mark.depth
def test_a_deep_look_reads_torch_files_and_runs_the_parts_own_check(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    (tmp_path / "Small").mkdir()
    torch.save({"a": torch.zeros(4)}, tmp_path / SMALL.files[0])
    part = replace(SMALL, keys=store.key_hash({"a": (3,)}))
    assert store.state(part, tmp_path) == "ready"
    assert "is another model" in store.state(part, tmp_path, deep=True)

    def odd(path):
        raise InputError(f"{path.name} is odd.")

    part = replace(SMALL, check=odd)
    assert store.state(part, tmp_path) == "ready"
    assert store.state(part, tmp_path, deep=True) == "model.pth is odd."


@pytest.mark.parametrize(("extra", "said"), [("depth", r"pip install 'ex4d\[depth\]'"), ("", "pip install hugging")])
def test_a_missing_hub_client_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch, extra, said):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"needs the Python package huggingface_hub: {said}.*, or place https://"):
        store.fetch(replace(SMALL, extra=extra), tmp_path)


@needs_hub
def test_the_disk_is_looked_at_before_anything_is_fetched(tmp_path, monkeypatch):
    """What is there counts, also of a download that was broken off; a torch file is there twice for a moment."""

    def free(gigabytes):
        monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, gigabytes * 1e9))

    monkeypatch.setattr(store, "_is_offline", lambda: False)
    root = tmp_path / "not" / "yet"
    free(3.19)
    with pytest.raises(InputError, match=r"3\.2 GB are needed in .*yet and 3\.2 GB are free: make room, or keep"):
        store.check_disk([SMALL, SEVERAL], root)
    free(3.21)
    store.check_disk([SMALL, SEVERAL], root)
    (root / "Large").mkdir(parents=True)
    with (root / "Large" / "model.safetensors.part").open("wb") as begun:
        begun.truncate(2 * 10**9)
    free(1.21)
    store.check_disk([SMALL, SEVERAL], root)
    safetensors(root / "Small/model.safetensors", {"a": 3})
    free(1.01)
    store.check_disk([SMALL, SEVERAL], root)
    free(0.99)
    with pytest.raises(InputError, match=r"1\.0 GB are needed"):
        store.check_disk([SMALL, SEVERAL], root)
    monkeypatch.setattr(store, "_is_offline", lambda: True)
    store.check_disk([SMALL, SEVERAL], root)


def test_the_commands_fetch_the_pinned_revisions(tmp_path):
    (command,) = fetch_commands([SMALL], tmp_path)
    assert command == (
        f'hf download someone/small model.pth --revision {SMALL.revision} --local-dir "{tmp_path / "Small"}"'
    )


WHAT_TO_PLACE = f"place https://huggingface.co/someone/small/resolve/{SMALL.revision}/model.pth as "


@pytest.mark.depth
@needs_hub
def test_offline_the_sentence_says_what_to_place_where(tmp_path):
    said = fetched(tmp_path, HF_HUB_OFFLINE="1").strip()
    place = tmp_path / "models" / SMALL.files[0]
    assert said == (
        "InputError small model cannot be downloaded, because downloads are turned off on this machine:"
        f" {WHAT_TO_PLACE}{place}."
    )


@pytest.mark.depth
@needs_hub
def test_without_a_network_the_sentence_says_what_to_place_where(tmp_path):
    said = fetched(tmp_path, HF_ENDPOINT="http://127.0.0.1:9").strip()
    place = tmp_path / "models" / SMALL.files[0]
    assert said.startswith("InputError small model cannot be downloaded (")
    assert said.endswith(f"): check the connection and try again, or {WHAT_TO_PLACE}{place}.")


@pytest.mark.depth
@needs_hub
def test_a_download_that_was_stopped_goes_on_and_no_pickle_stays(tmp_path, hub):
    torch = pytest.importorskip("torch")
    numbers = torch.arange(7_000_000, dtype=torch.float32)
    torch.save({"a": numbers}, tmp_path / "published.pth")
    hub.body = (tmp_path / "published.pth").read_bytes()
    digest = hashlib.sha256(hub.body).hexdigest()

    stopped = fetched(tmp_path, digest, until=15, HF_ENDPOINT=hub.address)
    assert "Cancelled enough" in stopped
    assert not (tmp_path / "models" / SMALL.files[0]).exists()

    said = fetched(tmp_path, digest, HF_ENDPOINT=hub.address)
    path = (tmp_path / "models" / SMALL.files[0]).with_suffix(".safetensors")
    assert f"FETCHED {path}" in said
    assert "PROGRESS Fetching small model 28 28" in said
    first, second = hub.asked
    assert first is None
    assert re.fullmatch(r"bytes=[1-9]\d*-", second)
    from safetensors.torch import load_file

    assert torch.equal(load_file(path)["a"], numbers)
    assert not path.with_suffix(".pth").exists()

    assert f"FETCHED {path}" in fetched(tmp_path, digest, HF_HUB_OFFLINE="1")


@pytest.mark.depth
@needs_hub
def test_other_bytes_than_the_published_are_refused_and_removed(tmp_path, hub):
    hub.body = b"something else"
    said = fetched(tmp_path, hashlib.sha256(b"published").hexdigest(), HF_ENDPOINT=hub.address)
    assert "InputError" in said
    assert "different bytes from those published" in said
    assert not (tmp_path / "models" / SMALL.files[0]).exists()


@pytest.mark.depth
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
    assert not (tmp_path / "models" / SMALL.files[0]).with_suffix(".safetensors").exists()


def test_listing_needs_no_torch():
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from ex4d.weights import store; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_a_part_names_its_files_inside_the_hubs_repository():
    assert SEVERAL.folder == "Large"
    assert replace(SEVERAL, files=("Large/vae/a.json",)).inside("Large/vae/a.json") == "vae/a.json"


def test_the_folder_is_the_variables_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path))
    assert store.folder() == tmp_path
    monkeypatch.delenv("EX4D_MODELS")
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path))
    assert store.folder() == tmp_path / "models"
