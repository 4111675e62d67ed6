"""`ex4d train`: make an EX-4D adapter, and what it is made from."""

import typer

train = typer.Typer(no_args_is_help=True, help="Train an EX-4D adapter on ordinary videos with simulated masks.")
