"""A process of its own that works for minutes and tells how far it is, such as setting up the server.

It writes a line of JSON to its output whenever there is news: {"stage", "step", "steps"}, the last two in bytes of what
it downloads, and at its end {"done"} or {"failed"} with a sentence. Each may have {"parts"} beside it: the sentences
that it is put together of, as templates and values, so that whoever shows it can translate them. It ends when its
input is closed: on Cancel, and when Blender ends in any way.
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

from .file_lock import lock

Parts = Sequence[tuple[str, dict[str, Any]]]
"""Sentences as templates with `{names}` and the values for them; one alone may be no sentence."""


class ChoreError(InputError):
    """Why a chore cannot be done, in a sentence that can be translated; see `Parts`."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values))
        self.parts: Parts = ((template, values),)


@dataclass(frozen=True)
class Progress:
    """How far a chore is.

    Attributes:
        stage: what is being done, for people.
        step, steps: how many bytes of it have come; 0 of 0 where that is not known, and where nothing comes.
        done, failed: the sentence at the end, either of them; both empty until then.
        parts: what the sentence, or the stage, is put together of; empty if it is known only as a whole.
    """

    stage: str = ""
    step: int = 0
    steps: int = 0
    done: str = ""
    failed: str = ""
    parts: Parts = ()

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.step / self.steps if self.steps else 0.0


class Chore:
    """A process under way; see the module.

    Args:
        command: what to run.
        log: file for all that it writes; made anew, and locked meanwhile against other Blenders.
        doing: what it does, for people: "setting up the server".

    Attributes:
        progress: how far it was when it was asked last.
        over: whether it has ended, and all that it said was heard.

    Raises:
        InputError: another Blender is at it.
        OSError: it cannot be run, or the log cannot be written.
    """

    def __init__(self, command: Sequence[str | Path], log: Path, doing: str) -> None:
        self.log, self.progress = log, Progress()
        log.parent.mkdir(parents=True, exist_ok=True)
        # Blender's own paths would make another Python take modules that were built for Blender. In UTF-8 whatever a
        # program says can be written to the log, which Windows' code pages do not allow.
        dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONIOENCODING", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
        environment = {k: v for k, v in os.environ.items() if k not in dropped}
        added = {"PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PIP_USER": "0"}
        # The process inherits the locked file, so that on Linux and macOS it is locked until that has ended, too.
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
        """What it said last. Once it is over, `done` or `failed` is there, whether it said a word or not."""
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
        """Ask it to end; it removes what it has not finished, and says so."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def close(self) -> None:
        """Let go of it; what still runs is asked to end."""
        self.cancel()
        self._read.close()
        self._output.close()


def check_nobody_else(log: Path, doing: str) -> None:
    """Refuse what another Blender is doing.

    Raises:
        InputError: it is; says how far it is.
        OSError: the log cannot be looked at.
    """
    if log.exists():
        _locked(log, doing).close()


def _locked(log: Path, doing: str) -> IO[bytes]:
    """The log, open for writing at its end, and locked; see `check_nobody_else`."""
    file = log.open("ab")
    if lock(file):
        return file
    file.close()
    told = next(filter(None, map(_said, reversed(log.read_bytes().splitlines()))), Progress())
    if not told.stage:
        raise ChoreError("Another Blender is {doing}. Wait until it is done.", doing=doing)
    share = f" ({told.share:.0%})" if told.steps else ""
    raise ChoreError(
        "Another Blender is {doing}: {stage}{share}. Wait until it is done.", doing=doing, stage=told.stage, share=share
    )


def _said(line: bytes) -> Progress | None:
    """What a line of the log tells; None for those of pip and such."""
    if not line.startswith(b'{"'):
        return None
    try:
        return Progress(**json.loads(line))
    except (ValueError, TypeError):
        return None


class Pace:
    """How long a download still takes, from how much has come in the last minute."""

    WINDOW_S, LEAST_S = 60.0, 2.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, now: float, progress: Progress) -> None:
        """So much has come by now. What had come before anything was said took no time that was seen here."""
        if not progress.steps:
            self._seen.clear()
            return
        self._seen.append((now, progress.step))
        while self._seen[0][0] < now - self.WINDOW_S:
            self._seen.popleft()

    def seconds_to(self, steps: int) -> float | None:
        """Until all has come; None if that is not known yet, or nothing comes."""
        if not self._seen:
            return None
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        if now - began < self.LEAST_S or last <= first:
            return None
        return (steps - last) * (now - began) / (last - first)


class OneChore:
    """At most one chore at a time.

    Args:
        doing: what it does, for people.

    Attributes:
        progress: how far it is, or how the last one ended.
    """

    def __init__(self, doing: str) -> None:
        self.progress, self.doing = Progress(), doing
        self._chore: Chore | None = None
        self._pace = Pace()

    @property
    def busy(self) -> bool:
        """Whether there is one."""
        return self._chore is not None

    def begin(self, command: Sequence[str | Path], log: Path) -> None:
        """Start one; see `Chore`."""
        self._chore = Chore(command, log, self.doing)
        self.progress, self._pace = Progress("Starting"), Pace()

    @property
    def eta_s(self) -> float | None:
        """Seconds until what is being downloaded has come; None if that is not known."""
        return self._pace.seconds_to(self.progress.steps)

    def poll(self) -> bool:
        """Hear what it says; True when it has ended just now."""
        if self._chore is None:
            return False
        self.progress = self._chore.poll()
        self._pace.see(time.monotonic(), self.progress)
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
