"""A job that a client tracks: what is known about it, and its files in transit."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ex4d.jobs.messages import TERMINAL, Event, Submit
from ex4d.jobs.transfer import Download, Results, Upload

PACE_SECONDS = 10.0
"""The transfer rate is measured over this many seconds."""
SURE_SECONDS = 0.5
"""A measurement over less time than this means nothing."""


@dataclass(frozen=True)
class JobUpdate:
    """The state of a job.

    Attributes:
        stage, step, steps: current stage and its progress; in bytes while uploading and downloading.
        rate, eta_s: steps per second, and seconds to the end of the stage; None if not known yet.
        message: a sentence for the user, such as why the job failed or that the server does not answer; "" if all is
            well.
        facts, files: what the job found, and its files by name, once it is done.
        seq: number of the last event seen, for `Client.follow` after a restart.
        attempt: how many times the server has started it.
        ahead: how many jobs will start before it, as things stand; None if it is not waiting or this is unknown.
        picture: the latest small JPEG of what is being made; empty if there was none.
        proxy: a small movie of the result, while the result itself is downloaded over a slow link; whoever asked for
            proxies (`Client`) has to remove it.
    """

    job_id: str
    state: Literal["uploading", "queued", "running", "downloading", "done", "failed", "cancelled"]
    stage: str = ""
    step: int = 0
    steps: int = 0
    rate: float | None = None
    eta_s: float | None = None
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    seq: int = 0
    attempt: int = 0
    picture: bytes = b""
    ahead: int | None = None
    proxy: Path | None = None

    @property
    def ended(self) -> bool:
        """Whether the job has ended, so no more updates follow."""
        return self.state in TERMINAL


class Pace:
    """Measures how fast bytes are transferred. `began` is when the measurement started."""

    def __init__(self, now: float, held: int) -> None:
        self._seen = deque([(now, held)])
        self.began = now

    def left(self, now: float, held: int, size: int) -> float | None:
        """Seconds until all `size` bytes have arrived, `held` of which are here; None if too little is known yet."""
        if now - self._seen[-1][0] > SURE_SECONDS:
            self._seen.append((now, held))
        while len(self._seen) > 2 and now - self._seen[1][0] > PACE_SECONDS:
            self._seen.popleft()
        then, had = self._seen[0]
        return (size - held) * (now - then) / (held - had) if held > had and now - then >= SURE_SECONDS else None


class Tracked:
    """A job that this client tracks."""

    def __init__(self, update: JobUpdate, submit: Submit | None, files: Mapping[str, Path]) -> None:
        self.update = update
        self.submit = submit  # None once the server has the job, or if it is only followed
        self.files = files
        self.uploads: dict[str, Upload] = {}
        self.done: Event | None = None  # the server's event that carries the result
        self.results: Results | None = None
        self.proxy: Download | None = None  # a small movie to watch before the results arrive
        self.pace: Pace | None = None  # of the files in transit
        self.cancelled = False
        self.heard = 0.0  # when its last event arrived
        self.met = False  # whether the server has mentioned it on this connection

    def left(self, now: float, held: int, size: int) -> float | None:
        """Seconds until all files have been transferred, at the current pace; None if unknown."""
        return self.pace.left(now, held, size) if self.pace is not None else None

    def drop_uploads(self) -> None:
        """Stop sending its files."""
        for upload in self.uploads.values():
            upload.close()
        self.uploads = {}
