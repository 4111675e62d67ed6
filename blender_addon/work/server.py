"""Starting a server on this machine, ending it with Blender, and finding one left behind by an earlier Blender."""

import atexit
import json
import os
import selectors
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from ex4d.errors import InputError
from ex4d.jobs.address import parse_address

from ..identity import PACKAGE
from ..scene import compat
from ..translations import told

LINGER_S = 900
"""A server started here ends after this time without a Blender or a job, in case Blender has crashed."""


class OwnServer:
    """The server started here, if any, by this Blender or by an earlier one that ended without stopping it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        self._seen = ("", False)

    @property
    def state(self) -> Path:
        """The folder in which servers started here keep their data.

        An earlier version's folder is moved to its new place when a server is started.
        """
        now = compat.user_folder(PACKAGE) / "server"
        earlier = [folder / "server" for folder in compat.former_user_folders(PACKAGE)]
        return now if now.exists() else next((folder for folder in earlier if folder.is_dir()), now)

    @property
    def log_file(self) -> Path:
        """The log of the server started here."""
        return compat.user_folder(PACKAGE) / "server.log"

    def start(self, python: str, address: str) -> None:
        """Run `python -m ex4d_server` at `address`, unless a server that we started is already running.

        Raises:
            InputError: there is no such Python, it cannot be run, or the address is invalid.
        """
        if self.is_running:
            return
        parse_address(address)
        # The path may contain ~, and Popen gets another working directory. Keep links: a venv's python is one.
        python = python and os.path.abspath(os.path.expanduser(python))
        if not python:
            raise InputError(told("No server is set up on this machine: press Set Up Server."))
        if not Path(python).is_file():
            raise InputError(
                told(
                    "There is no Python at {python}: clear Server Python in the preferences, or choose another.",
                    python=python,
                )
            )
        state = compat.user_folder(PACKAGE) / "server"
        if self.state != state:
            shutil.move(self.state, state)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)  # earlier versions made it readable by everyone
        # Blender's own paths would make the server's Python load modules built for Blender.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        try:
            with self.log_file.open("wb") as log:
                self.process = subprocess.Popen(
                    [
                        *(python, "-m", "ex4d_server", "--address", address),
                        *("--state", str(state), "--linger", str(LINGER_S)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=state,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            raise InputError(told("{python} cannot be run: {why}.", python=python, why=error.strerror)) from error
        atexit.register(self.stop)

    @property
    def is_running(self) -> bool:
        """Whether the server that we started is alive."""
        return self.process is not None and self.process.poll() is None

    def is_instance(self, instance: str) -> bool:
        """Whether the server with this instance id uses our state folder, to which only this user can write."""
        if instance != self._seen[0]:  # panels call this whenever they are drawn
            self._seen = (instance, self.about.get("instance") == instance)
        return self._seen[1]

    @property
    def about(self) -> dict[str, Any]:
        """What the server using our state folder has written there about itself; empty if none is running."""
        try:
            return dict(json.loads((self.state / "server.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    @property
    def trouble(self) -> str:
        """Why the server that we started has ended unexpectedly, in sentences; "" if it has not."""
        if self.process is None or (code := self.process.poll()) in (None, 0):
            return ""
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else ""
        if "No module named" in last:
            return told(
                "Server Python has no EX-4D server in it: clear it in the preferences and press Set Up"
                " Server, or choose another Python."
            )
        how = told("signal {signal}", signal=-code) if code < 0 else told("exit code {code}", code=code)
        # If it cannot serve, the server exits with code 2 and one sentence; other last lines are not explanations.
        why = f": {last.rstrip('.')}" if code == 2 and last else ""
        return told("The server has ended ({how}){why}. Its log is {log}.", how=how, why=why, log=self.log_file)

    def stop(self) -> None:
        """End the server that we started."""
        atexit.unregister(self.stop)
        if self.is_running:
            # Not `terminate`, which on Windows leaves the server no time to put the job back into its queue.
            self.ask_to_end()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def ask_to_end(self) -> None:
        """Ask the server using our state folder to end; it checks for the stop file a few times a second."""
        try:
            (self.state / "stop").touch()
        except OSError:
            if self.is_running:
                self.process.terminate()


class Probe:
    """Checks without blocking whether anything listens at an address; on Windows, a refusal takes two seconds.

    Raises:
        InputError: the address is invalid.
    """

    def __init__(self, address: str) -> None:
        host_and_port = parse_address(address)
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.connect_ex(host_and_port)

    def answer(self, patience: float = 0.0) -> bool | None:
        """Whether anything listens; None if not known after `patience` seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_WRITE)
            if not selector.select(patience):
                return None
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    def close(self) -> None:
        """Stop checking."""
        self._socket.close()


def answers(address: str) -> bool:
    """Whether anything listens at `address`, which is on this machine, so that an answer comes at once."""
    with closing(Probe(address)) as probe:
        return bool(probe.answer(0.2))
