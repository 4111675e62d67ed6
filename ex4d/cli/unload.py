"""`ex4d unload`."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from ex4d.errors import ServerError
from ex4d.jobs.address import DEFAULT_ADDRESS


def unload(
    address: Annotated[str, typer.Option("--address", help="Address of the server.")] = DEFAULT_ADDRESS,
    server: Annotated[
        str | None, typer.Option("--server", help="A server of your list, by its name, in place of an address.")
    ] = None,
) -> None:
    """Tell a running server to unload its models."""
    from ex4d.jobs import hosts
    from ex4d.jobs.client import HELLO_SECONDS, Client

    known = hosts.find(server) if server is not None else None
    address = known.address if known is not None else address
    with tempfile.TemporaryDirectory() as nothing:
        client = Client(address, Path(nothing), known=known)
        deadline = time.monotonic() + HELLO_SECONDS + 2
        asked = False
        try:
            while client.unloaded is None:
                client.poll(0.05)
                if client.status == "ready" and not asked:
                    client.unload()
                    asked = True
                if client.status in ("unreachable", "refused") or time.monotonic() > deadline:
                    raise ServerError(client.problem or f"The server at {address} did not answer.")
                time.sleep(0.02)
            typer.echo(client.unloaded.message)
        finally:
            client.close()
