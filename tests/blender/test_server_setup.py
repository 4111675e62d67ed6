"""Set Up Server: an environment for the server without a terminal."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import announced
import bpy
import pytest
from test_panels import draw

from blender_addon.setup import install, model_fetch, pythons
from blender_addon.setup.chore import Chore, Progress
from blender_addon.setup.server_environment import Environment, ServerEnvironment, folder_in
from blender_addon.ui import get_model, panels, server_setup, status_bar
from blender_addon.work import session, state
from blender_addon.work.requests import OpenRequest
from ex4d import __version__
from ex4d.errors import InputError
from ex4d.jobs.messages import Capabilities

REPO = Path(__file__).parents[2]
needs_server = pytest.mark.skipif("EX4D_PYTHON" not in os.environ, reason="needs EX4D_PYTHON, a Python with the server")


@pytest.fixture(scope="module")
def carried(tmp_path_factory) -> Path:
    """The server's files that the extension includes."""
    folder = tmp_path_factory.mktemp("server parts")  # with a space, as user folders have
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPO]
    subprocess.run([sys.executable, *map(str, words)], check=True)
    (folder / "constraints.txt").write_text((REPO / "constraints.txt").read_text())
    return folder


def record(version: str = __version__, python=sys.executable, base=sys.executable, kind: str = "cpu") -> str:
    """The content of current.json for an environment."""
    return json.dumps({"python": python, "base": base, "version": version, "kind": kind})


def installer(folder: Path) -> install.Installer:
    """An installer for an existing environment in `folder`."""
    (folder / "env-1").mkdir()
    return install.Installer(folder / "env-1", Path("none.whl"), Path("constraints.txt"), "cpu")


def through(chore, seconds: float = 60.0) -> Progress:
    """The final progress of a chore."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        progress = chore.poll()
        if chore.over:
            return progress
        time.sleep(0.02)
    raise AssertionError(f"not through after {seconds} s")


def chore(tmp_path: Path, text: str) -> Chore:
    script = tmp_path / "chore.py"
    script.write_text(f"import json, os, sys, time\n{text}")
    return Chore([sys.executable, script], tmp_path / "chore.log", "trying")


def test_a_chore_tells_how_far_it_is_and_its_other_lines_are_in_the_log(tmp_path):
    under_way = chore(
        tmp_path,
        "print('hello'); print(json.dumps({'stage': 'Half', 'step': 1, 'steps': 2}), flush=True)\nsys.stdin.read()",
    )
    while not under_way.poll().stage:
        time.sleep(0.01)
    assert under_way.poll() == Progress("Half", 1, 2)
    assert under_way.poll().share == 0.5
    under_way.cancel()
    through(under_way)
    assert "hello" in (tmp_path / "chore.log").read_text()


def test_a_chore_that_dies_says_so_and_names_its_log(tmp_path):
    assert "ended unexpectedly" in through(chore(tmp_path, "os._exit(3)")).failed


def test_whatever_a_program_says_can_be_heard_and_logged(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as on Windows
    said = through(chore(tmp_path, "print('caf\u00e9 \ufffd \u4e2d'); print(json.dumps({'done': 'ok'}))"))
    assert said == Progress(done="ok")


CANCELLED_WHILE_IT_CALLS = """
import sys
from pathlib import Path
sys.path.insert(0, {repo!r})
from blender_addon.setup import install

class Slow(install.Installer):
    def run(self):
        self.place.mkdir()
        inner = f"import time; time.sleep(3); open({late!r}, 'w')"
        self.call([sys.executable, "-c", f"import subprocess, sys; print('on', flush=True);"
                   f" subprocess.run([sys.executable, '-c', {{inner!r}}])"])
        open({late!r} + "2", "w")
        raise install.SetupError("pip was killed")

    def remove(self):
        import time
        time.sleep(0.5)
        super().remove()

