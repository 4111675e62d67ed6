"""What starts a worker's process: `ex4d_server.local` on this machine, `ex4d_server.cluster` on one of a cluster."""

from dataclasses import dataclass
from typing import Protocol

from ex4d_server.worker_process import Whom


class Launched(Protocol):
    """A worker process that was asked for."""

    @property
    def name(self) -> str:
        """For the log."""

    @property
    def device(self) -> str:
        """What it runs on, for people; empty if that is not known yet."""

    @property
    def log_said(self) -> str:
        """Where it prints to, for people."""

    @property
    def public(self) -> str:
        """The public key that it talks with; empty if that is not known yet."""

    @property
    def waits(self) -> bool:
        """It does not run yet, so that no clock of its own runs."""

    @property
    def has_machine(self) -> bool:
        """A machine was found for it."""

    @property
    def has_begun(self) -> bool:
        """It ran, also where it has ended since: an attempt that it had was one."""

    def poll(self) -> str | None:
        """None while it runs, then how it ended: a part of a sentence after its name."""

    def ask_to_end(self) -> None:
        """Ask it, and what it started, to end."""

    def kill(self) -> None:
        """End it, and what it started, at once; `poll` says when that is done."""


class Launcher(Protocol):
    """Starts the processes of one worker, one at a time."""

    def can_launch(self) -> bool:
        """Whether there is a device for one."""

    def launch(self, whom: Whom) -> Launched:
        """Start one that talks to a server.

        Raises:
            OSError: none can be started.
        """


@dataclass(frozen=True)
class Door:
    """Where a worker knocks.

    Attributes:
        ip: the server's, to listen on.
        port: to listen on; 0 takes any free one.
        reached_at: the address by which workers reach that.
    """

    ip: str = "127.0.0.1"
    port: int = 0
    reached_at: str = "127.0.0.1"


LOOPBACK = Door()
