"""The server that does the work: the one on this machine, or one from the user's list of other machines."""

import time

import bpy

from ex4d.errors import EX4DError, InputError
from ex4d.jobs import hosts
from ex4d.jobs.address import is_loopback, parse_address
from ex4d.jobs.hosts import KnownServer

from ..translations import told
from ..ui import preferences

AGAIN_S = 1.0
"""Age at which the list is read again, because other programs change it, too."""


class Hosts:
    """The list of servers, cached because panels ask for it many times a second."""

    def __init__(self) -> None:
        self._read = -AGAIN_S
        self._servers: tuple[KnownServer, ...] = ()
        self._trouble = ""

    @property
    def servers(self) -> tuple[KnownServer, ...]:
        """All servers on other machines, sorted by name."""
        self._look()
        return self._servers

    @property
    def trouble(self) -> str:
        """Why the list cannot be used; "" if it can."""
        self._look()
        return self._trouble

    @property
    def name(self) -> str:
        """Name of the chosen server; "" for the one on this machine."""
        return str(preferences.preferences().server)

    @property
    def chosen(self) -> KnownServer | None:
        """The chosen server; None for the one on this machine, or if it is no longer in the list."""
        return next((server for server in self.servers if server.name == self.name), None) if self.name else None

    def check(self) -> None:
        """Check that talking to the chosen server is allowed.

        Raises:
            InputError: it is not, see `barred`.
        """
        if self.barred:
            raise InputError(self.barred)

    @property
    def barred(self) -> str:
        """Why talking to the chosen server is not allowed; "" if it is."""
        if self.name and self.chosen is None:
            return self.trouble or told("{name} is no longer in your list: choose a server.", name=self.name)
        return self.offline

    @property
    def offline(self) -> str:
        """Why Blender's own settings forbid talking to the chosen server; "" if they allow it."""
        server = self.chosen
        if server is None or may_reach(server):
            return ""
        return told(
            "Blender is not allowed to go online, and {name} is another machine: turn on Allow Online Access in"
            " Preferences > System.",
            name=server.name,
        )

    def choose(self, name: str) -> None:
        """Choose the server that does the work; "" is the one on this machine."""
        preferences.preferences().server = name
        bpy.context.preferences.is_dirty = True

    def read_again(self) -> None:
        """Read the list again at the next use, because it was changed here."""
        self._read = -AGAIN_S

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._read < AGAIN_S:
            return
        self._read = now
        try:
            self._servers, self._trouble = hosts.known(), ""
        except EX4DError as error:
            self._servers, self._trouble = (), str(error)


def may_reach(server: KnownServer) -> bool:
    """Whether Blender's settings allow talking to a server; always true for a tunnel, which starts on this machine."""
    return bool(bpy.app.online_access) or is_loopback(parse_address(server.address)[0])
