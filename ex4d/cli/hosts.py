"""`ex4d hosts`: servers on other machines that this user knows."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ex4d.errors import InputError

if TYPE_CHECKING:
    from ex4d.jobs.client import Client
    from ex4d.jobs.hosts import KnownServer

hosts = typer.Typer(no_args_is_help=True, help="Manage your list of servers on other machines.", rich_markup_mode=None)
LOOK_SECONDS = 5.0
"""How long `list` waits for servers that do not answer."""


@hosts.command()
def key() -> None:
    """Show your public key.

    Send it to the administrator of a server to be authorized there. Your secret key stays on this machine.
    """
    from ex4d.jobs.hosts import own_pair
    from ex4d.jobs.keys import shown_key

    typer.echo(shown_key(own_pair().public))


@hosts.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Server file from `ex4d server invite`.")],
) -> None:
    """Add a server to your list, which Blender shows too."""
    from ex4d.jobs.hosts import MOST_FILE_BYTES, read_file
    from ex4d.jobs.hosts import add as add_server

    with file.open("rb") as opened:
        server = read_file(opened.read(MOST_FILE_BYTES + 1))
    add_server(server)
    typer.echo(f"{server.name} at {server.address} is in your list.")


@hosts.command()
def remove(name: Annotated[str, typer.Argument(help="Name of the server.")]) -> None:
    """Remove a server from your list."""
    from ex4d.jobs.hosts import remove as remove_server

    remove_server(name)
    typer.echo(f"{name} was removed from your list.")


@hosts.command(name="list")
def list_() -> None:
    """List your servers.

    Shows which generators each server can run and how busy it is, or why it does not answer.
    """
    from ex4d.jobs.hosts import known

    servers = known()
    if not servers:
        raise InputError("Your list has no servers: add one with `ex4d hosts add FILE`.")
    for server, line in zip(servers, _lines(servers), strict=True):
        typer.echo(f"{server.name}  {server.address}\n    {line}")


def _lines(servers: tuple["KnownServer", ...]) -> Iterator[str]:
    """Lines to print about each server; all are asked at once."""
    from ex4d.jobs.client import Client

    with tempfile.TemporaryDirectory() as nothing, ExitStack() as stack:
        clients = [Client(server.address, Path(nothing), known=server) for server in servers]
        for client in clients:
            stack.callback(client.close)
        end = time.monotonic() + LOOK_SECONDS
        while time.monotonic() < end and any(client.status == "connecting" for client in clients):
            for client in clients:
                client.poll(0.01)
            time.sleep(0.01)
        yield from [_line(client) for client in clients]


def _line(client: "Client") -> str:
    if client.server is None:
        return client.problem or "It has not answered yet."
    able = [info.title for info in client.server.capabilities.generators if not info.missing]
    load = client.server.load
    jobs = f"{load.running} running, {load.waiting} waiting" if load.running or load.waiting else "idle"
    return f"{', '.join(able) or 'no generator that can run'}; {jobs}"
