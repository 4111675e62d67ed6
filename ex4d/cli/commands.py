"""Commands of other packages."""

from typing import Any

import typer
from typer.main import get_command

from ex4d import plugins
from ex4d.errors import InputError

GROUP = "ex4d.commands"
"""Group of the entry points for further commands; each names a function that typer turns into a command, or a Typer."""


def commands() -> dict[str, Any]:
    """The commands of other packages, by name."""
    return plugins.found(GROUP, check_command)


def add(app: typer.Typer, name: str, command: Any) -> None:
    """Add a command, or a Typer with several, to an application."""
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)


def check_command(command: Any) -> None:
    """Raise if typer cannot make a command from this.

    typer builds all commands at once, so one bad command would break the others.
    """
    if not callable(command):
        raise InputError(f"a command is a function or a Typer, not {type(command).__name__}.")
    app = typer.Typer(add_completion=False)
    add(app, "it", command)
    get_command(app)
