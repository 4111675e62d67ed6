"""`ex4d evaluate`: measure results."""

import typer

evaluate = typer.Typer(no_args_is_help=True, help="Measure results, and make tables of the figures.")
