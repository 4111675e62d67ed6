"""Where files lie, as a folder that may move along with them writes it down: relative to it where that is possible."""

import os
from pathlib import Path


def seen_from(folder: Path, path: Path) -> str:
    """How to come from a folder to a file, by forward slashes; the whole path where they share no drive."""
    try:
        said = os.path.relpath(path, folder)
        if found_from(folder, said).resolve() != path.resolve():  # the way leads through links of folders
            said = os.path.relpath(path.parent.resolve() / path.name, folder.parent.resolve() / folder.name)
    except ValueError:  # on Windows, another drive
        return path.absolute().as_posix()
    return Path(said).as_posix()


def found_from(folder: Path, said: str) -> Path:
    """Where that leads, by whatever links the folder is reached."""
    place = Path(os.path.normpath(folder / said))
    if folder.absolute() == (real := folder.resolve()):
        return place
    really = Path(os.path.normpath(real / said))
    return place if place.resolve() == really.resolve() else really  # better by the names that the user knows