install.Installer = Slow
raise SystemExit(install.main(Path({folder!r}), Path("w"), Path("p"), "cpu"))
"""


def test_what_is_cancelled_says_only_that_and_nothing_of_it_goes_on(tmp_path):
    late = str(tmp_path / "late")
    text = CANCELLED_WHILE_IT_CALLS.format(repo=str(REPO), late=late, folder=str(tmp_path))
    under_way = chore(tmp_path, text)
    while "on" not in (tmp_path / "chore.log").read_text():
        time.sleep(0.01)
    under_way.cancel()
    assert through(under_way).failed.startswith("Cancelled.")
    assert not list(tmp_path.glob("env-*"))
    time.sleep(3.5)
    assert not list(tmp_path.glob("late*"))


def test_a_cancel_that_comes_when_all_is_done_changes_nothing(tmp_path, monkeypatch):
    made = installer(tmp_path)
    monkeypatch.setattr(made, "make_environment", lambda: None)
    monkeypatch.setattr(made, "pip", lambda *words, hear=None: (0, []))
    monkeypatch.setattr(made, "plan", lambda *words: {})
    monkeypatch.setattr(made, "check", lambda: "1.2.3")
    made.run()
    with open(os.devnull) as ended:
        monkeypatch.setattr(sys, "stdin", ended)
        made.end_with_input()
    assert made.place.is_dir()
    assert json.loads((tmp_path / "current.json").read_text())["version"] == "1.2.3"


def test_the_disk_is_checked_before_anything_is_downloaded_with_pytorch_from_its_own_site(tmp_path, monkeypatch):
    made = installer(tmp_path)
    plans = {
        made.requirement: {"numpy": 10**7, "torch": 9 * 10**8, "nvidia-cudnn": 2 * 10**9, "triton": 2 * 10**8},
        "torch": {"torch": 2 * 10**8},
    }
    monkeypatch.setattr(made, "make_environment", lambda: None)
    monkeypatch.setattr(made, "plan", lambda *words: plans[words[-1]])
    monkeypatch.setattr(made, "pip", lambda *words, hear=None: pytest.fail("it was downloaded"))
    monkeypatch.setattr(install.platform, "system", lambda: "Linux")
    monkeypatch.setattr(install.shutil, "disk_usage", lambda place: SimpleNamespace(free=8 * 10**8))
    with pytest.raises(install.SetupError, match=r"needs 0\.8 GB of disk and .* has 0\.8 GB free"):
        made.run()


def test_without_pytorchs_own_site_the_cpu_gets_no_cuda(tmp_path, monkeypatch):
    made, installed = installer(tmp_path), []

    def plan(*words):
        if "torch" in words:
            raise install.SetupError("no such site")
        return (
            {"numpy": 10} if "ex4d[backend,camera] @" in words[-1] else {"numpy": 10, "nvidia-cudnn": 10, "torch": 10}
        )

    monkeypatch.setattr(made, "make_environment", lambda: None)
    monkeypatch.setattr(made, "plan", plan)
    monkeypatch.setattr(made, "install", lambda *words, hear: installed.append(words))
    monkeypatch.setattr(made, "check", lambda: "1.2.3")
    monkeypatch.setattr(install.platform, "system", lambda: "Linux")
    made.run()
    assert installed == [(made.requirement,)]
    assert "ex4d[backend,camera] @" in made.requirement
    assert made.note == install.NO_TORCH


def test_the_progress_of_a_download_counts_the_bytes_of_all_runs_of_pip(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(install, "WATCH_SECONDS", 0.01)
    told = []

    def until(step):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            told.extend(json.loads(line) for line in capsys.readouterr().out.splitlines())
            if told and told[-1]["step"] == step:
                return
            time.sleep(0.01)
        raise AssertionError(told[-3:])

    wheel = tmp_path / "pip-unpack-1/torch-2.whl"
    wheel.parent.mkdir()
    with install.Download({"torch": 1000, "numpy": 500}, tmp_path) as download:
        until(0)
        wheel.write_bytes(bytes(400))
        until(400)
        wheel.write_bytes(bytes(1000))
        until(1000)
        download.hear("Installing collected packages: torch")
        until(0)
        assert told[-1]["stage"] == "Unpacking PyTorch"
        wheel.unlink()
        download.hear("Successfully installed torch-2")
        until(1000)
        (tmp_path / "numpy-2.whl").write_bytes(bytes(300))
        until(1300)
    downloading = [line for line in told if line["stage"] == "Downloading"]
    steps = [line["step"] for line in downloading]
    assert steps == sorted(steps)
    assert {line["steps"] for line in downloading} == {1500}


BUSY_BLENDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {repo!r})
from blender_addon.setup.chore import Chore
script = "import json; print(json.dumps(dict(stage='Downloading 390 MB', step=1, steps=4)), flush=True); input()"
chore = Chore([sys.executable, "-c", script], Path({log!r}), "setting up the server")
while not chore.poll().stage:
    time.sleep(0.01)
print("on", flush=True)
time.sleep(60)
"""


