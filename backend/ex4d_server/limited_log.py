"""A rate limit for log lines that a peer can cause."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

LINES, SECONDS = 10, 60.0


@dataclass
class _Kind:
    began: float
    lines: int = 0
    left_out: int = 0


class LimitedLog:
    """Passes on up to `lines` lines of each kind in `seconds`, and reports how many were dropped.

    The kind of a line is its text before the arguments are filled in. With the defaults, a peer that sends a million
    bad messages causes ten lines a minute.
    """

    def __init__(
        self,
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
        lines: int = LINES,
        seconds: float = SECONDS,
    ) -> None:
        self._log, self._clock, self._lines, self._seconds = log, clock, lines, seconds
        self._kinds: dict[str, _Kind] = {}

    def warning(self, text: str, *arguments: object, exc_info: bool = False) -> None:
        """Log a warning, unless there were too many of its kind."""
        now = self._clock()
        kind = self._kinds.setdefault(text, _Kind(now))
        if now - kind.began >= self._seconds:
            if kind.left_out:
                self._log.warning("%d more lines like the next one were left out", kind.left_out)
            kind.began, kind.lines, kind.left_out = now, 0, 0
        if kind.lines < self._lines:
            kind.lines += 1
            self._log.warning(text, *arguments, exc_info=exc_info)
        else:
            kind.left_out += 1
