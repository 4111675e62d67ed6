"""What the server adds to the command line, by the entry points "ex4d.commands"."""

from pathlib import Path
from typing import Annotated

import typer

from ex4d.jobs.address import DEFAULT_ADDRESS


def serve(
    address: Annotated[
        str, typer.Option("--address", help="Loopback address to listen on; port 0 takes any free one.")
    ] = DEFAULT_ADDRESS,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Folder for jobs, files and logs; by default the user's own state folder."),
    ] = None,
    linger: Annotated[
        float | None,
        typer.Option("--linger", help="End so many seconds after the last client and job; by default never.", min=0),
    ] = None,
    step_deadline: Annotated[
        float | None,
        typer.Option(
            "--step-deadline",
            help="End a worker that makes no step for so many seconds, by default half an hour; in a stage of one step"
            " four times as many.",
            min=1,
        ),
    ] = None,
) -> None:
    """Start the server that Blender talks to."""
    from ex4d_server.executor import Deadlines
    from ex4d_server.server import serve as run_server

    run_server(address, state, deadlines=Deadlines.for_step(step_deadline or Deadlines.step), linger=linger)
