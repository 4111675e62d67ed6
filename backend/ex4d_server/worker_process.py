"""A worker process on this machine: starting it with its keys, and ending it and everything it started."""

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
"""How long to wait for leftover processes of an earlier server or worker to end."""
KILL_SECONDS = 1.0
"""How long to wait for a killed process to end, which usually takes milliseconds."""


@dataclass(frozen=True)
class Whom:
    """The server that a worker connects to: its address, its public key, and the token that it expects."""

    address: str
    key: str
    token: str


@dataclass(frozen=True)
class Room:
    """Where a worker runs.

    Attributes:
        folder: its state folder.
        number: of this worker among those that share the folder, from 1.
        device: what it runs on.
        log: file for its output.
        log_said: where that file is, for display.
    """

    folder: Path
    number: int
    device: Device
    log: Path
    log_said: str

    @property
    def marks(self) -> dict[str, str]:
        """Environment variables that identify the worker and everything it starts."""
        folder = str(self.folder.resolve())
        return {STATE_VARIABLE: folder, NUMBER_VARIABLE: f"{self.number} {folder}"}

    def begin_log(self) -> None:
        """Set the log of an earlier worker aside."""
        with suppress(OSError):
            self.log.parent.mkdir(exist_ok=True)
            if self.log.exists():
                os.replace(self.log, self.log.with_suffix(".old.log"))


@dataclass
class WorkerProcess:
    """A worker process started in a room. `keys` is its key pair."""

    room: Room
    popen: subprocess.Popen
    keys: KeyPair = field(repr=False)
    waits, has_machine, has_begun = False, True, True

    @property
    def name(self) -> str:
        """Name for the log."""
        return f"worker {self.popen.pid}"

    @property
    def device(self) -> str:
        """Display name of its device."""
        return self.room.device.title

    @property
    def log_said(self) -> str:
        """Where its output goes, for display."""
        return self.room.log_said

    @property
    def public(self) -> str:
        """Its public key."""
        return self.keys.public

    @classmethod
    def start(cls, room: Room, keys: KeyPair, whom: Whom, *options: str, base: Mapping[str, str]) -> "WorkerProcess":
        """Start a worker, after ending leftover processes of an earlier worker in its place.

        Args:
            options: further options of `ex4d_server.worker`.
            base: its environment, apart from what is added here.

        Raises:
            OSError: a leftover process cannot be ended, or no process can be started.
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
        """`poll` after the process has ended, or after `seconds` at most."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)
        return self.poll()

    def ask_to_end(self) -> None:
        """Ask it, and everything it started, to end."""
        host.ask_to_end(self.popen)

    def kill(self) -> None:
        """Kill what is left of its process tree, reap it, and close its pipe."""
        host.kill_tree(self.popen)
        try:
            self.popen.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:  # stuck in a driver: do not make all clients wait
            log.warning("worker %d was killed but is not gone yet", self.popen.pid)
        assert self.popen.stdin
        with suppress(OSError):
            self.popen.stdin.close()


def new_token() -> str:
    """A fresh random token."""
    return secrets.token_hex(16)


def open_log(path: Path) -> IO[bytes]:
    """Open the log of another process for appending; if it cannot be written, the output is discarded."""
    try:
        path.parent.mkdir(exist_ok=True)
        return open(path, "ab")
    except OSError as error:
        log.warning("%s cannot be written: %s", path.name, error.strerror)
        return open(os.devnull, "ab")