def test_a_second_blender_is_told_that_another_sets_up_the_server_until_that_ends_in_any_way(carried, tmp_path):
    setup = ServerEnvironment(tmp_path)
    code = BUSY_BLENDER.format(repo=str(REPO), log=str(setup.log))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert any(line == "on\n" for line in other.stdout)  # 5.3 prints more before that
        before = setup.log.read_text()
        for act in (lambda: setup.set_up("cpu", carried), setup.remove):
            with pytest.raises(InputError) as refused:
                act()
            assert str(refused.value) == (
                "Another Blender is setting up the server: Downloading 390 MB (25%). Wait until it is done."
            )
        assert setup.log.read_text() == before
        assert not setup.busy
        other.kill()  # like a crash: the process ends when its input closes, which releases the lock
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            setup.remove()
            break
        except InputError:
            time.sleep(0.05)
    assert not tmp_path.exists()


LONG_PATH = "HINT: This error might have occurred since this system does not have Windows Long Path support enabled.\n"


@pytest.mark.parametrize(
    ("system", "kind", "line", "told"),
    [
        ("Windows", "nvidia", "ERROR: No matching distribution found for torch\n", "There is no build of torch for"),
        ("Windows", "nvidia", LONG_PATH, "LongPathsEnabled"),
        ("Linux", "cpu", "ERROR: [Errno 28] No space left on device\n", "disk is full"),
    ],
)
def test_a_pytorch_that_cannot_be_had_is_not_replaced_by_one_without_cuda(
    tmp_path, monkeypatch, system, kind, line, told
):
    made = installer(tmp_path)
    made.kind = kind
    monkeypatch.setattr(made, "make_environment", lambda: None)
    monkeypatch.setattr(made, "pip", lambda *words, hear=None: (1, [line]))
    plan = made.plan
    monkeypatch.setattr(made, "plan", lambda *words: plan(*words) if "torch" in words else {})
    monkeypatch.setattr(made, "install", lambda *words, **more: pytest.fail("it went on"))
    monkeypatch.setattr(install.platform, "system", lambda: system)
    with pytest.raises(install.SetupError, match=told):
        made.run()


def test_a_site_that_does_not_answer_is_asked_once(monkeypatch):
    asked = []

    def no_answer(request, timeout):
        asked.append(request.full_url)
        raise TimeoutError

    monkeypatch.setattr(install.urllib.request, "urlopen", no_answer)
    urls = {"a": "https://x.org/a.whl", "b": "https://x.org/b.whl", "c": "https://y.org/c.whl", "d": "file:///d.whl"}
    assert install.sizes_of(urls) == dict.fromkeys("abcd", 0)
    assert asked == ["https://x.org/a.whl", "https://y.org/c.whl"]


def test_an_environment_that_was_replaced_goes_only_when_no_server_can_run_in_it(tmp_path):
    old, new, begun = (tmp_path / f"env-{number}" for number in (1, 2, 3))
    for place in (old, new, begun):
        (place / "bin").mkdir(parents=True)
    (old / "complete").touch()
    (new / "bin/python").symlink_to(sys.executable)
    install.keep(new, json.loads(record(python=str(new / "bin/python"))))
    assert old.is_dir()
    setup = ServerEnvironment(tmp_path)
    setup.remove_unused().wait(20)
    assert sorted(place.name for place in tmp_path.glob("env-*")) == ["env-2", "env-3"]
    assert setup.remove_unused() is None


def test_removing_the_server_is_said_and_what_cannot_be_removed_too(user_folder, monkeypatch):
    folder = user_folder / "server-python"
    folder.mkdir()
    (folder / "current.json").write_text(record())
    assert bpy.ops.ex4d.server_remove() == {"FINISHED"}
    assert not folder.exists()
    assert session.current().state.message.startswith("The server was removed.")
    folder.mkdir()
    (folder / "current.json").write_text(record())
    monkeypatch.setattr("shutil.rmtree", lambda place, ignore_errors: None)  # as on Windows, where a server runs in it
    with pytest.raises(RuntimeError, match="in use"):
        bpy.ops.ex4d.server_remove()
    assert session.current().environment.current is None


