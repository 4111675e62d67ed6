"""A worker process on this machine: starting it with its keys, and ending it with everything that it started."""

import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ex4d.jobs.keys import KeyPair
from ex4d_server.devices import Device
from ex4d_server.orders import (
    DEVICE_VARIABLE,
    KEYS_VARIABLE,
    LOG_VARIABLE,
    NUMBER_VARIABLE,
    RUNS_ON_VARIABLE,
    STATE_VARIABLE,
    TOKEN_VARIABLE,
)
from ex4d_server.platform import host, kill_all, processes_with

log = logging.getLogger("ex4d.server")

ORPHAN_SECONDS = 5.0
"""How long to wait for the end of what an earlier server or worker has left."""
KILL_SECONDS = 1.0
"""How long to wait for the end of a process that was killed; it mostly takes milliseconds."""


@dataclass(frozen=True)
class Whom:
    """The server that a worker talks to: where, by which public key, and the token that it waits for."""

    address: str
    key: str
    token: str


@dataclass(frozen=True)
class Room:
    """Where a worker works.

    Attributes:
        folder: its state folder.
        number: of this worker among those with the folder, from 1.
        device: what it runs on.
        log: the file that it prints to.
        log_said: where that is, for people.
    """

    folder: Path
    number: int
    device: Device
    log: Path
    log_said: str

    @property
    def marks(self) -> dict[str, str]:
        """What the environment of the worker, and of all it starts, is known by."""
        folder = str(self.folder.resolve())
        return {STATE_VARIABLE: folder, NUMBER_VARIABLE: f"{self.number} {folder}"}

    def begin_log(self) -> None:
        """Put what an earlier worker has printed aside."""
        with suppress(OSError):
            self.log.parent.mkdir(exist_ok=True)
            if self.log.exists():
                os.replace(self.log, self.log.with_suffix(".old.log"))


@dataclass
class WorkerProcess:
    """One that was started in a room. `keys` is the pair that it talks with."""

    room: Room
    popen: subprocess.Popen
    keys: KeyPair = field(repr=False)
    waits, has_machine, has_begun = False, True, True

    @property
    def name(self) -> str:
        """For the log."""
        return f"worker {self.popen.pid}"

    @property
    def device(self) -> str:
        """What it runs on, for people."""
        return self.room.device.title

    @property
    def log_said(self) -> str:
        """Where it prints to, for people."""
        return self.room.log_said

    @property
    def public(self) -> str:
        """The public key that it talks with."""
        return self.keys.public

    @classmethod
    def start(cls, room: Room, keys: KeyPair, whom: Whom, *options: str, base: Mapping[str, str]) -> "WorkerProcess":
        """Start one, and end first what an earlier worker in its place has left.

        Args:
            options: further ones of `ex4d_server.worker`.
            base: its environment, but for what is added here.

        Raises:
            OSError: a leftover cannot be ended, or no process can be started.
        """
        secret = {TOKEN_VARIABLE: whom.token, KEYS_VARIABLE: f"{whom.key} {keys.public} {keys.secret}"}
        device = room.device
        about = {DEVICE_VARIABLE: device.title, RUNS_ON_VARIABLE: device.names, LOG_VARIABLE: room.log_said}
        with host.spare_descriptors(), open_log(room.log) as output:
            for orphan in kill_all(processes_with(NUMBER_VARIABLE, room.marks[NUMBER_VARIABLE]), ORPHAN_SECONDS):
                raise OSError(f"process {orphan.pid} of an earlier worker cannot be ended")
            command = [sys.executable, "-m", "ex4d_server.worker", "--connect", whom.address]
            popen = subprocess.Popen(
                [*command, "--state", str(room.folder), *options],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**base, **device.environment, **room.marks, **about, **secret},
                **host.spawn_options,
            )
        return cls(room, popen, keys)

    def poll(self) -> str | None:
        """None while it runs, then how it ended, as in "was ended by signal 9 (SIGKILL)"."""
        code = self.popen.poll()
        return None if code is None else host.how_it_ended(code)

    def wait(self, seconds: float) -> str | None:
        """`poll`, after its end or so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)
        return self.poll()

    def ask_to_end(self) -> None:
        """Ask it, and what it started, to end."""
        host.ask_to_end(self.popen)

    def kill(self) -> None:
        """Leave nothing of it: kill what is left of its tree, collect it, close its pipe."""
        host.kill_tree(self.popen)
        try:
            self.popen.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:  # a driver holds it: no reason for all clients to wait
            log.warning("worker %d was killed but is not gone yet", self.popen.pid)
        assert self.popen.stdin
        with suppress(OSError):
            self.popen.stdin.close()


def new_token() -> str:
    """One that nobody has seen."""
    return secrets.token_hex(16)


def open_log(path: Path) -> IO[bytes]:
    """The log of another process, to be added to; where it cannot be written, what is said there is lost."""
    try:
        path.parent.mkdir(exist_ok=True)
        return open(path, "ab")
    except OSError as error:
        log.warning("%s cannot be written: %s", path.name, error.strerror)
        return open(os.devnull, "ab")
