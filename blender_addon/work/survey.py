"""What each server can do and how busy it is: a short visit to each, for as long as a panel shows it."""

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
"""A panel that was not drawn for so long shows nothing any more."""
AGAIN_S = 10.0
"""How often each server is visited."""
VISIT_S = 5.0
"""How long a visit may take."""


@dataclass(frozen=True)
class Glance:
    """What a server said when it was visited last.

    Attributes:
        able: titles of the generators that can run there, best first.
        load: how busy it was.
        problem: why it said nothing, in a sentence; "" where it did.
    """

    able: tuple[str, ...] = ()
    load: Load = field(default_factory=Load)
    problem: str = ""


class Survey:
    """Visits servers by turns, and keeps what they said last.

    Args:
        nothing: a folder; nothing is written there, as no job is sent.
    """

    def __init__(self, nothing: Path) -> None:
        self._nothing = nothing
        self._shown = -SHOWN_S
        self._visits: dict[str, tuple[Client, float]] = {}
        self._visited: dict[str, float] = {}
        self._glances: dict[str, Glance] = {}

    def of(self, server: KnownServer) -> Glance | None:
        """What was seen of a server, for panels; None if it was not visited yet. Visits go on while this is asked."""
        self._shown = time.monotonic()
        return self._glances.get(server.name)

    def step(self, servers: Iterable[KnownServer]) -> bool:
        """Do a little of it; whether there is something new to show."""
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
