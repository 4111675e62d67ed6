"""The server's own Python environment: what there is of it, and setting it up, repairing, updating and removing it.

It lies in the user's data folder, so that it serves every Blender of the user, and stays when the extension is
uninstalled: only `remove` removes it. On Windows it lies elsewhere, see `folder_in`. `install.py` makes it in a process
of its own, from the wheel and the pins that the extension carries.
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
"""What the extension carries of the server: its wheel and the versions of all that it needs."""
INSTALL = Path(__file__).with_name("install.py")
FROM_SOURCE = (
    "This add-on runs from its source code, which carries no server: install the extension's zip, or set Server Python"
    " in the preferences."
)


@dataclass(frozen=True)
class Kind:
    """What the server can be set up for, and about how many GB that takes to download and on disk."""

    name: str
    label: str
    description: str
    download_gb: float
    disk_gb: float


_CPU = Kind("cpu", "CPU", "Depth and previews on the CPU, or on Apple's GPU", 0.4, 1.7)
_NVIDIA = Kind("nvidia", "NVIDIA GPU", "Depth and video models on an NVIDIA GPU", 3.5, 8.0)
KINDS = (_CPU,) if sys.platform == "darwin" else (_CPU, _NVIDIA)

ABANDONED_SECONDS = 86400.0
"""What was begun so long ago and is not complete is nobody's any more."""


@dataclass(frozen=True)
class Environment:
    """One that works.

    Attributes:
        python: its Python.
        base: the Python that it was made with and cannot do without, such as Blender's. On Windows `python` is a mere
            launcher of it, which stays when that Blender is gone.
        version: of the server in it.
        kind: name of one of `KINDS`.
    """

    python: Path
    base: Path
    version: str
    kind: str

    @property
    def command(self) -> Path:
        """The command `ex4d` in it."""
        return self.python.with_name(f"ex4d{'.exe' if os.name == 'nt' else ''}")

    @property
    def is_old(self) -> bool:
        """Whether the add-on has a server of another version."""
        return self.version != __version__


def folder_in(user_folder: Path, local: str = os.environ.get("LOCALAPPDATA", "") if os.name == "nt" else "") -> Path:
    """Where the environment of an add-on with this user folder lies.

    Windows usually allows 260 characters for a path. In the user folder, which takes 100, PyTorch's longest would have
    more than 300, so there it is a short folder in `local`, the user's folder for what belongs to this machine.
    """
    if not local:
        return user_folder / "server-python"
    return Path(local, "ex4d", hashlib.sha256(str(user_folder).encode()).hexdigest()[:6])


class PythonSearch(threading.Thread):
    """Looks for a Python beside all else: each that is tried may take seconds to answer, or never do.

    Attributes:
        arguments: for `install.py`, once there is one.
        found: the Python; None until then, and where there is none.
        cancelled: whether nobody waits for it any more.
    """

    def __init__(self, arguments: tuple[str | Path, ...]) -> None:
        super().__init__(daemon=True)  # Blender need not wait for it to end
        self.arguments, self.cancelled = arguments, False
        self.found: pythons.Python | None = None

    def run(self) -> None:
        """Look."""
        self.found = pythons.find()


class ServerEnvironment(OneChore):
    """The environment in `folder`, and the chore that makes a new one. Cancelling leaves what was there before."""

    def __init__(self, folder: Path) -> None:
        super().__init__(doing="setting up the server")
        self.folder = folder
        self._search: PythonSearch | None = None
        self._seen: tuple[int, Environment | None] = (0, None)

    @property
    def log(self) -> Path:
        """All that was said while it was set up last."""
        return self.folder / LOG

    @property
    def current(self) -> Environment | None:
        """The environment in use; None if there is none, or its Python or the one it was made with is gone."""
        record = self.folder / "current.json"
        try:
            changed = record.stat().st_mtime_ns
            if changed != self._seen[0]:  # panels ask whenever they are drawn
                facts = json.loads(record.read_text(encoding="utf-8"))
                found = Environment(Path(facts["python"]), Path(facts["base"]), facts["version"], facts["kind"])
                self._seen = changed, (found if found.kind in [kind.name for kind in KINDS] else None)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        found = self._seen[1]
        return found if found is not None and found.python.is_file() and found.base.is_file() else None

    def set_up(self, kind: str, carried: Path = CARRIED) -> None:
        """Begin to make a new environment; the old one stays in use until the new one works.

        Raises:
            InputError: one is being made, here or in another Blender, or the extension carries no server.
            OSError: the log cannot be looked at.
        """
        if self.busy:
            raise ChoreError("The server is being set up already.")
        wheel, pins = next(iter(carried.glob("ex4d-*.whl")), None), carried / "constraints.txt"
        if wheel is None or not pins.is_file():
            raise ChoreError(FROM_SOURCE)
        check_nobody_else(self.log, self.doing)  # before Pythons are looked for, which takes its time
        self.progress = Progress("Looking for Python")
        self._search = PythonSearch((INSTALL, self.folder, wheel, pins, kind))
        self._search.start()

    @property
    def busy(self) -> bool:
        """Whether one is being made."""
        return self._search is not None or super().busy

    def poll(self) -> bool:
        """Go on; True when it has ended just now."""
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
        """Ask it to end."""
        if self._search is not None:
            self._search.cancelled = True
        super().cancel()

    def close(self) -> None:
        """Let go of it, which ends it."""
        self._search = None
        super().close()

    def remove(self) -> None:
        """Remove the environment, with all that was downloaded for it but pip's own cache.

        Raises:
            InputError: it is being made, or some of it cannot be removed.
        """
        if self.busy:
            raise ChoreError("The server is being set up: press Cancel first.")
        check_nobody_else(self.log, self.doing)
        with suppress(FileNotFoundError):
            (self.folder / "current.json").unlink()  # first: what is left of the rest is not to be started
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise ChoreError(
                "Some files in {folder} are in use: end the server, then delete the folder.", folder=str(self.folder)
            )

    def remove_unused(self) -> subprocess.Popen | None:
        """Remove environments that another has replaced; to be called while no server runs.

        Returns:
            The process that does it, as it takes seconds; None if there is nothing to remove.
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
