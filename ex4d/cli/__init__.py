"""The command line: `ex4d`, or `python -m ex4d.cli`. A file for each command; `app` puts them together."""


def main() -> None:
    """Run the command line; ends the process."""
    from ex4d.cli.app import run

    run()
