"""Separate processes that run for minutes and report progress, such as setting up the server.

Such a process writes a line of JSON to its output whenever there is news: {"stage", "step", "steps"}, the last two in
bytes downloaded, and at the end {"done"} or {"failed"} with a sentence. Each may also have {"parts"}: the sentences
that make up the text, as templates and values, so that the caller can translate them. The process ends when its input
is closed, which happens on Cancel and whenever Blender ends, even if it crashes.
"""

import json
import os
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ex4d.errors import InputError
from ex4d.storage.locks import lock

Parts = Sequence[tuple[str, dict[str, Any]]]
"""Sentences as templates with `{names}` and their values; a single part need not be a whole sentence."""


class ChoreError(InputError):
    """Why a chore cannot be done, in a translatable sentence; see `Parts`."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values))
        self.parts: Parts = ((template, values),)


@dataclass(frozen=True)
class Progress:
    """Progress of a chore.

    Attributes:
        stage: what is being done, for display.
        step, steps: bytes downloaded and in total; 0 and 0 if unknown or if nothing is being downloaded.
        done, failed: the final sentence, in one of the two; both empty until then.
        parts: the translatable parts of the final sentence or the stage; empty if only the whole is known.
    """

    stage: str = ""
    step: int = 0
    steps: int = 0
    done: str = ""
    failed: str = ""
    parts: Parts = ()

    @property
    def share(self) -> float:
        """Fraction downloaded, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0


class Chore:
    """A running process, as the module describes it.

    Args:
        command: command line to run.
        log: file for all its output; overwritten, and locked against other Blenders while the process runs.
        doing: what it does, for messages, such as "setting up the server".

    Attributes:
        progress: the progress at the last `poll`.
        over: whether it has ended and all its output has been read.

    Raises:
        InputError: another Blender is already doing this.
        OSError: the process cannot be run, or the log cannot be written.
    """

    def __init__(self, command: Sequence[str | Path], log: Path, doing: str) -> None:
        self.log, self.progress = log, Progress()
        log.parent.mkdir(parents=True, exist_ok=True)
        # Blender's own paths would make another Python load modules built for Blender. UTF-8 can hold any output of a
        # program, which Windows' code pages cannot.
        dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONIOENCODING", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
        environment = {k: v for k, v in os.environ.items() if k not in dropped}
        added = {"PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PIP_USER": "0"}
        # The process inherits the locked file, so on Linux and macOS the lock lasts until the process ends, too.
        self._output = _locked(log, doing)
        try:
            self._output.truncate(0)
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=environment | added,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError:
            self._output.close()
            raise
        self.over = False
        self._read = log.open("rb")
        self._rest = b""

    def poll(self) -> Progress:
        """The latest progress. Once the process is over, `done` or `failed` is set even if it printed neither."""
        if self.over:
            return self.progress
        self.over = self._process.poll() is not None
        *lines, self._rest = (self._rest + self._read.read()).split(b"\n")
        for line in lines:
            self._hear(line)
        if self.over and not (self.progress.done or self.progress.failed):
            why = ChoreError("It ended unexpectedly: see {log}.", log=str(self.log))
            self.progress = replace(self.progress, failed=str(why), parts=why.parts)
        if self.over:
            self.close()
        return self.progress

    def _hear(self, line: bytes) -> None:
        self.progress = _said(line) or self.progress

    def cancel(self) -> None:
        """Ask the process to end; it removes anything unfinished and reports that it was cancelled."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def close(self) -> None:
        """Ask the process to end and stop listening to it."""
        self.cancel()
        self._read.close()
        self._output.close()


def check_nobody_else(log: Path, doing: str) -> None:
    """Refuse to start something that another Blender is already doing.

    Raises:
        InputError: another Blender is doing it; the message includes its progress.
        OSError: the log cannot be opened or locked.
    """
    if log.exists():
        _locked(log, doing).close()


def _locked(log: Path, doing: str) -> IO[bytes]:
    """Open the log for appending and lock it; raises as `check_nobody_else` does."""
    file = log.open("ab")
    try:
        if lock(file):
            return file
    except OSError:
        file.close()
        raise
    file.close()
    told = next(filter(None, map(_said, reversed(log.read_bytes().splitlines()))), Progress())
    if not told.stage:
        raise ChoreError("Another Blender is {doing}. Wait until it is done.", doing=doing)
    share = f" ({told.share:.0%})" if told.steps else ""
    raise ChoreError(
        "Another Blender is {doing}: {stage}{share}. Wait until it is done.", doing=doing, stage=told.stage, share=share
    )


def _said(line: bytes) -> Progress | None:
    """The progress that a line of the log reports; None for other output, such as pip's."""
    if not line.startswith(b'{"'):
        return None
    try:
        return Progress(**json.loads(line))
    except (ValueError, TypeError):
        return None


class Pace:
    """Estimates the remaining time of a download from its rate over the last minute."""

    WINDOW_S, LEAST_S = 60.0, 2.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, now: float, progress: Progress) -> None:
        """Record the progress at time `now`. Bytes already there at the first call do not count towards the rate."""
        if not progress.steps:
            self._seen.clear()
            return
        self._seen.append((now, progress.step))
        while self._seen[0][0] < now - self.WINDOW_S:
            self._seen.popleft()

    def seconds_to(self, steps: int) -> float | None:
        """Seconds until `steps` bytes are downloaded; None if not known yet, or if nothing is being downloaded."""
        if not self._seen:
            return None
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        if now - began < self.LEAST_S or last <= first:
            return None
        return (steps - last) * (now - began) / (last - first)


class OneChore:
    """Runs at most one chore at a time.

    Args:
        doing: what the chore does, for messages.

    Attributes:
        progress: progress of the current chore, or how the last one ended.
    """

    def __init__(self, doing: str) -> None:
        self.progress, self.doing = Progress(), doing
        self._chore: Chore | None = None
        self._pace = Pace()

    @property
    def busy(self) -> bool:
        """Whether a chore is running."""
        return self._chore is not None

    def begin(self, command: Sequence[str | Path], log: Path) -> None:
        """Start a chore; see `Chore` for arguments and errors."""
        self._chore = Chore(command, log, self.doing)
        self.progress, self._pace = Progress("Starting"), Pace()

    @property
    def eta_s(self) -> float | None:
        """Seconds until the download is complete; None if not known."""
        return self._pace.seconds_to(self.progress.steps)

    def poll(self) -> bool:
        """Update `progress`; True if the chore has just ended."""
        if self._chore is None:
            return False
        self.progress = self._chore.poll()
        self._pace.see(time.monotonic(), self.progress)
        if not self._chore.over:
            return False
        self._chore = None
        return True

    def cancel(self) -> None:
        """Ask the chore to end; it cleans up after itself."""
        if self._chore is not None:
            self._chore.cancel()

    def close(self) -> None:
        """End the chore and stop listening to it."""
        if self._chore is not None:
            self._chore.close()
            self._chore = None
