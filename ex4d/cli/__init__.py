"""The command line: `ex4d`, or `python -m ex4d.cli`. One file per command; `app` puts them together."""


def main() -> None:
    """Run the command line, and end the process."""
    from ex4d.cli.app import run

    run()
