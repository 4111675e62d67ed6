"""`ex4d server keygen`, `authorize`, `revoke`, `clients`, `invite`: who may use a server from other machines."""

from pathlib import Path
from typing import Annotated

import typer

State = Annotated[
    Path | None,
    typer.Option("--state", help="Folder of the server; by default the user's own state folder."),
]


def keygen(state: State = None) -> None:
    """Make the server's keys, if there are none yet, and show the public one. `ex4d serve` makes them too."""
    from ex4d.jobs.keys import shown_key
    from ex4d_server.access import prepare

    typer.echo(shown_key(prepare(_folder(state))))


def authorize(
    key: Annotated[
        str, typer.Argument(help="The client's key, from Copy My Key in its Blender or from its `ex4d hosts key`.")
    ],
    name: Annotated[str, typer.Option("--name", help="Whose key it is, for `clients` and `revoke`.")],
    state: State = None,
) -> None:
    """Let a client in. A running server does so at once."""
    from ex4d_server import access

    found = access.authorize(_folder(state), key, name)
    typer.echo(f"{found} can now connect." if found == name else f"This key is already let in, as {found}.")


def revoke(
    who: Annotated[str, typer.Argument(metavar="NAME", help="The client's name, or its key.")], state: State = None
) -> None:
    """Stop letting a client in. A running server also stops serving its connections.

    Its jobs continue; nobody gets their results unless the client is let in again.
    """
    from ex4d_server import access

    typer.echo(f"{access.revoke(_folder(state), who)} can no longer connect.")


def clients(state: State = None) -> None:
    """List who is let in, besides programs of the server's own user."""
    from ex4d.jobs.keys import shown_key
    from ex4d_server import access

    found = access.clients(_folder(state))
    width = max(map(len, found), default=0)
    for name, key in found.items():
        typer.echo(f"{name:{width}}  {shown_key(key)}")
    if not found:
        typer.echo("No client is let in: `ex4d server authorize KEY --name NAME` lets one in.")


def invite(
    name: Annotated[
        str | None, typer.Option("--name", help="What clients call this server; by default this machine's name.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="How clients reach it, such as tcp://gpu-box:5750; by default where it listens."
        ),
    ] = None,
    state: State = None,
) -> None:
    """Write the server file for clients, which holds name, address and public key: invite > gpu-box.json.

    Clients import it in Blender (Import Server File) or by `ex4d hosts add`. Nothing in it is secret; send it by a way
    on which nobody can change it.
    """
    from ex4d_server.access import invitation

    typer.echo(invitation(_folder(state), name, address).to_file(), nl=False)


def _folder(state: Path | None) -> Path:
    import platformdirs

    return (platformdirs.user_state_path("ex4d") if state is None else state).absolute()


COMMANDS = (keygen, authorize, revoke, clients, invite)
