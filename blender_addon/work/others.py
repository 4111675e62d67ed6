"""This user's jobs from other Blenders, requested from the server while a panel shows them."""

import time
from dataclasses import dataclass
from typing import Literal

from ex4d.jobs.client import Client
from ex4d.jobs.messages import Queue, QueueEntry

SHOWN_S = 5.0
"""A panel that has not been drawn for this long counts as hidden."""
AGAIN_S = 3.0
"""Interval at which the server is asked."""


@dataclass(frozen=True)
class Other:
    """A job of another Blender, and whether it is running, waiting, or done and not yet fetched."""

    entry: QueueEntry
    state: Literal["running", "waiting", "done"]


class Others:
    """The server's latest answer."""

    def __init__(self) -> None:
        self._shown = self._asked = -SHOWN_S
        self._heard: Queue | None = None

    def of(self, client: Client | None) -> tuple[Other, ...]:
        """The jobs, for panels. Polling the server continues while this is called."""
        self._shown = time.monotonic()
        heard = self._heard
        if client is None or heard is None:
            return ()
        found = [
            *(Other(entry, "running") for entry in heard.running),
            *(Other(entry, "waiting") for entry in heard.waiting),
            *(Other(entry, "done") for entry in heard.done),
        ]
        return tuple(each for each in found if each.entry.own and each.entry.job_id not in client.jobs)

    def step(self, client: Client | None) -> bool:
        """Ask the server or read its answer; returns whether there is something new to show."""
        now = time.monotonic()
        if client is None or client.status != "ready":
            changed, self._heard = self._heard is not None, None
            return changed
        if now - self._shown > SHOWN_S:
            return False
        before = self._heard
        if client.queue is not None:
            self._heard = client.queue
        if now - self._asked >= AGAIN_S:
            self._asked = now
            client.ask_queue()
        return self._heard != before

    def ask_soon(self) -> None:
        """Ask the server in the next step, because something has changed."""
        self._asked = -SHOWN_S
