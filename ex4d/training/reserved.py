"""One run at a time in a folder, so that two runs cannot destroy each other's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ex4d.errors import InputError
from ex4d.storage.locks import locked

LOCK = ".lock"
"""File in a folder that a run holds while it works there."""


@contextmanager
def reserved(folder: Path, what: str = "training") -> Iterator[None]:
    """Reserve a folder, made if missing, for as long as the block runs.

    Args:
        folder: of a dataset or a training.
        what: name of such a run, for the user.

    Raises:
        InputError: another process has reserved it, or it cannot be made or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror}; choose another one.") from error
    taken = f"Another {what} is working in {folder}: wait until it has ended, or choose another folder."
    with locked(folder / LOCK, taken):
        yield
