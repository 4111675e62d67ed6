"""The server's own Python environment: what there is of it, and setting it up, repairing, updating and removing it.

It lies in the user's data folder, so that it serves every Blender of the user, and stays when the extension is
uninstalled: only `remove` removes it. `install.py` makes it in a process of its own, from the wheel and the pins that
the extension carries.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ex4d import __version__
from ex4d.errors import InputError

from . import pythons
from .chore import Chore, Progress

CARRIED = Path(__file__).resolve().parents[1] / "server"
"""What the extension carries of the server: its wheel and the versions of all that it needs."""
INSTALL = Path(__file__).with_name("install.py")
FROM_SOURCE = (
    "This add-on runs from its source tree and carries no server: build the extension with `make extension`, or set"
    " Server Python in the preferences."
)


@dataclass(frozen=True)
class Kind:
    """What the server can be set up for: its download and what that takes on the disk, GB, about."""

    name: str
    label: str
    description: str
    download_gb: float
    disk_gb: float


KINDS = (
    Kind("cpu", "CPU", "Depth and previews on the processor, or on Apple's GPU", 0.4, 1.5),
    Kind("nvidia", "NVIDIA GPU", "Depth and video models on an NVIDIA card", 3.5, 8.0),
)


@dataclass(frozen=True)
class Environment:
    """One that works.

    Attributes:
        python: its Python.
        version: of the server in it.
        kind: name of one of `KINDS`.
    """

    python: Path
    version: str
    kind: str

    @property
    def is_old(self) -> bool:
        """Whether the add-on has a server of another version."""
        return self.version != __version__


class ServerEnvironment:
    """The environment in `folder`, and the chore that works at it.

    Attributes:
        progress: how far that is, or how the last one ended.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress = Progress()
        self._chore: Chore | None = None
        self._seen: tuple[int, Environment | None] = (0, None)

    @property
    def log(self) -> Path:
        """All that was said while it was set up last."""
        return self.folder / "setup.log"

    @property
    def busy(self) -> bool:
        """Whether it is being set up."""
        return self._chore is not None

    @property
    def current(self) -> Environment | None:
        """The environment in use; None where there is none, or its Python is gone."""
        record = self.folder / "current.json"
        try:
            changed = record.stat().st_mtime_ns
            if changed != self._seen[0]:  # panels ask whenever they are drawn
                facts = json.loads(record.read_text(encoding="utf-8"))
                self._seen = changed, Environment(Path(facts["python"]), facts["version"], facts["kind"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        found = self._seen[1]
        return found if found is not None and found.python.is_file() else None

    def set_up(self, kind: str, carried: Path = CARRIED) -> None:
        """Begin to make a new environment; the old one stays in use until the new one works.

        Raises:
            InputError: one is being made, no Python can make one, or the extension carries no server.
            OSError: the folder cannot be written.
        """
        if self.busy:
            raise InputError("The server is being set up already.")
        wheel, pins = next(iter(carried.glob("ex4d-*.whl")), None), carried / "constraints.txt"
        if wheel is None or not pins.is_file():
            raise InputError(FROM_SOURCE)
        python = pythons.find()
        if python is None:
            raise InputError(pythons.HOW_TO_GET)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._chore = Chore([python.path, INSTALL, self.folder, wheel, pins, kind], self.log)
        self.progress = Progress("Starting")

    def poll(self) -> bool:
        """Hear what the chore says; True when it has ended just now."""
        if self._chore is None:
            return False
        self.progress = self._chore.poll()
        if not self._chore.over:
            return False
        self._chore = None
        return True

    def cancel(self) -> None:
        """Stop setting up; what was there before stays."""
        if self._chore is not None:
            self._chore.cancel()

    def remove(self) -> None:
        """Remove the environment, with all that was downloaded for it but pip's own cache.

        Raises:
            InputError: it is being made.
        """
        if self.busy:
            raise InputError("The server is being set up: press Cancel first.")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.progress = Progress(done="The server was removed. Clips, takes and models stay.")

    def close(self) -> None:
        """Let go of the chore, which ends then."""
        if self._chore is not None:
            self._chore.close()
            self._chore = None
