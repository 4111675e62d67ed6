"""A real backend process and a real bpy, with the add-on enabled in the factory file for each test."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import pytest

REPO = Path(__file__).parents[2]
PYTHON = os.environ.get("EX4D_PYTHON", str(REPO / ".venv/bin/python"))
sys.path.insert(0, str(REPO))


@dataclass
class Server:
    """A server started by the test; `address` stays the same across restarts.

    `environment` is added to the test's own; `prefix` makes its command run elsewhere.
    """

    state: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str = "tcp://127.0.0.1:0"
    process: subprocess.Popen | None = None
    prefix: tuple[str, ...] = ()

    def start(self) -> None:
        """Start it and wait until it reports its address."""
        log = (self.state / "test.log").open("ab")
        began = log.tell()
        command = [*self.prefix, PYTHON, "-m", "ex4d_server", "--address", self.address]
        command += ["--state", str(self.state / "server")]
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, cwd=self.state, env=os.environ | self.environment
        )
        log.close()
        for _ in range(600):
            said = (self.state / "test.log").read_bytes()[began:].decode()
            if found := re.search(r"listening on (tcp://[\d.]+:[1-9]\d*)", said):
                self.address = found[1]
                return
            assert self.process.poll() is None, said
            time.sleep(0.05)
        raise AssertionError(f"the server says no address: {said}")

    def kill(self) -> None:
        """Kill it and its workers without warning."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "backend")
    made.state.mkdir()
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture(autouse=True)
def addon(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import addon_utils

    monkeypatch.setenv("EX4D_DATA", str(tmp_path / "user"))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert addon_utils.enable("blender_addon", default_set=True) is not None
    user = tmp_path / "user"
    user.mkdir(exist_ok=True)  # enabling the add-on creates it
    monkeypatch.setattr("blender_addon.scene.compat.user_folder", lambda package: user)
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    settings.address, settings.python = server.address, PYTHON
    yield
    addon_utils.disable("blender_addon", default_set=True)
    bpy.ops.wm.read_homefile(use_factory_startup=True)


@pytest.fixture
def scene() -> bpy.types.Scene:
    return bpy.context.scene
