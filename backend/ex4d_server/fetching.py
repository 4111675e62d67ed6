"""Download a model's files in a separate process, while jobs are running: `python -m ex4d_server.fetching NAME`.

Progress is reported in lines of JSON, in bytes, as the add-on reads them (`setup.chore`). The process ends when its
input closes; what was downloaded by then is kept, and the next download resumes there. With `--look`, nothing is
downloaded: one line reports what would be.
"""

import argparse
import json
import os
import sys
import threading
import time

from ex4d.errors import EX4DError
from ex4d.pipeline import model_files
from ex4d.weights import store

TELL_SECONDS = 0.2
"""Least time between two progress reports."""


class Teller:
    """Writes progress lines at a limited rate."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, stage: str, step: int, steps: int, picture: object = None) -> None:
        """Report a step; `step` and `steps` are in megabytes."""
        now = time.monotonic()
        if step == steps or now - self._last > TELL_SECONDS:
            self._last = now
            tell(stage=stage, step=step * 10**6, steps=steps * 10**6)


def tell(**said: object) -> None:
    """Write one line for the parent process."""
    print(json.dumps(said), flush=True)


def end_with_input() -> None:
    """Wait until the parent process closes the input, then end."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    tell(failed="Paused. What has been downloaded is kept; Get resumes the download.")
    os._exit(1)


def look(name: str) -> None:
    """Report what would be downloaded.

    Raises:
        InputError: see `model_files.wanted`.
    """
    found = model_files.wanted(name, store.folder())
    tell(
        title=model_files.title(name),
        folder=str(found.folder),
        download_gb=found.download_gb,
        room_gb=found.room_gb,
        free_gb=found.free_gb,
        files=[(address, str(place)) for address, place in found.files],
    )


def fetch(name: str, accept_licence: bool) -> None:
    """Download the files and report progress.

    Raises:
        InputError: see `model_files.fetch`.
    """
    threading.Thread(target=end_with_input, daemon=True).start()
    notes: list[str] = []
    model_files.fetch(name, store.folder(), notes.append, Teller(), accept_licence=accept_licence)
    tell(done=" ".join([f"{model_files.title(name)} has been downloaded.", *notes]))


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ex4d_server.fetching")
    parser.add_argument("name")
    parser.add_argument("--accept-licence", action="store_true")
    parser.add_argument("--look", action="store_true")
    arguments = parser.parse_args()
    try:
        if arguments.look:
            look(arguments.name)
        else:
            fetch(arguments.name, arguments.accept_licence)
    except (EX4DError, OSError) as error:
        tell(failed=str(error))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
