"""A real server with packages that are broken in every way: it announces what it has, and carries on."""

import os
import subprocess
import sys

import pytest
from server_process import until

from ex4d.jobs.client import Client
from ex4d.weights import store

BROKEN = {
    "raises_on_import": ("ex4d.generators", "raise RuntimeError('no such GPU')\n"),
    "no_spec": ("ex4d.generators", "SPEC = 'text'\n"),
    "no_estimator": ("ex4d.depth_estimators", "SPEC = 'text'\n"),
    "odd_settings": (
        "ex4d.generators",
        "from dataclasses import dataclass\n"
        "from ex4d.generate.base import Spec\n"
        "from ex4d.schema import Settings, setting\n"
        "@dataclass(frozen=True)\n"
        "class Odd(Settings):\n"
        "    colours: list = setting(None, 'Colours', 'Which')\n"
        "SPEC = Spec('odd', 'Odd', 'Odd', Odd, print, lambda deep: '')\n",
    ),
    "ends_the_process": ("ex4d.generators", "import sys\nsys.exit('bye')\n"),
    "no_command": ("ex4d.commands", "SPEC = 5\n"),
    "no_packages": (
        "ex4d.depth_estimators",
        "from ex4d.depth.base import Spec\nSPEC = Spec('no_packages', 'Odd', 'Odd', print, packages=('torch',))\n",
    ),
    "long_title": (
        "ex4d.generators",
        "from ex4d.generate.base import Spec\n"
        "from ex4d.schema import Settings\n"
        "SPEC = Spec('long_title', 'x' * 101, 'Odd', Settings, print, lambda deep: '', rank='high')\n",
    ),
    "cannot_tell": (
        "ex4d.generators",
        "from ex4d.generate.base import Spec\n"
        "from ex4d.schema import Settings\n"
        "def missing(deep): raise KeyError('driver')\n"
        "SPEC = Spec('cannot_tell', 'Mute', 'Mute', Settings, print, missing, rank=5000)\n",
    ),
    "no_memory": (
        "ex4d.generators",
        "from ex4d.generate.base import Spec\n"
        "from ex4d.schema import Settings\n"
        "SPEC = Spec('no_memory', 'Vague', 'Vague', Settings, print, lambda deep: '', memory=lambda settings: 1 / 0)\n",
    ),
    "no_files": (
        "ex4d.generators",
        "from ex4d.generate.base import Spec\n"
        "from ex4d.schema import Settings\n"
        "from ex4d.weights.store import Part\n"
        "def convert(root, progress): raise KeyError('weights')\n"
        "SPEC = Spec('no_files', 'Bare', 'Bare', Settings, print, lambda deep: '', convert=convert,\n"
        "    own_files=lambda root: None, parts=(Part('bare model', ('Bare/a.pth',), 0.1, 'MIT', 'nobody/Bare'),))\n",
    ),
}
RUN_BESIDE = {"cannot_tell", "no_memory", "no_files"}
"""These fail only when they are called."""


@pytest.fixture
def environment(tmp_path):
    """The environment for a process that has all of these packages."""
    for name, (group, code) in BROKEN.items():
        (tmp_path / f"plugin_{name}.py").write_text(code)
        about = tmp_path / f"plugin_{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{name} = plugin_{name}:SPEC\n")
    return os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"}


def test_a_server_beside_broken_packages_says_what_it_has(environment, tmp_path):
    command = [sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", tmp_path / "state"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        client = Client(server.stdout.readline().rsplit(" ", 1)[1].strip(), tmp_path / "downloads")
        try:
            until(lambda: client.poll() is not None and client.server is not None)
            told = {info.name: info.missing for info in client.server.capabilities.generators}
            assert told["cannot_tell"] == "Mute cannot tell whether it can run here: KeyError: 'driver'"
            assert (
                told["no_memory"] == "Vague cannot tell how much memory it needs: ZeroDivisionError: division by zero"
            )
            assert told["preview"] == ""
            assert not {"odd", "no_spec", "raises_on_import"} & set(told)
            assert "plane" in {info.name for info in client.server.capabilities.estimators}
            assert server.poll() is None
        finally:
            client.close()
            server.terminate()


def test_doctor_names_each_broken_package_and_the_others_work(environment):
    done = subprocess.run(
        [sys.executable, "-m", "ex4d.cli", "doctor"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for name in set(BROKEN) - RUN_BESIDE:
        assert f"Plug-in: {name}" in done.stdout
    assert "cannot tell whether it can run here" in done.stdout


def test_models_says_what_a_package_fails_at_and_lists_and_converts_the_others(environment, tmp_path):
    models = tmp_path / "models"
    (models / "Bare").mkdir(parents=True)
    (models / "Bare/a.pth").write_bytes(b"")  # so that only this one has all of its files
    done = subprocess.run(
        [sys.executable, "-m", "ex4d.cli", "models", "--convert"],
        capture_output=True,
        text=True,
        env=environment | {store.VARIABLE: str(models)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Bare cannot convert its files: KeyError: 'weights'\n" in done.stderr
    assert "Bare cannot list its own files: the answer must be a tuple, not NoneType.\n" in done.stderr
    assert "bare model" in done.stdout
    assert "VACE" in done.stdout
    assert "Models for depth and for the source camera, all optional" in done.stdout
