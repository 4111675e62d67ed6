"""A real server as a child process, and polling with a timeout."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ex4d_server.blobs import part_name

from ex4d.jobs.client import Client
from ex4d.jobs.keys import client_keys
from ex4d.pipeline.requests import Blob

HERE = Path(__file__).parent
PATIENCE = 60.0
"""How many seconds a test waits at most for one thing."""


class ServerProcess:
    """
    Attributes:
        prefix: command prefix to run it elsewhere, such as in another network namespace.
        environment: variables added to the test's own.
    """

    def __init__(self, folder: Path, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        self.prefix, self.environment = tuple(prefix), dict(environment or {})
        self.state = folder / "state"
        self.mark = folder / "mark"
        self.process = None
        self.address = "tcp://127.0.0.1:0"
        self._log = open(folder / "server.log", "ab")  # noqa: SIM115

    def start(self, **options: float) -> str:
        """Start, or restart with the same address and state folder; options as in serve.py."""
        if self.process:
            self.process.stdout.close()
        self.process = subprocess.Popen(
            [*self.prefix, sys.executable, str(HERE / "serve.py"), self.address, str(self.state), json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **self.environment, "EX4D_TEST_MARK": str(self.mark)},
        )
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""
        match = re.fullmatch(r"EX-4D server \S+ listening on (tcp://\S+)\n", line)
        assert match, f"the server did not start: {line!r} {Path(self._log.name).read_text()}"
        self.address = match[1]
        return self.address

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process:
            self.process.stdout.close()
        self._log.close()


def part_of(server: ServerProcess, blob: Blob) -> Path:
    """Where the server keeps the part of a file that this user has sent so far."""
    return server.state / "incoming" / part_name(blob.sha256, blob.size, client_keys(server.state).own.public)


def until(condition, client: Client | None = None, seconds: float = PATIENCE) -> list:
    """Poll until the condition holds, for an update if there is a client; returns the updates."""
    updates, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        if client is None:
            if condition():
                return updates
        else:
            new = client.poll()
            updates += new
            if any(condition(update) for update in new):
                return updates
        time.sleep(0.005)
    pytest.fail(f"did not happen in {seconds} s; updates: {updates[-3:]}")
