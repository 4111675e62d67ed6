"""Set Up Server: an environment for the server without a terminal."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import announced
import bpy
import pytest
from test_panels import draw

from blender_addon.setup import install, pythons
from blender_addon.setup.chore import Chore, Progress
from blender_addon.setup.server_environment import Environment, ServerEnvironment, folder_in
from blender_addon.ui import panels, server_setup
from blender_addon.work import session
from ex4d import __version__
from ex4d.errors import InputError
from ex4d.jobs.messages import Capabilities

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def carried(tmp_path_factory) -> Path:
    """What the extension carries of the server."""
    folder = tmp_path_factory.mktemp("server parts")  # with a space, as user folders have
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPO]
    subprocess.run([sys.executable, *map(str, words)], check=True)
    (folder / "constraints.txt").write_text((REPO / "constraints.txt").read_text())
    return folder


def record(version: str = __version__, python=sys.executable, base=sys.executable, kind: str = "cpu") -> str:
    """What current.json says of an environment."""
    return json.dumps({"python": python, "base": base, "version": version, "kind": kind})


def installer(folder: Path) -> install.Installer:
    """One that works at an environment in `folder`, which is there."""
    (folder / "env-1").mkdir()
    return install.Installer(folder / "env-1", Path("none.whl"), Path("constraints.txt"), "cpu")


def through(chore, seconds: float = 60.0) -> Progress:
    """What a chore says at its end."""
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
    downloading = [line for line in told if line["stage"] == "Downloading 0 MB"]
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
        assert any(line == "on\n" for line in other.stdout)  # 5.3 says more before that
        before = setup.log.read_text()
        for act in (lambda: setup.set_up("cpu", carried), setup.remove):
            with pytest.raises(InputError) as refused:
                act()
            assert str(refused.value) == (
                "Another Blender is setting up the server: Downloading 390 MB (25%). Wait until it is done."
            )
        assert setup.log.read_text() == before
        assert not setup.busy
        other.kill()  # as a crash does: its process ends with its input, and the lock with that
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
        ("Windows", "nvidia", "ERROR: No matching distribution found for torch\n", "No matching distribution"),
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
    assert "check the network" in setup.progress.failed
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
    with pytest.raises(RuntimeError, match="make extension"):
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
    assert {"Repair", "Remove"} <= set(draw(panels.draw_server).buttons)
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
    buttons = draw(panels.draw_source).buttons
    assert "Set Up Server" not in buttons
    assert "Cancel" in buttons
    now.environment.cancel()
    while now.environment.busy and time.monotonic() < end:
        now.tick(0.05)
    assert "ended unexpectedly" in now.state.message


def test_each_model_that_lacks_files_has_a_button_that_fetches_them_unless_blender_is_offline():
    painter = replace(announced.PAINTER, missing="Its files are not there.", lacking_gb=19.0)
    ruler = replace(announced.RULER, missing="Its files are not there.", lacking_gb=0.12)
    announced.by(Capabilities((painter, announced.SKETCH), (announced.FROM_FILE, ruler, announced.DICE)))
    assert draw(panels.draw_models).buttons == ["Get The Painter (19 GB)"]
    assert "Get Ruler (0.1 GB)" in draw(panels.draw_source).buttons
    bpy.context.preferences.system.use_online_access = False
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.ex4d.get_model(name="ruler")
    bpy.context.preferences.system.use_online_access = True
    with pytest.raises(RuntimeError, match="press Set Up Server first"):
        bpy.ops.ex4d.get_model(name="ruler")


def test_where_no_file_is_lacking_nothing_is_offered():
    announced.by()
    assert not [text for text in draw(panels.draw_models).buttons if text.startswith("Get ")]
    assert not [text for text in draw(panels.draw_source).buttons if text.startswith("Get ")]


@pytest.mark.skipif("EX4D_PYTHON" not in os.environ, reason="needs EX4D_PYTHON, a Python with the server")
def test_the_servers_python_fetches_and_says_how_that_ended():
    now = session.current()
    bpy.context.preferences.system.use_online_access = True
    bpy.context.preferences.addons["blender_addon"].preferences.python = os.environ["EX4D_PYTHON"]
    assert bpy.ops.ex4d.get_model(name="nothing") == {"FINISHED"}
    while now.model_fetch.busy:
        now.tick()
        time.sleep(0.02)
    assert now.state.failed
    assert now.state.message.startswith("'nothing' has no files to fetch: choose one of wan")


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