def test_a_python_without_what_environments_need_is_passed_over(tmp_path):
    lame = tmp_path / "python3.11"
    lame.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -c "raise SystemExit(1)"\n')
    lame.chmod(0o755)
    found = list(pythons.usable([tmp_path / "none", lame, Path(sys.executable)]))
    assert [(python.path, python.version) for python in found] == [
        (Path(sys.executable), f"{sys.version_info[0]}.{sys.version_info[1]}")
    ]


def test_blenders_own_python_is_taken_first():
    assert pythons.find() == pythons.Python(Path(sys.executable), f"{sys.version_info[0]}.{sys.version_info[1]}")


def test_without_a_network_the_set_up_says_so_and_leaves_nothing(carried, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    setup = ServerEnvironment(tmp_path / "setup")
    setup.set_up("cpu", carried)
    while not setup.poll():
        time.sleep(0.05)
    assert setup.progress.failed == (
        "The packages cannot be downloaded: check the network, and the proxy if there is one."
        f" The log says why: {setup.log}."
    )
    session.current().__dict__["environment"] = setup
    button = draw(lambda layout, context: server_setup.draw(layout)).pressed["Open Log"]
    assert (button.idname, button.filepath) == ("wm.path_open", str(setup.log))
    assert setup.current is None
    assert sorted(path.name for path in setup.folder.iterdir()) == ["setup.log"]


def test_a_cancelled_set_up_leaves_nothing_and_the_old_environment_stays(carried, tmp_path):
    setup = ServerEnvironment(tmp_path / "setup")
    setup.folder.mkdir()
    (setup.folder / "current.json").write_text(record("0.0.1"))
    setup.set_up("cpu", carried)
    with pytest.raises(InputError, match="being set up already"):
        setup.set_up("cpu", carried)
    while not list(setup.folder.glob("env-*")):
        setup.poll()
        time.sleep(0.02)
    setup.cancel()
    while not setup.poll():
        time.sleep(0.02)
    assert setup.progress.failed.startswith("Cancelled")
    assert not list(setup.folder.glob("env-*"))
    assert setup.current == Environment(Path(sys.executable), Path(sys.executable), "0.0.1", "cpu")
    assert setup.current.is_old


def test_on_windows_the_longest_path_of_pytorch_fits_into_260_characters(tmp_path):
    assert folder_in(tmp_path, "") == tmp_path / "server-python"
    found = folder_in(tmp_path, r"C:\Users\anna.lena.meier\AppData\Local")
    assert found != folder_in(tmp_path / "another", r"C:\Users\anna.lena.meier\AppData\Local")
    installed = Path(found, "env-19abcdef012", "Lib", "site-packages")
    assert len(str(installed)) + 1 + 171 < 260  # torch 2.13: a licence in torch-2.13.0+cpu.dist-info


def test_a_damaged_record_counts_as_no_environment(tmp_path):
    setup = ServerEnvironment(tmp_path)
    lacking = (record(python="/nowhere/python"), record(base="/a/blender/that/is/gone"), record(kind="abacus"))
    for text in ("", "[]", "{}", *lacking):
        (tmp_path / "current.json").write_text(text)
        assert setup.current is None


def test_an_add_on_from_its_source_tree_says_that_it_carries_no_server():
    bpy.context.preferences.system.use_online_access = True
    with pytest.raises(RuntimeError, match="install the extension's zip"):
        bpy.ops.ex4d.server_set_up()


def test_nothing_is_fetched_where_blender_may_not_go_online():
    bpy.context.preferences.system.use_online_access = False
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.ex4d.server_set_up()


def test_where_no_server_is_set_up_the_panel_has_the_button_for_it(user_folder):
    bpy.context.preferences.addons["blender_addon"].preferences.address = "tcp://127.0.0.1:59733"
    assert draw(panels.draw_source).buttons[0] == "Set Up Server"
    folder = user_folder / "server-python"
    folder.mkdir()
    (folder / "current.json").write_text(record())
    assert "Set Up Server" not in draw(panels.draw_source).buttons
    assert session.current().server_python == sys.executable
    drawn = draw(panels.draw_server)
    assert {"Repair", "Remove"} <= set(drawn.buttons)
    chosen = "Server Python from the preferences is used"
    assert chosen not in drawn.labels
    bpy.context.preferences.addons["blender_addon"].preferences.python = "/of/my/own/python"
    assert chosen in draw(panels.draw_server).labels
    bpy.context.preferences.addons["blender_addon"].preferences.python = ""
    shown = draw(lambda layout, context: server_setup.draw_command(layout)).labels
    assert shown == [f"Command line: {Path(sys.executable).with_name('ex4d')}"]


def test_while_the_server_is_set_up_what_was_asked_for_is_told_to_wait(tmp_path):
    bpy.context.preferences.addons["blender_addon"].preferences.address = "tcp://127.0.0.1:59737"
    now = session.current()
    now.connect()
    end = time.monotonic() + 20
    while "press Set Up Server" not in now.state.trouble and time.monotonic() < end:
        now.tick(0.05)
    assert draw(panels.draw_source).buttons.count("Set Up Server") == 1
    now.environment._chore = chore(tmp_path, "print(json.dumps({'stage': 'Half'}), flush=True)\nsys.stdin.read()")
    while "your job starts when it is ready" not in now.state.trouble and time.monotonic() < end:
        now.tick(0.05)
    drawn = draw(panels.draw_source)
    assert "Set Up Server" not in drawn.buttons
    assert drawn.pressed[""].idname == "ex4d.server_set_up_cancel"
    now.environment.cancel()
    while now.environment.busy and time.monotonic() < end:
        now.tick(0.05)
    assert "ended unexpectedly" in now.state.message


def test_each_model_that_lacks_files_has_a_button_that_fetches_them_once_a_server_is_set_up():
    painter = replace(announced.PAINTER, missing="Its files are not there.", lacking_gb=19.0)
    ruler = replace(announced.RULER, missing="Its files are not there.", lacking_gb=0.12)
    announced.by(Capabilities((painter, announced.SKETCH), (announced.FROM_FILE, ruler, announced.DICE)))
    assert draw(panels.draw_models).buttons == ["Get The Painter (19 GB)"]
    assert "Get Depth Model (120 MB)" in draw(panels.draw_source).buttons
    for online in (False, True):
        bpy.context.preferences.system.use_online_access = online
        with pytest.raises(RuntimeError, match="press Set Up Server first"):
            bpy.ops.ex4d.get_model(name="ruler")


def test_where_no_file_is_lacking_nothing_is_offered():
    announced.by()
    assert not [text for text in draw(panels.draw_models).buttons if text.startswith("Get ")]
    assert not [text for text in draw(panels.draw_source).buttons if text.startswith("Get ")]


@needs_server
def test_the_servers_python_fetches_and_says_how_that_ended():
    now = session.current()
    bpy.context.preferences.system.use_online_access = True
    bpy.context.preferences.addons["blender_addon"].preferences.python = os.environ["EX4D_PYTHON"]
    assert bpy.ops.ex4d.get_model(name="nothing") == {"FINISHED"}
    while now.model_fetch.busy:
        now.tick()
        time.sleep(0.02)
    assert now.state.failed
    assert now.state.message.startswith("'nothing' has no files to download: choose one of wan")


NEWS = """
def tell(**said):
    print(json.dumps(said), flush=True)
"""


def test_a_download_tells_its_amount_in_both_places_and_after_a_while_the_time_that_is_left(tmp_path):
    """A resumed download does not count what it started with."""
    script = """
for gigabyte in (41.6, 41.65, 41.7):
    tell(stage="Fetching Painter", step=int(1e9 * gigabyte), steps=83 * 10**9)
    time.sleep(1.5)
sys.stdin.read()
"""
    now = session.current()
    now.model_fetch._chore = chore(tmp_path, NEWS + script)
    now.model_fetch.name = "painter"
    painter = replace(announced.PAINTER, lacking_gb=83.0)
    bars = []
    end = time.monotonic() + 20
    while not now.model_fetch.eta_s and time.monotonic() < end:
        now.tick(0.02)
        bars += draw(lambda layout, context: get_model.draw(layout, painter)).bars
        time.sleep(0.05)
    assert "42 of 83 GB" in bars
    told = status_bar.told()
    found = re.fullmatch(r"EX-4D: Fetching Painter: 42 of 83 GB, (\d+) min left", told)
    assert found, told
    assert 12 < int(found[1]) < 45  # 50 MB in 1.5 s
    now.model_fetch.cancel()
    while now.model_fetch.busy and time.monotonic() < end + 20:
        now.tick(0.02)


@needs_server
def test_the_question_before_a_download_says_how_much_it_is_where_it_goes_and_whether_it_fits(monkeypatch, tmp_path):
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path / "models"))
    found = model_fetch.look(os.environ["EX4D_PYTHON"], "wan")
    bpy.context.preferences.system.use_online_access = True
    drawn = draw(lambda layout, context: get_model.draw_question(layout, context, found, "wan"))
    size, folder, room, advice = drawn.labels
    assert size == "83 GB to download, about 1.8 h at 100 Mbit/s"
    assert folder == str(tmp_path / "models")
    free = shutil.disk_usage(tmp_path).free / 1e9
    needed, left = re.fullmatch(r"(\d+) GB of disk needed, ([\d.]+) GB free", room).groups()
    assert 90 < int(needed) < 100  # the text encoder is rewritten
    assert float(left) == pytest.approx(free, abs=1)
    assert "pause" in advice
    small = replace(found, free_gb=12.0)
    icons = []
    layout = SimpleNamespace(label=lambda text, icon="NONE", translate=True: icons.append(icon))
    get_model.draw_question(layout, bpy.context, small, "wan")
    assert "ERROR" in icons


