"""Commands that other packages add."""

from typing import Any

import typer
from typer.main import get_command

from ex4d import plugins
from ex4d.errors import InputError

GROUP = "ex4d.commands"
"""Group of the entry points of further commands: each names a function that typer makes a command of, or a Typer."""


def commands() -> dict[str, Any]:
    """The commands of other packages, by name."""
    return plugins.found(GROUP, check_command)


def add(app: typer.Typer, name: str, command: Any) -> None:
    """Give an application a command, or a Typer with several."""
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)


def check_command(command: Any) -> None:
    """Raise where typer makes no command of it; typer looks at all together, so one would take the others along."""
    if not callable(command):
        raise InputError(f"a command is a function or a Typer, not {type(command).__name__}.")
    app = typer.Typer(add_completion=False)
    add(app, "it", command)
    get_command(app)
