"""Keeping a .blend's shots next to it, whichever folder it is saved to.

Shots elsewhere, in the user's data folder or next to the previous .blend, are hard-linked there if the disk allows it,
and copied otherwise. So new takes go next to the new file, and the old file keeps what it has.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.pipeline import take

from .. import translations
from ..shot import files, homes
from ..words import size


@dataclass(frozen=True)
class Settled:
    """What was done before a file was written.

    Attributes:
        blend: the file.
        before: the owners of changed paths, and their previous paths.
        told: a sentence if something had to be copied, else empty.
        brought: previous and new folders of shots.
    """

    blend: str
    before: tuple[tuple[bpy.types.bpy_struct, str], ...] = ()
    told: str = ""
    brought: tuple[tuple[Path, Path], ...] = ()

    def leave(self) -> None:
        """After the file was written, mark the originals in the user's data folder as no longer needed."""
        for shot, target in self.brought:
            if shot.parent in (files.user_shots(), *homes.former()):
                (shot / files.MOVED).write_text(str(target), encoding="utf-8")

    def take_back(self) -> None:
        """After Save Copy, restore the paths of the open file."""
        for owner, path in self.before:
            owner.filepath = path


def settle(blend: str) -> Settled:
    """Before the file `blend` is written, bring all shots that it uses next to it.

    Files are linked or copied, never moved, and every path is valid whether saving then succeeds, fails or is undone.
    Blender itself makes the paths relative to the folder it writes to. The originals in the user's data folder are
    removed the next time Blender starts, see `homes.tidy`.

    Raises:
        InputError: the disk is full or the folder is not writable. Files that could not be brought stay in place and
            in use, so that the next save can try again.
    """
    where = files.user_shots()
    known, before, brought, copied = homes.all_homes(), [], {}, 0
    try:
        for owner in files.path_owners():
            place = files.absolute(owner.filepath)
            home = next((home for home in known if place.is_relative_to(home)), None)
            if home is None or home == files.shots_folder(blend):
                continue
            shot = where = home / place.relative_to(home).parts[0]
            if shot not in brought:
                brought[shot], more = _bring(shot, files.shots_folder(blend))
                copied += more
            before.append((owner, owner.filepath))
            _point(owner, brought[shot] / place.relative_to(shot))
    except OSError as error:
        raise InputError(
            translations.told(
                "The shot's files could not be copied beside {file} ({why}): they stay in {where}. Make"
                " room, or choose another folder, and save again.",
                file=Path(blend).name,
                why=error.strerror or error,
                where=where,
            )
        ) from error
    told = (
        translations.told(
            "{copied} of the shot's files were copied beside {file}.", copied=size(copied), file=Path(blend).name
        )
        if copied
        else ""
    )
    return Settled(blend, tuple(before), told, tuple(brought.items()))


def _point(owner: bpy.types.bpy_struct, place: Path) -> None:
    """Point a path to another place; a relative path stays relative to the current place of the open file.

    Blender then makes it relative to the new place of the file.
    """
    relative = owner.filepath.startswith("//")
    owner.filepath = bpy.path.relpath(str(place)) if relative else str(place)


def _bring(shot: Path, home: Path) -> tuple[Path, int]:
    """Bring the files of a shot to another home; returns their folder and how many bytes were copied.

    The folder keeps its name unless one already exists with different takes under the same numbers.
    """
    target, number = home / shot.name, 1
    while _differs(shot, target):
        number += 1
        target = home / f"{shot.name}_{number}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        copied = sum(_add(unit, target / unit.relative_to(shot)) for unit in _units(shot))
    else:
        copied = files.link_or_copy(shot, target)
    files.mend_records(shot, target)
    return target, copied


def _units(shot: Path) -> list[Path]:
    """Parts that are brought as a whole: folders of takes, path previews and openings, and single files."""
    return [*(path for path in shot.iterdir() if path.is_file()), *(path for path in shot.glob("*/*") if path.is_dir())]


def _add(unit: Path, place: Path) -> int:
    if place.exists() or unit.name == files.MOVED:
        return 0
    place.parent.mkdir(parents=True, exist_ok=True)
    if unit.is_dir():
        return files.link_or_copy(unit, place)
    return files.link_or_copy_file(unit, place)


def _differs(shot: Path, target: Path) -> bool:
    """Whether a shot's files differ from those in another folder. Records are ignored, because they contain paths."""
    for file in shot.rglob("*"):
        other = target / file.relative_to(shot)
        if file.is_dir() or file.name in (take.SIDECAR, files.MOVED) or not other.exists():
            continue
        ours, theirs = file.stat(), other.stat()
        if (ours.st_size, int(ours.st_mtime)) != (theirs.st_size, int(theirs.st_mtime)):
            return True
    return False


def is_same_file(one: str, other: str) -> bool:
    """Whether two paths name the same file."""
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def mend(blend: str) -> None:
    """After `blend` could not be written, correct paths that Blender has already made relative to its folder."""
    for owner in files.path_owners():
        wanted = files.absolute(owner.filepath, blend)
        if not files.absolute(owner.filepath).exists() and wanted.exists():
            owner.filepath = str(wanted)
