"""`ex4d train`: make an EX-4D adapter, and what it is made from."""

from pathlib import Path
from typing import Annotated

import typer

from ex4d.cli.output import bars, say
from ex4d.errors import InputError

train = typer.Typer(no_args_is_help=True, help="Train an EX-4D adapter on ordinary videos with simulated masks.")


@train.command()
def refiner(
    folder: Annotated[Path, typer.Argument(help="Folder of the training: it goes on from what is there.")],
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes; another call goes on.", min=0)] = 8.0,
    steps: Annotated[int, typer.Option(help="Steps in all.", min=1)] = 36_000,
    batch: Annotated[int, typer.Option(help="Pictures in each step.", min=1)] = 32,
    size: Annotated[int, typer.Option(help="Side of a picture in pixels, a multiple of 16.", min=32)] = 256,
    seed: Annotated[int, typer.Option(help="Of the first weights and the pictures.")] = 1,
    rate: Annotated[float, typer.Option(help="Learning rate after the first steps.", min=0)] = 1.5e-3,
    begin: Annotated[Path | None, typer.Option(help="Weights of an earlier training to begin with.")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
) -> None:
    """Train the network that refines the edges of depth, on pictures that are generated meanwhile.

    Once all steps are done, the folder has edge_refiner.safetensors and edge_refiner.onnx.
    """
    from ex4d.training.refiner import loop
    from ex4d.training.refiner.export import export

    if size % 16:
        raise InputError(f"The side of a picture must be a multiple of 16, not {size}.")
    folder.mkdir(parents=True, exist_ok=True)
    plan = loop.Plan(seed, steps, batch, size, rate)
    with bars() as progress:
        done = loop.train(folder, plan, minutes * 60, device, say, progress, begin)
    if done:
        export(folder / loop.WEIGHTS, folder / "edge_refiner.onnx")
        say(f"Done: {folder / loop.WEIGHTS} and edge_refiner.onnx beside it.")
    else:
        say("Not done yet: the same command goes on from here.")