@needs_server
def test_where_blender_may_not_go_online_get_says_which_file_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path / "models"))
    bpy.context.preferences.addons["blender_addon"].preferences.python = os.environ["EX4D_PYTHON"]
    bpy.context.preferences.system.use_online_access = False
    with pytest.raises(RuntimeError, match="Allow Online Access") as refused:
        bpy.ops.ex4d.get_model(name="vace")
    found = model_fetch.look(os.environ["EX4D_PYTHON"], "vace")
    assert len(found.files) == 5
    for address, place in found.files:
        assert address.startswith("https://huggingface.co/Wan-AI/Wan2.1-VACE-1.3B/resolve/")
        assert Path(place).is_relative_to(tmp_path / "models/Wan2.1-VACE-1.3B")
        assert f"{address} as {place}" in str(refused.value)
        assert f"{address} as {place}" in session.current().state.message
    drawn = draw(lambda layout, context: get_model.draw_question(layout, bpy.context, found, "vace"))
    assert drawn.labels[-1] == "Or download 5 files yourself:"
    assert drawn.shown == ["use_online_access"]
    assert drawn.pressed["Copy File List"].name == "vace"


@needs_server
def test_a_server_that_cannot_tell_what_is_lacking_is_to_be_updated(tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 'error: unrecognized arguments: --look' >&2\nexit 2\n")
    old.chmod(0o755)
    with pytest.raises(InputError, match="press Update or Repair"):
        model_fetch.look(str(old), "vace")
    for other in ("{}", "[]", '{"title": "VACE", "files": []}', '{"files": [["a"]], "title": 1}'):  # another version
        old.write_text(f"#!/bin/sh\necho '{other}'\n")
        with pytest.raises(InputError, match="press Update or Repair"):
            model_fetch.look(str(old), "vace")
    with pytest.raises(InputError, match="'nothing' has no files to download"):
        model_fetch.look(os.environ["EX4D_PYTHON"], "nothing")


def test_a_model_that_comes_while_a_job_runs_is_asked_for_once_that_has_ended(tmp_path):
    painter = replace(announced.PAINTER, missing="Its files are not there.", lacking_gb=83.0)
    announced.by(Capabilities((painter, announced.SKETCH), (announced.FROM_FILE,)))
    now = session.current()
    before = now.client
    now.dispatch(state.Pressed(OpenRequest("Scene", "", "clip.mp4", "", "", {})))
    now.drop()
    now.model_fetch._chore = chore(tmp_path, NEWS + "tell(done='The Painter has been downloaded.')")
    now.model_fetch.name = "painter"
    end = time.monotonic() + 20
    while now.model_fetch.busy and time.monotonic() < end:
        now.tick(0.02)
        time.sleep(0.02)
    assert now.state.busy
    assert now.client is before  # otherwise the job would lose its connection
    assert now.state.message == ("The Painter has been downloaded. It can be used once the work under way has ended.")
    drawn = draw(panels.draw_models)
    assert "The Painter can be used after this" in drawn.labels
    assert not [text for text in drawn.buttons if text.startswith("Get ")]
    now.dispatch(state.CancelPressed())
    now.tick(0.02)
    assert now.client is not before
    assert now.client is not None
    assert not now.model_fetch.came


def test_what_pip_does_not_find_for_this_computer_is_said_in_own_words(carried, tmp_path, monkeypatch):
    class Empty(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    index = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=index.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.server_port}/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    setup = ServerEnvironment(tmp_path / "setup")
    try:
        setup.set_up("cpu", carried)
        while not setup.poll():
            time.sleep(0.05)
    finally:
        index.shutdown()
        index.server_close()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert re.fullmatch(
        rf"There is no build of numpy for this computer with Python {re.escape(version)}\."
        rf" The log says why: {re.escape(str(setup.log))}\.",
        setup.progress.failed,
    )


def test_what_venv_or_the_server_itself_says_is_left_to_the_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(install.Installer, "call", lambda made, command: (1, ["OSError: [Errno 5] hieroglyphs"]))
    (tmp_path / "setup").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(install.Installer, "end_with_input", lambda made: None)
        assert install.main(tmp_path / "setup", Path("none.whl"), Path("pins.txt"), "cpu") == 1
    failed = json.loads(capsys.readouterr().out.splitlines()[-1])["failed"]
    place = tmp_path / "setup"
    assert failed == f"Python could not make an environment in {place}. The log says why: {place / 'setup.log'}."
    with pytest.raises(install.ToolError, match="does not start"):
        installer(tmp_path).check()


def test_blender_goes_on_while_pythons_are_looked_for_of_which_one_hangs(carried, tmp_path, monkeypatch):
    slow = tmp_path / "bin/python3.13"
    slow.parent.mkdir()
    go_on = tmp_path / "go on"
    slow.write_text(f'#!/bin/sh\nwhile [ ! -e "{go_on}" ]; do sleep 0.05; done\nexec "{sys.executable}" "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(pythons, "_others", lambda: iter([slow]))
    monkeypatch.setattr(pythons, "find", partial(pythons.find, ""))  # Blender's own is not tried
    setup = ServerEnvironment(tmp_path / "setup")
    setup.set_up("cpu", carried)  # returns although that Python does not answer
    for _ in range(20):
        assert not setup.poll()
        assert setup.busy
        assert setup.progress == Progress("Looking for Python")
        time.sleep(0.02)
    go_on.touch()
    patience = time.monotonic() + 30
    while setup.progress.stage == "Looking for Python" and time.monotonic() < patience:
        assert not setup.poll()
        time.sleep(0.02)
    assert setup.log.is_file()
    go_on.unlink()
    setup.cancel()
    while not setup.poll():
        time.sleep(0.02)
    setup.set_up("cpu", carried)
    setup.cancel()
    assert setup.poll()
    assert setup.progress.failed == "Cancelled."
    assert not setup.busy


def test_where_no_python_is_found_it_is_said_how_to_get_one(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(pythons, "find", lambda: None)
    setup = ServerEnvironment(tmp_path / "setup")
    setup.set_up("cpu", carried)
    while not setup.poll():
        time.sleep(0.02)
    assert setup.progress.failed == pythons.HOW_TO_GET
    assert not setup.folder.exists()


@pytest.mark.setup
@pytest.mark.timeout(1500)
def test_a_server_that_was_set_up_opens_the_sample(carried, monkeypatch, user_folder):
    now = session.current()
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    settings.address, settings.python = "tcp://127.0.0.1:59735", ""
    now.environment.set_up("cpu", carried)
    while now.environment.busy:
        now.tick()
        time.sleep(0.05)
    assert now.environment.progress.done.startswith("The server is set up."), now.environment.log.read_text()
    assert now.environment.current.version == __version__
    assert bpy.ops.ex4d.open_clip(filepath=str(REPO / "sample/clip.mp4"), frames=9) == {"FINISHED"}
    assert bpy.context.scene.ex4d.frames == 9
    now.stop_server()
    assert bpy.ops.ex4d.server_remove() == {"FINISHED"}
    assert not now.environment.folder.exists()
