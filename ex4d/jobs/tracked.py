"""A job that a client looks after: what is known of it, and its files under way."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ex4d.jobs.messages import TERMINAL, Event, Submit
from ex4d.jobs.transfer import Download, Results, Upload

PACE_SECONDS = 10.0
"""The pace of files is that of the last seconds."""
SURE_SECONDS = 0.5
"""What less time has shown of it means nothing."""


@dataclass(frozen=True)
class JobUpdate:
    """Where a job stands.

    Attributes:
        stage, step, steps: what is done now; bytes while uploading and downloading.
        rate, eta_s: steps a second and seconds to the end of the stage; None if not known yet.
        message: a sentence for the user: why it failed, that the server does not answer; "" if all is well.
        facts, files: what the job found, and its files by name, when done.
        seq: number of the last event seen, for `Client.follow` after a restart.
        attempt: how often the server has started it.
        ahead: while it waits, so many jobs start before it, as things stand; None if that is not known.
        picture: small JPEG of what is being made, the latest there was; empty if there was none.
        proxy: a small movie of the result, while that is on its way over a slow link; whoever has asked for such
            removes it (`Client`).
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
        """Nothing more will come."""
        return self.state in TERMINAL


class Pace:
    """How fast bytes go."""

    def __init__(self, now: float, held: int) -> None:
        self._seen = deque([(now, held)])
        self.began = now

    def left(self, now: float, held: int, size: int) -> float | None:
        """Seconds until all of `size` bytes are there, of which `held` are; None if nothing came yet."""
        if now - self._seen[-1][0] > SURE_SECONDS:
            self._seen.append((now, held))
        while len(self._seen) > 2 and now - self._seen[1][0] > PACE_SECONDS:
            self._seen.popleft()
        then, had = self._seen[0]
        return (size - held) * (now - then) / (held - had) if held > had and now - then >= SURE_SECONDS else None


class Tracked:
    """A job that this client looks after."""

    def __init__(self, update: JobUpdate, submit: Submit | None, files: Mapping[str, Path]) -> None:
        self.update = update
        self.submit = submit  # None once the server has the job, or when it is only followed
        self.files = files
        self.uploads: dict[str, Upload] = {}
        self.done: Event | None = None  # what the server said when it had the result
        self.results: Results | None = None
        self.proxy: Download | None = None  # a movie to look at before the results
        self.pace: Pace | None = None  # of the files under way
        self.cancelled = False
        self.heard = 0.0  # when its last event came
        self.met = False  # the server has said something about it on this connection

    def left(self, now: float, held: int, size: int) -> float | None:
        """Seconds until all files are sent, or here, at the pace at which they go; None if that is not known."""
        return self.pace.left(now, held, size) if self.pace is not None else None

    def drop_uploads(self) -> None:
        """Send nothing more of its files."""
        for upload in self.uploads.values():
            upload.close()
        self.uploads = {}
