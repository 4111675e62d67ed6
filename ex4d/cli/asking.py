"""Asks a running server one question and waits for its answer, for `ex4d unload` and `ex4d server queue`."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ex4d.errors import ServerError

if TYPE_CHECKING:
    from ex4d.jobs.client import Client

T = TypeVar("T")

Address = Annotated[str, typer.Option("--address", help="Address of the server.")]
Named = Annotated[str | None, typer.Option("--server", help="Name of a server in your list, instead of --address.")]


def answered(
    address: str, server: str | None, ask: "Callable[[Client], None]", answer: "Callable[[Client], T | None]"
) -> T:
    """Ask a server, and wait for its answer.

    Args:
        address: of the server.
        server: its name in the user's list, instead of the address.
        ask: sends the question.
        answer: returns the answer, or None until it has arrived.

    Raises:
        InputError: no such name, or no address.
        ServerError: nobody answers, or the server refuses us.
    """
    from ex4d.jobs import hosts
    from ex4d.jobs.client import HELLO_SECONDS, Client

    known = hosts.find(server) if server is not None else None
    address = known.address if known is not None else address
    with tempfile.TemporaryDirectory() as nothing:
        client = Client(address, Path(nothing), known=known)
        deadline = time.monotonic() + HELLO_SECONDS + 2
        asked = False
        try:
            while (said := answer(client)) is None:
                client.poll(0.05)
                if client.status == "ready" and not asked:
                    ask(client)
                    asked = True
                if client.status in ("unreachable", "refused") or time.monotonic() > deadline:
                    raise ServerError(client.problem or f"The server at {address} did not answer.")
                time.sleep(0.02)
            return said
        finally:
            client.close()
