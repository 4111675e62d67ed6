"""The earlier take whose pixels the next takes keep: which takes can be chosen, and the take's files."""

from pathlib import Path

import bpy
import numpy as np

from ex4d.errors import InputError
from ex4d.pipeline import take

from ..shot import follow, part
from ..translations import told


def choices(facts: bpy.types.PropertyGroup) -> list[tuple[int, str]]:
    """Numbers and titles of the listed takes that show the same part of the clip as the shot."""
    try:
        start = part.opened(facts).start
    except InputError:  # the file's record of the shot is damaged, which is reported elsewhere
        return []
    return [
        (entry.number, entry.title)
        for entry in facts.takes
        if not entry.view and entry.start == start and (entry.frames or facts.frames) == facts.frames
    ]


def stored(facts: bpy.types.PropertyGroup, number: int) -> str:
    """The stored form of a take, which includes its shot because other shots have takes with the same numbers."""
    return f"{facts.shot}/{number}"


def chosen(facts: bpy.types.PropertyGroup) -> int:
    """Number of the chosen take; 0 if there is none, or if it belongs to another shot."""
    shot, _, number = facts.earlier_take.rpartition("/")
    return int(number) if shot == facts.shot and number.isdecimal() else 0


def check(
    facts: bpy.types.PropertyGroup, folder: Path | None, entry: bpy.types.PropertyGroup | None, title: str
) -> str:
    """Check that a take can be used as the earlier take, and return its folder.

    Args:
        facts: of the scene.
        folder: folder of the take.
        entry: the take's entry in the list, if any.
        title: title of the take.

    Raises:
        InputError: the take cannot be used with the current shot.
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
    """The video and camera path of the take in a folder; empty if `folder` is "".

    Raises:
        InputError: a file is gone.
    """
    files = [Path(folder) / name for name in (take.RESULT, take.CAMERA)] if folder else []
    if gone := [file for file in files if not file.is_file()]:
        raise InputError(
            told("{path} of the earlier take is gone: choose another Earlier Take, or None.", path=gone[0])
        )
    return files
