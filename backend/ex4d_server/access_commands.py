"""`ex4d server keygen`, `authorize`, `revoke`, `clients`, `invite`: who may use a server from other machines."""

from pathlib import Path
from typing import Annotated

import typer

State = Annotated[
    Path | None,
    typer.Option("--state", help="State folder of the server. Default: the user's own."),
]


def keygen(state: State = None) -> None:
    """Create the server's keys, and show the public one.

    Existing keys are kept. `ex4d serve` creates keys too.
    """
    from ex4d.jobs.keys import shown_key
    from ex4d_server.access import prepare

    typer.echo(shown_key(prepare(_folder(state))))


def authorize(
    key: Annotated[
        str,
        typer.Argument(help="The client's public key, from Copy My Key in its Blender or from its `ex4d hosts key`."),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the client, for `clients` and `revoke`.")],
    state: State = None,
) -> None:
    """Authorize a client to connect.

    A running server lets it in at once.
    """
    from ex4d_server import access

    found = access.authorize(_folder(state), key, name)
    typer.echo(f"{found} can now connect." if found == name else f"This key is already let in, as {found}.")


def revoke(
    who: Annotated[str, typer.Argument(metavar="NAME", help="The client's name or public key.")], state: State = None
) -> None:
    """Revoke a client's authorization.

    A running server also stops serving the client's connections. The client's jobs continue, but nobody gets their
    results unless the client is authorized again.
    """
    from ex4d_server import access

    typer.echo(f"{access.revoke(_folder(state), who)} can no longer connect.")


def clients(state: State = None) -> None:
    """List the authorized clients.

    Programs of the server's own user are let in as well, and are not listed.
    """
    from ex4d.jobs.keys import shown_key
    from ex4d_server import access

    found = access.clients(_folder(state))
    width = max(map(len, found), default=0)
    for name, key in found.items():
        typer.echo(f"{name:{width}}  {shown_key(key)}")
    if not found:
        typer.echo("No client is let in: add one with `ex4d server authorize KEY --name NAME`.")


def invite(
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the server in the lists of clients. Default: this machine's name."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Address at which clients reach it, such as tcp://gpu-box:5750. Default: the one it listens on.",
        ),
    ] = None,
    state: State = None,
) -> None:
    """Print the server file for clients.

    It holds the server's name, address and public key: `ex4d server invite > gpu-box.json`. Clients import it in
    Blender (Import Server File) or with `ex4d hosts add`. Nothing in it is secret, but send it in a way that lets
    nobody change it.
    """
    from ex4d_server.access import invitation

    typer.echo(invitation(_folder(state), name, address).to_file(), nl=False)


def _folder(state: Path | None) -> Path:
    import platformdirs

    return (platformdirs.user_state_path("ex4d") if state is None else state).absolute()


COMMANDS = (keygen, authorize, revoke, clients, invite)
# A key in Z85 may begin with a hyphen, and is not an option.
TAKE_KEYS = (authorize, revoke)
