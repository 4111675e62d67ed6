"""A process of its own that works for minutes and tells how far it is, such as setting up the server.

It writes a line of JSON to its output whenever there is news: {"stage", "step", "steps"}, and at its end {"done"} or
{"failed"} with a sentence. It ends when its input is closed: on Cancel, and when Blender ends in any way.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """How far a chore is.

    Attributes:
        stage: what is being done, for people.
        step, steps: how much of it is done, in any unit; 0 of 0 where that is not known.
        done, failed: the sentence at the end, either of them; both empty until then.
    """

    stage: str = ""
    step: int = 0
    steps: int = 0
    done: str = ""
    failed: str = ""

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.step / self.steps if self.steps else 0.0


class Chore:
    """A process under way; see the module.

    Args:
        command: what to run.
        log: file for all that it writes; made anew.

    Attributes:
        progress: how far it was when it was asked last.
        over: whether it has ended, and all that it said was heard.

    Raises:
        OSError: it cannot be run, or the log cannot be written.
    """

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self.log, self.progress = log, Progress()
        log.parent.mkdir(parents=True, exist_ok=True)
        # Blender's own paths would make another Python take modules that were built for Blender. In UTF-8 whatever a
        # program says can be written to the log, which Windows' code pages do not allow.
        dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONIOENCODING", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
        environment = {k: v for k, v in os.environ.items() if k not in dropped}
        added = {"PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PIP_USER": "0"}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment | added,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        self.over = False
        self._read = log.open("rb")
        self._rest = b""

    def poll(self) -> Progress:
        """What it said last. Once it is over, `done` or `failed` is there, whether it said a word or not."""
        if self.over:
            return self.progress
        self.over = self._process.poll() is not None
        *lines, self._rest = (self._rest + self._read.read()).split(b"\n")
        for line in lines:
            self._hear(line)
        if self.over and not (self.progress.done or self.progress.failed):
            why = f"It ended unexpectedly: see {self.log}."
            self.progress = replace(self.progress, failed=why)
        if self.over:
            self.close()
        return self.progress

    def _hear(self, line: bytes) -> None:
        if line.startswith(b'{"'):  # other lines are those of pip and such, for the log
            try:
                self.progress = Progress(**json.loads(line))
            except (ValueError, TypeError):
                return

    def cancel(self) -> None:
        """Ask it to end; it removes what it has not finished, and says so."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def close(self) -> None:
        """Let go of it; what still runs is asked to end."""
        self.cancel()
        self._read.close()


class OneChore:
    """At most one chore at a time.

    Attributes:
        progress: how far it is, or how the last one ended.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self._chore: Chore | None = None

    @property
    def busy(self) -> bool:
        """Whether there is one."""
        return self._chore is not None

    def begin(self, command: Sequence[str | Path], log: Path) -> None:
        """Start one; see `Chore`."""
        self._chore = Chore(command, log)
        self.progress = Progress("Starting")

    def poll(self) -> bool:
        """Hear what it says; True when it has ended just now."""
        if self._chore is None:
            return False
        self.progress = self._chore.poll()
        if not self._chore.over:
            return False
        self._chore = None
        return True

    def cancel(self) -> None:
        """Ask it to end; what it leaves is its own business."""
        if self._chore is not None:
            self._chore.cancel()

    def close(self) -> None:
        """Let go of it, which ends it."""
        if self._chore is not None:
            self._chore.close()
            self._chore = None
