"""All commands in one application: ours, and those of other packages."""

import sys
from typing import Annotated

import typer

from ex4d import __version__
from ex4d.cli.again import again
from ex4d.cli.camera import camera
from ex4d.cli.commands import add, commands
from ex4d.cli.demo import demo
from ex4d.cli.depth import depth
from ex4d.cli.doctor import doctor
from ex4d.cli.evaluate import evaluate
from ex4d.cli.generate import generate
from ex4d.cli.hosts import hosts
from ex4d.cli.models import models
from ex4d.cli.output import fail
from ex4d.cli.recon import recon
from ex4d.cli.run import run_job
from ex4d.cli.train import train
from ex4d.cli.unload import unload
from ex4d.errors import EX4DError

OWN = {
    "recon": recon,
    "depth": depth,
    "generate": generate,
    "again": again,
    "run": run_job,
    "train": train,
    "camera": camera,
    "evaluate": evaluate,
    "demo": demo,
    "doctor": doctor,
    "models": models,
    "hosts": hosts,
    "unload": unload,
}
"""This package's commands, in the order of the help."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ex4d {__version__}")
        raise typer.Exit


def _every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """EX-4D: reshoot an existing video from another camera."""


def build_app() -> typer.Typer:
    """Build the application with every installed command."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_every_command)
    others = {name: command for name, command in commands().items() if name not in OWN}
    for name, command in {**OWN, **others}.items():
        add(app, name, command)
    return app


def run() -> None:
    """Run the command in this process's arguments; errors that a user can act on print one sentence and exit with 2."""
    try:
        build_app()()
    except EX4DError as error:
        fail(str(error))
        sys.exit(2)
    except OSError as error:
        fail(f"{error.filename or 'A file'} could not be used ({error.strerror or error}): check it and its folder.")
        sys.exit(2)
