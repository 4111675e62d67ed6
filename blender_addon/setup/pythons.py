"""Pythons on this machine that can create an environment for the server."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ("3.13", "3.12", "3.11", "3.14")
"""Python versions for which all of the server's dependencies have wheels, in order of preference."""

HOW_TO_GET = (
    "No Python from 3.11 to 3.14 that can create environments was found, and Blender's own cannot: install one from"
    " python.org (on Linux, your system's packages python3 and python3-venv), then press Set Up Server again."
)
_TEST = "import ensurepip, venv, sys; print('%d.%d' % sys.version_info[:2])"
_SECONDS = 10.0


@dataclass(frozen=True)
class Python:
    """A Python that can create environments."""

    path: Path
    version: str


def find(blenders: str = sys.executable) -> Python | None:
    """Blender's own Python if it can create environments, else the first other one found; None if there is none."""
    return next(usable([Path(blenders), *_others()] if blenders else _others()), None)


def usable(paths: Iterable[Path]) -> Iterator[Python]:
    """The Pythons in `paths` that run, have one of `VERSIONS`, and can create environments."""
    for path in dict.fromkeys(paths):
        version = _ask(path)
        if version in VERSIONS:
            yield Python(path, version)


def _ask(path: Path) -> str:
    """The version of a Python if it can create environments, else ""."""
    try:
        asked = run([path, "-c", _TEST])
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command without Blender's own Python paths and, on Windows, without a window.

    Raises:
        OSError: the command cannot be run.
        subprocess.TimeoutExpired: it takes longer than 10 seconds.
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
    """Usual places of other Pythons: the PATH, Homebrew, pyenv, and the Windows launcher."""
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
        for folder in ("/opt/homebrew/bin", "/usr/local/bin"):
            yield Path(folder, f"python{version}")
        yield from sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if launcher := shutil.which("py"):
        yield from _of_launcher(launcher)


def _of_launcher(launcher: str) -> Iterator[Path]:
    """Pythons listed by the Windows launcher, in lines such as ` -V:3.12 *  C:\\...\\python.exe`."""
    try:
        listed = run([launcher, "-0p"])
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in listed.stdout.splitlines():
        if found := re.search(r"(\S:\\.*python\.exe)\s*$", line):
            yield Path(found[1])
