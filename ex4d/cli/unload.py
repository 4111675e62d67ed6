"""`ex4d unload`."""

import typer

from ex4d.cli.asking import Address, Named, answered
from ex4d.jobs.address import DEFAULT_ADDRESS


def unload(address: Address = DEFAULT_ADDRESS, server: Named = None) -> None:
    """Tell a running server to unload its models."""
    said = answered(address, server, lambda client: client.unload(), lambda client: client.unloaded)
    typer.echo(said.message)
