"""Folders of takes, as commands write and find them."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ex4d.cli.options import ENDINGS
from ex4d.errors import InputError
from ex4d.pipeline import take
from ex4d.storage.atomic import replacing
from ex4d.storage.names import with_name

ENDING = ".take"
"""The take of shot.mp4 is the folder shot.take next to it."""


def folder_of(video: Path) -> Path:
    """The folder for the take of a video, or of a folder of images."""
    name = video.stem if video.suffix.lower() in ENDINGS.values() else video.name
    return video.with_name(name + ENDING)


def find(path: Path) -> Path:
    """Find the folder of a take that the user names by the folder itself, a file in it, or the video next to it.

    Raises:
        InputError: there is no take.
    """
    if (path / take.SIDECAR).is_file():
        return with_name(path)
    if path.name in take.FILES and (path.parent / take.SIDECAR).is_file():
        return with_name(path.parent)
    if path.name and (folder_of(path) / take.SIDECAR).is_file():
        return folder_of(path)
    raise InputError(f"There is no take {path}: name its folder, its {take.SIDECAR}, or the video beside it.")


def next_to(folder: Path) -> Path:
    """A free name for the remade take, next to the original."""
    stem, ending = (folder.stem, ENDING) if folder.suffix == ENDING else (folder.name, "")
    names = (folder.with_name(f"{stem}.again{number if number > 1 else ''}{ending}") for number in itertools.count(1))
    return next(path for path in names if not path.exists())


def check_free(folder: Path) -> None:
    """Refuse to write a take in place of anything other than an older take.

    Raises:
        InputError: names the folder.
    """
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    if names and (take.SIDECAR not in names or not names <= take.FILES):
        raise InputError(f"{folder} exists and is not a take, or also holds other files: choose another name.")


@contextmanager
def written(folder: Path) -> Iterator[Path]:
    """Provide an empty folder for a take, which becomes `folder` once it is complete, replacing an older take.

    Raises:
        InputError: see `check_free`, or the folder cannot be written.
    """
    check_free(folder)
    with replacing(folder) as temporary:
        temporary.mkdir()
        yield temporary
