"""Finding out what each server can do and how busy it is, by short visits while a panel shows it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ex4d.errors import EX4DError
from ex4d.jobs.client import Client
from ex4d.jobs.hosts import KnownServer
from ex4d.jobs.messages import Load
from ex4d.jobs.refusals import no_answer

from ..work.hosts import may_reach

SHOWN_S = 5.0
"""A panel that has not been drawn for this long counts as hidden."""
AGAIN_S = 10.0
"""Interval between visits to a server."""
VISIT_S = 5.0
"""Time limit of a visit."""


@dataclass(frozen=True)
class Glance:
    """What a server said at the last visit.

    Attributes:
        able: titles of the generators that can run there, best first.
        load: how busy it was.
        problem: why the visit failed, as a sentence; "" if it did not.
    """

    able: tuple[str, ...] = ()
    load: Load = field(default_factory=Load)
    problem: str = ""


class Survey:
    """Visits servers regularly and keeps their latest answers.

    Args:
        nothing: a folder for the clients; nothing is written there, because no job is sent.
    """

    def __init__(self, nothing: Path) -> None:
        self._nothing = nothing
        self._shown = -SHOWN_S
        self._visits: dict[str, tuple[Client, float]] = {}
        self._visited: dict[str, float] = {}
        self._glances: dict[str, Glance] = {}

    def of(self, server: KnownServer) -> Glance | None:
        """The latest answer of a server, for panels; None if not visited yet. Visits continue while this is called."""
        self._shown = time.monotonic()
        return self._glances.get(server.name)

    def step(self, servers: Iterable[KnownServer]) -> bool:
        """Continue visiting; returns whether there is something new to show."""
        now = time.monotonic()
        if now - self._shown > SHOWN_S:
            self.close()
            return False
        known = {server.name: server for server in servers if may_reach(server)}
        for name in [name for name in self._visits if name not in known]:
            self._leave(name)
        for name, server in known.items():
            if name not in self._visits and now - self._visited.get(name, -AGAIN_S) >= AGAIN_S:
                self._visited[name] = now
                try:
                    self._visits[name] = Client(server.address, self._nothing, known=server), now
                except EX4DError as error:
                    self._glances[name] = Glance(problem=str(error))
        before = dict(self._glances)
        for name, (client, began) in list(self._visits.items()):
            client.poll(0.001)
            if client.status == "ready" and client.server is not None:
                able = tuple(info.title for info in client.server.capabilities.generators if not info.missing)
                self._glances[name] = Glance(able, client.server.load)
                self._leave(name)
            elif client.problem or now - began > VISIT_S:
                self._glances[name] = Glance(problem=client.problem or no_answer(known[name].address, known[name]))
                self._leave(name)
        return self._glances != before

    def close(self) -> None:
        """End the visits under way."""
        for name in list(self._visits):
            self._leave(name)

    def _leave(self, name: str) -> None:
        self._visits.pop(name)[0].close()
