"""Disk space of a shot, and which of its files the open file no longer uses."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.pipeline import take
from ex4d.pipeline.requests import Generate

from ..scene import footage, mesh_object, moving_tint
from ..shot import copies, files, part, source
from ..work import session

LOOK_INTERVAL_S = 5.0
"""Interval at which the disk is read while panels are drawn."""

MADE_BY_OPENING = (
    footage.FOOTAGE,
    footage.RELIABLE,
    footage.SOLID,
    moving_tint.MOVING,
    mesh_object.CACHES,
    mesh_object.DEPTH,
)
"""Patterns of the files that opening the clip again would recreate."""


@dataclass(frozen=True)
class Use:
    """Disk space of a shot.

    Attributes:
        total: size of all its files in bytes.
        takes: size of its takes and path previews in bytes.
        unused: files left by earlier openings of the clip that nothing in the open file needs.
        unused_bytes: size of those in bytes.
    """

    total: int
    takes: int
    unused: tuple[Path, ...]
    unused_bytes: int


def use(scene: bpy.types.Scene) -> Use | None:
    """Disk space of a scene's shot, at most a few seconds old; None if its folder is gone."""
    folder = scene.ex4d.folder
    if folder is None or not folder.is_dir():
        return None
    return _lately(folder, lambda: look(scene))


def unsaved() -> int:
    """Bytes of the shots of unsaved files, of all sessions, at most a few seconds old."""
    home = files.user_shots()
    return _lately(home, lambda: _size([path for path in home.rglob("*") if path.is_file()]))


def _lately(folder: Path, looked: Callable[[], Any]) -> Any:
    """The result of `looked` for a folder, cached for a few seconds."""
    known = session.current().disk_use
    if folder not in known or time.monotonic() - known[folder][0] > LOOK_INTERVAL_S:
        known[folder] = time.monotonic(), looked()
    return known[folder][1]


def look(scene: bpy.types.Scene) -> Use:
    """Disk space of a scene's shot right now."""
    folder = scene.ex4d.folder
    there = [path for path in folder.rglob("*") if path.is_file()]
    of_takes = [path for path in there if path.relative_to(folder).parts[0] in ("takes", "views")]
    needed = {files.absolute(owner.filepath) for owner in files.path_owners()} | _depth_of_takes(scene)
    openings = [folder, *(path for path in (folder / files.AGAIN).glob("*") if path.is_dir())]
    unused = [
        file
        for opening in openings
        for pattern in MADE_BY_OPENING
        for file in sorted(opening.glob(pattern))
        if file.is_file() and file not in needed
    ]
    return Use(_size(there), _size(of_takes), tuple(unused), _size(unused))


def clean(scene: bpy.types.Scene) -> int:
    """Remove unused files; returns their size in bytes."""
    found = look(scene)
    for file in found.unused:
        file.unlink(missing_ok=True)
    for opening in {file.parent for file in found.unused}:
        if opening.parent.name == files.AGAIN and not any(opening.iterdir()):
            opening.rmdir()
    session.current().disk_use.clear()
    return found.unused_bytes


def _depth_of_takes(scene: bpy.types.Scene) -> set[Path]:
    """Depth files that the scene and its copies use, and those of takes, which Take Again needs."""
    facts, known, kept = scene.ex4d, {}, set()
    for each in copies.sharing(scene):
        known |= each.ex4d.input_files
        kept.add(Path(source.standing_depth(each.ex4d)))
        if not part.is_known(each.ex4d):  # it is not known which depth is in use, so keep all
            kept |= set(each.ex4d.folder.rglob(mesh_object.DEPTH))
    for record in facts.folder.glob(f"takes/*/{take.SIDECAR}"):
        try:
            job = take.read_record(record).job
        except InputError:  # reported when the record is needed
            continue
        if isinstance(job, Generate):
            kept |= {Path(known[blob.sha256]) for blob in job.source.depth if blob.sha256 in known}
    return kept


def _size(paths: list[Path]) -> int:
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):  # another Blender may have removed it by now
            total += path.stat().st_size
    return total
