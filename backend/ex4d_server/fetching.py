"""Fetch a model's files, in a process of its own beside running jobs: `python -m ex4d_server.fetching NAME`.

Progress is told in lines of JSON, as the add-on reads them (`setup.chore`). The process ends when its input closes;
what was fetched by then is kept, and the next time goes on from there.
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
"""How often progress is told."""


class Teller:
    """Writes lines of progress, not too many."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, stage: str, step: int, steps: int, picture: object = None) -> None:
        """Tell one step."""
        now = time.monotonic()
        if step == steps or now - self._last > TELL_SECONDS:
            self._last = now
            tell(stage=f"{stage}, MB", step=step, steps=steps)


def tell(**said: object) -> None:
    """A line for whoever started this."""
    print(json.dumps(said), flush=True)


def end_with_input() -> None:
    """Wait until whoever started this lets go of its input, then end."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    tell(failed="Paused. What has come is kept: press the button again to go on.")
    os._exit(1)


def main() -> int:
    """Fetch; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ex4d_server.fetching")
    parser.add_argument("name")
    parser.add_argument("--accept-licence", action="store_true")
    arguments = parser.parse_args()
    threading.Thread(target=end_with_input, daemon=True).start()
    notes: list[str] = []
    try:
        root = store.folder()
        model_files.fetch(arguments.name, root, notes.append, Teller(), accept_licence=arguments.accept_licence)
    except (EX4DError, OSError) as error:
        tell(failed=str(error))
        return 1
    tell(done=" ".join(["The model's files are there.", *notes]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
