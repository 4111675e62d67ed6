"""Output of commands: progress bars, notes, results, and folders in which nothing incomplete is left."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ex4d.errors import InputError
from ex4d.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

console = Console(stderr=True)


@contextmanager
def bars() -> Iterator[Progress]:
    """Show the progress of each stage as a bar on standard error."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console) as shown:
        tasks = {}

        def progress(stage: str, step: int, steps: int, picture: "NDArray[np.uint8] | None" = None) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=steps)
            shown.update(tasks[stage], completed=step, total=steps)

        yield progress


def say(*notes: str) -> None:
    """Print sentences for the user to standard error."""
    for note in notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)


def fail(sentence: str) -> None:
    """Print an error message to standard error."""
    console.print(f"ex4d: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)


def results(*paths: Path) -> None:
    """Print the results to standard output, one per line, for people and scripts."""
    for path in paths:
        typer.echo(path)


def show(table: Table) -> None:
    """Print a table to standard output; brackets in it are text, not markup."""
    Console(markup=False).print(table)


@contextmanager
def result_folder(folder: Path) -> Iterator[None]:
    """Make a folder for results; if an error occurs, a folder made here is removed again if it is empty.

    Raises:
        InputError: it cannot be made.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror}; choose another one.") from error
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise


def refuse_overwriting(outputs: Iterable[Path], video: Path | None, *others: Path | None) -> None:
    """Refuse outputs that would replace an input, or contain one.

    Args:
        outputs: files and folders to be written.
        video: the clip; the depth next to it counts too.
        others: further inputs.

    Raises:
        InputError: names the output.
    """
    from ex4d.storage.names import beside

    sources = [path for path in (video, *others, beside(video) if video else None) if path is not None]
    for output in outputs:
        if any(source.resolve().is_relative_to(output.resolve()) for source in sources):
            raise InputError(
                f"{output} is an input of the result, or would be mistaken for one the next time: choose another"
                " name for the result, or another folder."
            )
