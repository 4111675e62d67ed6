"""The server's own Python environment: its state, and setting it up, repairing, updating and removing it.

It is in the user's data folder, so it serves all of the user's Blenders and survives uninstalling the extension: only
`remove` removes it. On Windows it is elsewhere, see `folder_in`. `install.py` makes it in a separate process, from the
wheel and the pins that the extension includes.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ex4d import __version__
from ex4d.errors import EX4DError

from . import pythons
from .chore import ChoreError, OneChore, Progress, check_nobody_else
from .install import LOG

CARRIED = Path(__file__).resolve().parents[1] / "server"
"""Folder of the extension with the server's wheel and the pinned versions of its dependencies."""
INSTALL = Path(__file__).with_name("install.py")
FROM_SOURCE = (
    "This add-on runs from its source code, which carries no server: install the extension's zip, or set Server Python"
    " in the preferences."
)


@dataclass(frozen=True)
class Kind:
    """Something the server can be set up for, with the approximate download and disk size in GB."""

    name: str
    label: str
    description: str
    download_gb: float
    disk_gb: float


_CPU = Kind("cpu", "CPU", "Depth and previews on the CPU, or on Apple's GPU", 0.4, 1.7)
_NVIDIA = Kind("nvidia", "NVIDIA GPU", "Depth and video models on an NVIDIA GPU", 3.5, 8.0)
KINDS = (_CPU,) if sys.platform == "darwin" else (_CPU, _NVIDIA)

ABANDONED_SECONDS = 86400.0
"""Age beyond which an incomplete environment counts as abandoned."""


@dataclass(frozen=True)
class Environment:
    """A working environment.

    Attributes:
        python: its Python.
        base: the Python that it was made with and depends on, such as Blender's. On Windows `python` merely launches
            it, and still exists once that Blender is gone.
        version: version of its server.
        kind: name of one of `KINDS`.
    """

    python: Path
    base: Path
    version: str
    kind: str

    @property
    def command(self) -> Path:
        """Its `ex4d` command."""
        return self.python.with_name(f"ex4d{'.exe' if os.name == 'nt' else ''}")

    @property
    def is_old(self) -> bool:
        """Whether its server has another version than the add-on."""
        return self.version != __version__


def folder_in(user_folder: Path, local: str = os.environ.get("LOCALAPPDATA", "") if os.name == "nt" else "") -> Path:
    """The folder for the environment of an add-on with this user folder.

    Windows usually limits paths to 260 characters. Below the user folder, whose own path takes 100, PyTorch's longest
    would exceed 300. So on Windows it is a folder with a short name in `local`, the user's folder for data that stays
    on this machine.
    """
    if not local:
        return user_folder / "server-python"
    return Path(local, "ex4d", hashlib.sha256(str(user_folder).encode()).hexdigest()[:6])


class PythonSearch(threading.Thread):
    """Searches for a Python in the background: each candidate may take seconds to answer, or never answer.

    Attributes:
        arguments: the command line, without the Python, to run `install.py` with once one is found.
        found: the Python; None until one is found, or if there is none.
        cancelled: whether the result is no longer wanted.
    """

    def __init__(self, arguments: tuple[str | Path, ...]) -> None:
        super().__init__(daemon=True)  # Blender need not wait for it when quitting
        self.arguments, self.cancelled = arguments, False
        self.found: pythons.Python | None = None

    def run(self) -> None:
        """Search."""
        self.found = pythons.find()


class ServerEnvironment(OneChore):
    """The environment in `folder`, and the chore that makes a new one. Cancelling leaves the old one in place."""

    def __init__(self, folder: Path) -> None:
        super().__init__(doing="setting up the server")
        self.folder = folder
        self._search: PythonSearch | None = None
        self._seen: tuple[int, Environment | None] = (0, None)

    @property
    def log(self) -> Path:
        """The log of the last setup."""
        return self.folder / LOG

    @property
    def current(self) -> Environment | None:
        """The environment in use; None if there is none, or if its Python or the one it was made with is gone."""
        record = self.folder / "current.json"
        try:
            changed = record.stat().st_mtime_ns
            if changed != self._seen[0]:  # panels call this whenever they are drawn
                facts = json.loads(record.read_text(encoding="utf-8"))
                found = Environment(Path(facts["python"]), Path(facts["base"]), facts["version"], facts["kind"])
                self._seen = changed, (found if found.kind in [kind.name for kind in KINDS] else None)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        found = self._seen[1]
        return found if found is not None and found.python.is_file() and found.base.is_file() else None

    def set_up(self, kind: str, carried: Path = CARRIED) -> None:
        """Start making a new environment; the old one stays in use until the new one works.

        Raises:
            InputError: one is already being made, here or in another Blender, or the extension includes no server.
            OSError: the log cannot be opened.
        """
        if self.busy:
            raise ChoreError("The server is being set up already.")
        wheel, pins = next(iter(carried.glob("ex4d-*.whl")), None), carried / "constraints.txt"
        if wheel is None or not pins.is_file():
            raise ChoreError(FROM_SOURCE)
        check_nobody_else(self.log, self.doing)  # before the slow search for a Python
        self.progress = Progress("Looking for Python")
        self._search = PythonSearch((INSTALL, self.folder, wheel, pins, kind))
        self._search.start()

    @property
    def busy(self) -> bool:
        """Whether an environment is being made."""
        return self._search is not None or super().busy

    def poll(self) -> bool:
        """Take the next step and update `progress`; True if setting up has just ended."""
        if self._search is None:
            return super().poll()
        if self._search.is_alive() and not self._search.cancelled:
            return False
        search, self._search = self._search, None
        try:
            if search.cancelled:
                raise ChoreError("Cancelled.")
            if search.found is None:
                raise ChoreError(pythons.HOW_TO_GET)
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.begin([search.found.path, *search.arguments], self.log)
        except (EX4DError, OSError) as error:
            self.progress = Progress(failed=str(error), parts=getattr(error, "parts", ()))
            return True
        return False

    def cancel(self) -> None:
        """Cancel setting up."""
        if self._search is not None:
            self._search.cancelled = True
        super().cancel()

    def close(self) -> None:
        """End setting up and stop listening to it."""
        self._search = None
        super().close()

    def remove(self) -> None:
        """Remove the environment and everything downloaded for it, except pip's own cache.

        Raises:
            InputError: it is being made, or some files cannot be removed.
            OSError: the log cannot be opened, or the environment's record cannot be removed.
        """
        if self.busy:
            raise ChoreError("The server is being set up: press Cancel first.")
        check_nobody_else(self.log, self.doing)
        with suppress(FileNotFoundError):
            (self.folder / "current.json").unlink()  # first, so that nothing starts an incomplete environment
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise ChoreError(
                "Some files in {folder} are in use: end the server, then delete the folder.", folder=str(self.folder)
            )

    def remove_unused(self) -> subprocess.Popen | None:
        """Remove replaced and abandoned environments; call this only while no server runs.

        Returns:
            The process that removes them, which takes seconds; None if there is nothing to remove.
        """
        now = self.current
        if now is None or self.busy:
            return None
        limit = time.time() - ABANDONED_SECONDS
        others = [place for place in self.folder.glob("env-*") if place.is_dir() and place not in now.python.parents]
        unused = [place for place in others if (place / "complete").exists() or place.stat().st_mtime < limit]
        if not unused:
            return None
        code = "import shutil, sys\nfor place in sys.argv[1:]: shutil.rmtree(place, ignore_errors=True)"
        no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        return subprocess.Popen([now.python, "-c", code, *unused], stdin=subprocess.DEVNULL, creationflags=no_window)
