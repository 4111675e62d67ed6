"""An earlier take of the shot, whose pixels the next ones keep: which can be chosen, and its files."""

from pathlib import Path

import bpy
import numpy as np

from ex4d.errors import InputError
from ex4d.pipeline import take

from ..shot import follow, part
from ..translations import told


def choices(facts: bpy.types.PropertyGroup) -> list[tuple[int, str]]:
    """Takes in the list that show the same part of the clip as the shot: their numbers and titles."""
    try:
        start = part.opened(facts).start
    except InputError:  # what the file keeps of the shot is damaged, and said elsewhere
        return []
    return [
        (entry.number, entry.title)
        for entry in facts.takes
        if not entry.view and entry.start == start and (entry.frames or facts.frames) == facts.frames
    ]


def stored(facts: bpy.types.PropertyGroup, number: int) -> str:
    """A take as it is stored: with its shot, as another one has takes of the same numbers."""
    return f"{facts.shot}/{number}"


def chosen(facts: bpy.types.PropertyGroup) -> int:
    """Number of the take that is chosen; 0 where there is none, or it is of another shot."""
    shot, _, number = facts.earlier_take.rpartition("/")
    return int(number) if shot == facts.shot and number.isdecimal() else 0


def check(
    facts: bpy.types.PropertyGroup, folder: Path | None, entry: bpy.types.PropertyGroup | None, title: str
) -> str:
    """The folder of the take that is chosen.

    Args:
        facts: of the scene.
        folder: of the take.
        entry: of the take in the list, where it is there.
        title: what it is called.

    Raises:
        InputError: it cannot be used with the shot as it stands.
    """
    if folder is None or any(not (folder / name).is_file() for name in (take.RESULT, take.CAMERA, take.SIDECAR)):
        raise InputError(told("The files of {title} are gone: choose another Earlier Take, or None.", title=title))
    if entry is None or entry.number not in [number for number, _title in choices(facts)]:
        raise InputError(
            told("{title} shows another part of the clip: choose another Earlier Take, or None.", title=title)
        )
    if not np.allclose(follow.placed(entry), np.eye(4), atol=1e-6):
        raise InputError(
            told(
                "{title} was made before the shot was opened again: choose a later take as Earlier Take, or None.",
                title=title,
            )
        )
    return str(folder)


def files_of(folder: str) -> list[Path]:
    """The video and the camera path of the take in a folder; none where `folder` is "".

    Raises:
        InputError: they are gone.
    """
    files = [Path(folder) / name for name in (take.RESULT, take.CAMERA)] if folder else []
    if gone := [file for file in files if not file.is_file()]:
        raise InputError(
            told("{path} of the earlier take is gone: choose another Earlier Take, or None.", path=gone[0])
        )
    return files
