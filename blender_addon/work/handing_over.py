"""Handing queued takes to the client in order, in small steps because a clean plate may be large."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ex4d.errors import EX4DError
from ex4d.pipeline.hashing import KnownFiles

from ..shot import takes
from ..work import queue
from ..work.requests import TakeRequest

if TYPE_CHECKING:
    from ..shot.source import Steps
    from ..work.session import Session


class HandingOver:
    """The takes still to be handed over.

    Attributes:
        known: files hashed so far, for all takes.
    """

    def __init__(self) -> None:
        self.known: KnownFiles = {}
        self._requests: deque[tuple[TakeRequest, str]] = deque()
        self._work: Steps | None = None

    def add(self, request: TakeRequest, again: str = "") -> None:
        """Append a take, to be handed over under the id that it had before, if any."""
        if all(request.path != other.path for other, _again in self._requests):
            self._requests.append((request, again))

    def forget(self) -> None:
        """Drop everything still to be handed over."""
        self._requests.clear()
        self._drop()

    def step(self, session: Session) -> bool:
        """Take one step; returns whether anything is left."""
        if not self._requests:
            return False
        request, again = self._requests[0]
        if not _waits(session, request):  # it was cancelled, or it is its turn now
            self._ended()
            return bool(self._requests)
        try:
            if self._work is None:
                self._work = takes.prepare(request, self.known)
            next(self._work)
        except StopIteration as end:
            self._ended()
            prepared, job = end.value
            try:
                job_id = submitted(session, job, prepared.files, prepared.shot, again)
            except (EX4DError, OSError) as error:
                session.dispatch(queue.NotTaken(request, str(error)))
            else:
                session.dispatch(queue.HandedOver(prepared, job_id))
        except (EX4DError, OSError) as error:
            self._ended()
            session.dispatch(queue.NotTaken(request, str(error)))
        return bool(self._requests)

    def _ended(self) -> None:
        self._requests.popleft()
        self._drop()

    def _drop(self) -> None:
        if self._work is not None:
            self._work.close()
        self._work = None


def submitted(session: Session, job: Any, files: Mapping[str, str], shot: str, again: str) -> str:
    """Submit a job of a shot through the client, under the id that it had before, if any; returns the job's id."""
    places = {sha: Path(path) for sha, path in files.items()}
    file = bpy.path.basename(bpy.data.filepath)
    return session.connect().submit(job, places, job_id=again or None, file=file, shot=shot)


def _waits(session: Session, request: TakeRequest) -> bool:
    """Whether a take is still waiting and not yet with the client."""
    return any(each.request.path == request.path and not each.job_id for each in session.queue.waiting)
