"""Starting worker processes: `ex4d_server.local` does so on this machine, `ex4d_server.cluster` on a cluster."""

from dataclasses import dataclass
from typing import Protocol

from ex4d_server.worker_process import Whom


class Launched(Protocol):
    """A requested worker process."""

    @property
    def name(self) -> str:
        """Name for the log."""

    @property
    def device(self) -> str:
        """Display name of its device; empty if not known yet."""

    @property
    def log_said(self) -> str:
        """Where its output goes, for display."""

    @property
    def public(self) -> str:
        """Its public key; empty if not known yet."""

    @property
    def waits(self) -> bool:
        """Whether it is not running yet, so that none of its deadlines apply."""

    @property
    def has_machine(self) -> bool:
        """Whether a machine was found for it."""

    @property
    def has_begun(self) -> bool:
        """Whether it ever ran, even if it has ended since; if so, its attempt counts."""

    def poll(self) -> str | None:
        """None while it runs, then how it ended: a phrase to follow its name."""

    def ask_to_end(self) -> None:
        """Ask it, and everything it started, to end."""

    def kill(self) -> None:
        """Kill it and everything it started; `poll` tells when that is done."""


class Launcher(Protocol):
    """Starts the processes of one worker, one at a time."""

    def can_launch(self) -> bool:
        """Whether there is a device for a process."""

    def launch(self, whom: Whom) -> Launched:
        """Start a process that connects to a server.

        Raises:
            OSError: no process can be started.
        """


@dataclass(frozen=True)
class Door:
    """Where the server listens for a worker.

    Attributes:
        ip: the server's address to listen on.
        port: the port to listen on; 0 for any free one.
        reached_at: the address at which workers reach the server.
    """

    ip: str = "127.0.0.1"
    port: int = 0
    reached_at: str = "127.0.0.1"


LOOPBACK = Door()
