"""The command line: `ex4d`, or `python -m ex4d.cli`. A file for each command; `app` puts them together."""

GROUP = "ex4d.commands"
"""Group of the entry points of further commands: each names a function that typer makes a command of, or a Typer."""


def main() -> None:
    """Run the command line; ends the process."""
    from ex4d.cli.app import run

    run()
