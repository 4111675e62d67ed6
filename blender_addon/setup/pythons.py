"""Pythons on this machine that an environment for the server can be made with."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("3.13", "3.12", "3.11", "3.14")
"""Those for which there are wheels of all that the server needs; the first is preferred."""

HOW_TO_GET = (
    "No Python from 3.11 to 3.14 that can create environments was found, and Blender's own cannot: install one from"
    " python.org (on Linux, your system's packages python3 and python3-venv), then press Set Up Server again."
)
_TEST = "import ensurepip, venv, sys; print('%d.%d' % sys.version_info[:2])"
_SECONDS = 10.0


@dataclass(frozen=True)
class Python:
    """A Python that can make environments."""

    path: Path
    version: str


def find(blenders: str = sys.executable) -> Python | None:
    """Blender's own Python if it can make environments, else the first other one on this machine."""
    return next(usable([Path(blenders), *_others()] if blenders else _others()), None)


def usable(paths: Iterable[Path]) -> Iterator[Python]:
    """Those of `paths` that run, are of one of `VERSIONS`, and have what an environment is made with."""
    for path in dict.fromkeys(paths):
        version = _ask(path)
        if version in VERSIONS:
            yield Python(path, version)


def _ask(path: Path) -> str:
    """The version of a Python that can make environments; "" of others."""
    try:
        asked = run([path, "-c", _TEST])
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command without Blender's own Python paths, and without a window on Windows.

    Raises:
        OSError: it cannot be run.
        subprocess.TimeoutExpired: it hangs.
    """
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")},
        stdin=subprocess.DEVNULL,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _others() -> Iterator[Path]:
    """Where other Pythons usually are: on the PATH, of Homebrew and pyenv, of Windows' launcher."""
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
        for folder in ("/opt/homebrew/bin", "/usr/local/bin"):
            yield Path(folder, f"python{version}")
        yield from sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if launcher := shutil.which("py"):
        yield from _of_launcher(launcher)


def _of_launcher(launcher: str) -> Iterator[Path]:
    """Windows: what the launcher lists, a line each: ` -V:3.12 *  C:\\...\\python.exe`."""
    try:
        listed = run([launcher, "-0p"])
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in listed.stdout.splitlines():
        if found := re.search(r"(\S:\\.*python\.exe)\s*$", line):
            yield Path(found[1])
