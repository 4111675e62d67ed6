"""The session's view of the server: the one that answers, the one started here, and its environment."""

import time
from contextlib import suppress
from functools import cached_property

import bpy

from ex4d.errors import EX4DError
from ex4d.jobs.address import parse_address, parse_own_address
from ex4d.jobs.client import Client
from ex4d.jobs.hosts import KnownServer
from ex4d.jobs.messages import Capabilities

from ..identity import PACKAGE
from ..scene import compat
from ..setup.model_fetch import ModelFetch, Wanted, look
from ..setup.server_environment import ServerEnvironment, folder_in
from ..translations import told
from ..ui.preferences import preferences
from ..work import server
from ..work.cancels import Cancels
from ..work.hosts import Hosts
from ..work.survey import Survey

LOOK_INTERVAL_S = 3.0
"""Interval at which to check for a server while there is no connection."""


class Connection:
    """The server part of the session.

    Attributes:
        client: the connection to a server; None until there is a reason to connect.
        server: the server started here.
        hosts: the list of servers, and which of them does the work.
    """

    def __init__(self) -> None:
        self.client: Client | None = None
        self.server = server.OwnServer()
        self.hosts = Hosts()
        self._address = ""
        self._known: KnownServer | None = None
        self._looked = -LOOK_INTERVAL_S
        self._probe: server.Probe | None = None
        self._is_new = self._was_ready = False
        self._asked_to_cancel: set[str] = set()

    @cached_property
    def cancels(self) -> Cancels:
        """Jobs to cancel as soon as their server can be reached."""
        return Cancels(compat.user_folder(PACKAGE) / "cancels.json")

    @cached_property
    def environment(self) -> ServerEnvironment:
        """The server's own Python environment."""
        return ServerEnvironment(folder_in(compat.user_folder(PACKAGE)))

    @cached_property
    def model_fetch(self) -> ModelFetch:
        """The download of a model's files."""
        return ModelFetch(compat.user_folder(PACKAGE) / "model_fetch.log")

    @cached_property
    def survey(self) -> Survey:
        """What each server can do and how busy it is."""
        return Survey(compat.user_folder(PACKAGE) / "downloads")

    def look_for_model(self, name: str) -> Wanted:
        """What has to be downloaded for a generator or depth estimator.

        Raises:
            InputError: see `setup.model_fetch.look`.
        """
        return look(self.server_python, name)

    def fetch_model(self, name: str) -> None:
        """Start downloading the missing files of a generator or depth estimator.

        Raises:
            InputError, OSError: see `ModelFetch.start`.
        """
        self.model_fetch.start(self.server_python, name, preferences().accept_licence)

    @property
    def server_python(self) -> str:
        """The Python that runs the server on this machine: the chosen one, else that of Set Up Server, else ""."""
        if chosen := preferences().python:
            return bpy.path.abspath(chosen)
        found = self.environment.current
        return str(found.python) if found is not None else ""

    @property
    def has_chosen_python(self) -> bool:
        """Whether the preferences name a Python to run the server instead of that of Set Up Server."""
        return bool(preferences().python)

    @property
    def lacks_server(self) -> bool:
        """Whether a server has to be set up here first: none answers, and none can be started."""
        gone = self.client is None or self.client.status == "unreachable"
        return not self.hosts.name and not self.server_python and gone

    @property
    def capabilities(self) -> Capabilities | None:
        """What the server can do; None if it has not said so yet."""
        return self.client.server.capabilities if self.client is not None and self.client.server is not None else None

    def connect(self) -> Client:
        """The client for the chosen server, made or replaced as needed.

        Raises:
            InputError: the address may not be used, the server is no longer in the list, or Blender is not allowed to
                go online.
        """
        self.hosts.check()
        known, downloads = self.hosts.chosen, compat.user_folder(PACKAGE) / "downloads"
        address = preferences().address if known is None else known.address
        if self.client is None or (address, known) != (self._address, self._known):
            self.disconnect()
            if known is None:
                parse_own_address(address)
                # Servers register where their keys are for the user; the folder of our own server is known anyway.
                self.client = Client(address, downloads, state=self.server.state)
            else:
                self.client = Client(address, downloads, known=known, proxies=True)
            self._address, self._known, self._is_new, self._was_ready = address, known, True, False
            self._asked_to_cancel = set()
            self._cancel_kept(self.client)
        return self.client

    def follow(self, job_id: str) -> None:
        """Follow a job of the server. If talking to the server is not allowed now, the next connection follows it.

        Raises:
            EX4DError: see `connect`, `Client.follow`.
        """
        if not self.hosts.barred:
            self.connect().follow(job_id)

    def cancel(self, job_id: str) -> None:
        """Ask the server to cancel a job. If it cannot be reached now, the next connection does, even after a restart.

        Raises:
            EX4DError: see `connect`.
        """
        if self.hosts.barred:
            self.cancels.add(self.hosts.name, job_id)
            return
        client = self.connect()
        if client.status != "ready":
            self.cancels.add(self.hosts.name, job_id)
        if self._is_new:
            _cancel(client, job_id)
        else:
            client.cancel(job_id)

    def settle_cancels(self, client: Client) -> None:
        """Send the remembered cancel requests, and forget each once the server has answered.

        Requests that another Blender stores after this connection was made are left to that Blender or to the next
        connection.
        """
        was_ready, self._was_ready = self._was_ready, client.status == "ready"
        if not self._was_ready:
            return
        if not was_ready:
            self._cancel_kept(client)
        if self._asked_to_cancel and (ended := self._asked_to_cancel - client.cancelling):
            self.cancels.forget(self.hosts.name, ended)
            self._asked_to_cancel -= ended

    def _cancel_kept(self, client: Client) -> None:
        """Have a client cancel the jobs that any Blender has stored for that, except those already being cancelled."""
        if kept := self.cancels.of(self.hosts.name) - self._asked_to_cancel:
            for job_id in kept - client.cancelling:
                _cancel(client, job_id)
            self._asked_to_cancel |= kept

    def use_server(self, name: str) -> None:
        """Switch to another server; "" is the one on this machine, which the timer will look for.

        Raises:
            InputError: see `connect`.
        """
        self.disconnect()
        self._stop_looking()
        self.hosts.choose(name)
        if name:
            self.connect()

    def disconnect(self) -> None:
        """Close the client."""
        if self.client is not None:
            self.client.close()
        self.client = None

    def look_for_server(self) -> None:
        """Connect if a server answers, so that the panel knows what it can do before any button is pressed."""
        now = time.monotonic()
        with suppress(EX4DError, OSError):  # errors are reported once a button is pressed
            if self.hosts.name:  # making a client never blocks
                if self.client is None and now - self._looked > LOOK_INTERVAL_S:
                    self._looked = now
                    self.connect()
                return
            if self._probe is None and self.client is None and now - self._looked > LOOK_INTERVAL_S:
                self._looked = now
                self._probe = server.Probe(preferences().address)
            answer = self._probe.answer() if self._probe is not None else None
            if answer is not None:
                self._stop_looking()
            if answer and self.client is None:
                self.connect()

    def _stop_looking(self) -> None:
        if self._probe is not None:
            self._probe.close()
        self._probe = None

    def start_server(self) -> Client:
        """Start the server on this machine; returns the client, which notices when the server answers.

        Raises:
            InputError: see `OwnServer.start` and `connect`.
        """
        if not self.server.is_running and not server.answers(preferences().address):
            self.environment.remove_unused()
        place = self.server.state
        self.server.start(self.server_python, preferences().address)
        if self.server.state != place:  # the client reads the server's keys from its folder
            self.disconnect()
        return self.connect()

    @property
    def may_stop_server(self) -> bool:
        """Whether the server is ours: started by this Blender, or left behind by one that crashed."""
        if self.server.is_running:
            return True
        client = self.client
        if client is not None and client.status == "refused":  # a server of another version does not identify itself
            return self.server.about.get("address") == self._address
        ready = client is not None and client.status == "ready" and client.server is not None
        return ready and self.server.is_instance(client.server.instance)

    def stop_server(self) -> None:
        """End the server, if it is ours."""
        if self.server.is_running:
            self.server.stop()
        elif self.may_stop_server:
            self.server.ask_to_end()

    @property
    def taken_port(self) -> int:
        """The port on which something other than this user's server listens; 0 if nothing does."""
        occupied = self.client is not None and self.client.status != "ready" and self.client.occupied
        occupied = occupied and not self.hosts.name
        return parse_address(self._address)[1] if occupied else 0

    def trouble(self, client: Client, before: str) -> str:
        """Why the server cannot be reached, or cannot work, for example because its disk is full; "" if it can.

        While connecting, returns `before`, the previous answer.
        """
        if client.status in ("ready", "connecting"):
            return (client.problem or client.trouble) if client.status == "ready" else before
        if self.hosts.name:
            return client.problem
        if self.server.is_running and client.status == "unreachable":
            return told("The server is starting.")
        if client.status == "unreachable" and self.environment.busy:
            return told("The server is being set up; your job starts when it is ready.")
        if self.taken_port:
            said = told(
                "Another program, or a server that hangs, uses port {port}: stop it, or set another Server Address"
                " in the preferences, with another number at its end.",
                port=self.taken_port,
            )
            if client.status == "refused":
                said = f"{client.problem} {told('The setting is Server Address in the preferences.')}"
            return f"{self.server.trouble} {said}".lstrip()
        if client.status == "unreachable":
            if self.server.trouble:
                return self.server.trouble
            if self.server_python:
                return told("The server at {address} does not answer: press Start Server.", address=self._address)
            return told("The server at {address} does not answer: press Set Up Server.", address=self._address)
        return client.problem

    def close(self) -> None:
        """End the connection, any setup or download, and the server started here."""
        self.environment.close()
        self.model_fetch.close()
        self._stop_looking()
        self.survey.close()
        self.disconnect()
        self.server.stop()


def _cancel(client: Client, job_id: str) -> None:
    """Cancel a job that another client may have followed."""
    with suppress(EX4DError):  # an invalid id has no job
        if job_id not in client.jobs:
            client.follow(job_id)  # a client can only cancel jobs it follows
        client.cancel(job_id)
