"""What a shot takes on disk, and which of it the open file does not show any more."""

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
"""How often the disk is looked at while panels are drawn."""

MADE_BY_OPENING = (
    footage.FOOTAGE,
    footage.RELIABLE,
    footage.SOLID,
    moving_tint.MOVING,
    mesh_object.CACHES,
    mesh_object.DEPTH,
)
"""Files that opening the clip again would make again, as patterns."""


@dataclass(frozen=True)
class Use:
    """What a shot takes.

    Attributes:
        total: bytes of all its files.
        takes: bytes of its takes and views.
        unused: files that an earlier opening of the clip has left, and that nothing of the open file needs.
        unused_bytes: their size.
    """

    total: int
    takes: int
    unused: tuple[Path, ...]
    unused_bytes: int


def use(scene: bpy.types.Scene) -> Use | None:
    """What the shot of a scene takes, as it was some seconds ago at most; None if its folder is gone."""
    folder = scene.ex4d.folder
    if folder is None or not folder.is_dir():
        return None
    return _lately(folder, lambda: look(scene))


def unsaved() -> int:
    """Bytes of the shots of files that were never saved, of all sessions, as it was some seconds ago at most."""
    home = files.user_shots()
    return _lately(home, lambda: _size([path for path in home.rglob("*") if path.is_file()]))


def _lately(folder: Path, looked: Callable[[], Any]) -> Any:
    """What a look at a folder told some seconds ago at most."""
    known = session.current().disk_use
    if folder not in known or time.monotonic() - known[folder][0] > LOOK_INTERVAL_S:
        known[folder] = time.monotonic(), looked()
    return known[folder][1]


def look(scene: bpy.types.Scene) -> Use:
    """What the shot of a scene takes right now."""
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
    """Remove what is unused; returns how many bytes that were."""
    found = look(scene)
    for file in found.unused:
        file.unlink(missing_ok=True)
    for opening in {file.parent for file in found.unused}:
        if opening.parent.name == files.AGAIN and not any(opening.iterdir()):
            opening.rmdir()
    session.current().disk_use.clear()
    return found.unused_bytes


def _depth_of_takes(scene: bpy.types.Scene) -> set[Path]:
    """Depth files that stand, in copies of the scene too, and those of takes, which Take Again needs."""
    facts, known, kept = scene.ex4d, {}, set()
    for each in copies.sharing(scene):
        known |= each.ex4d.input_files
        kept.add(Path(source.standing_depth(each.ex4d)))
        if not part.is_known(each.ex4d):  # nobody knows which depth stands, so none is removed
            kept |= set(each.ex4d.folder.rglob(mesh_object.DEPTH))
    for record in facts.folder.glob(f"takes/*/{take.SIDECAR}"):
        try:
            job = take.read_record(record).job
        except InputError:  # whoever needs the record will be told
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
