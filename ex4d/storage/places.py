"""Paths as stored in a folder that may be moved together with its files: relative to the folder where possible."""

import os
from pathlib import Path


def seen_from(folder: Path, path: Path) -> str:
    """The path from a folder to a file, with forward slashes; the absolute path if they are on different drives."""
    try:
        said = os.path.relpath(path, folder)
        if found_from(folder, said).resolve() != path.resolve():  # linked folders lie on the way
            said = os.path.relpath(path.parent.resolve() / path.name, folder.parent.resolve() / folder.name)
    except ValueError:  # on Windows, another drive
        return path.absolute().as_posix()
    return Path(said).as_posix()


def found_from(folder: Path, said: str) -> Path:
    """The path that `seen_from` stored, found whatever links lead to the folder."""
    place = Path(os.path.normpath(folder / said))
    if folder.absolute() == (real := folder.resolve()):
        return place
    really = Path(os.path.normpath(real / said))
    return place if place.resolve() == really.resolve() else really  # prefer the names that the user knows
