"""Places of a shot's files: next to the .blend, or in the user folder while the file is unsaved."""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.pipeline import take
from ex4d.pipeline.requests import blobs_of

from ..identity import PACKAGE
from ..scene import compat
from ..translations import told

MOVED = "moved_to.txt"
"""File written into a shot's folder in the user folder once the shot was copied next to a .blend."""

AGAIN = "again"
"""Folder inside a shot's folder for files of later openings of the clip; a .blend may still use any of them."""


LEFT_OVER_S = 24 * 3600.0
"""Age from which temporary files count as left behind by a Blender that crashed or was closed."""


def user_shots() -> Path:
    """Folder for the shots of unsaved files."""
    return compat.user_folder(PACKAGE) / "shots"


def shots_folder(blend: str) -> Path:
    """Folder for the shots of the file `blend` ("" if it was never saved)."""
    return Path(blend).parent / "ex4d" if blend else user_shots()


def recordings() -> Path:
    """Folder for camera files of tracked cameras until the clip is open; made if missing."""
    folder = user_shots().parent / "cameras"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def masks_folder() -> Path:
    """Folder for images of drawn masks, with a folder for each request."""
    return user_shots().parent / "masks"


def paths_folder() -> Path:
    """Folder for camera paths until their takes are made, with a folder for each."""
    return user_shots().parent / "paths"


def lies_in(path: str | Path, folder: Path) -> bool:
    """Whether a path is directly inside a folder of ours.

    Check this before moving or removing anything that a .blend names: the .blend may come from anywhere and name any
    file.
    """
    return bool(str(path)) and Path(path).resolve().parent == folder.resolve()


def is_left_over(path: Path) -> bool:
    """Whether a file or folder has not changed for a day; another Blender may be using newer ones."""
    try:
        return time.time() - path.stat().st_mtime > LEFT_OVER_S
    except OSError:  # something else has just removed it
        return False


def numbered(parent: Path, word: str, above: int = 0) -> tuple[int, Path]:
    """Make the next free folder `word_<number>` in `parent` at once, so that nothing else takes the number.

    The number is also greater than `above`. Returns the number and the folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    used = [int(p.name[len(word) + 1 :]) for p in parent.glob(f"{word}_*") if p.name[len(word) + 1 :].isdecimal()]
    number = max(*used, above, 0) + 1
    while True:
        folder = parent / f"{word}_{number:03d}"
        try:
            folder.mkdir()
            return number, folder
        except FileExistsError:
            number += 1


def link_or_copy(folder: Path, target: Path) -> int:
    """Hard-link each file of a folder into `target` if the disk allows it, because caches are big, else copy it.

    `target` appears only once complete. Returns how many bytes had to be copied.
    """
    copied = 0
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for file in folder.rglob("*"):
            place = part / file.relative_to(folder)
            if file.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            if file.name == MOVED:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            copied += link_or_copy_file(file, place)
        os.replace(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return copied


def link_or_copy_file(file: Path, place: Path) -> int:
    """Hard-link a file, or else copy it; returns how many bytes had to be copied."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copy2(file, place)
        return file.stat().st_size
    return 0


def as_blender_writes(path: Path) -> str:
    """A path as it should be stored in the .blend: relative once that is saved, so that both can move together."""
    return bpy.path.relpath(str(path)) if bpy.data.filepath else str(path)


def absolute(filepath: str, blend: str | None = None) -> Path:
    """The absolute path, without `..`, of a path stored in the open file, or in a file at `blend`."""
    return Path(os.path.normpath(bpy.path.abspath(filepath, start=blend and str(Path(blend).parent))))


def movie_of(facts: bpy.types.PropertyGroup) -> Path:
    """The movie of the open frames of the clip.

    Raises:
        InputError: the movie is gone.
    """
    movie = absolute(facts.image.filepath) if facts.image is not None else None
    if movie is None or not movie.is_file():
        raise InputError(told("The shot's video is gone: press Open Again to recreate it."))
    return movie


def bring(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Move files into the existing `folder` under the names they are keyed by; returns their new paths."""
    placed = {}
    for name, path in files.items():
        placed[name] = folder / name
        shutil.move(path, placed[name])
        with suppress(OSError):  # the download's own folder, once it is empty
            path.parent.rmdir()
    return placed


def path_owners() -> list:
    """Everything in the file whose path may point into a shot's folder, except linked data, which another file owns."""
    found = [
        *bpy.data.images,
        *(m for o in bpy.data.objects for m in o.modifiers if m.type == "MESH_CACHE"),
        *(s for scene in bpy.data.scenes for s in compat.all_strips(scene) if s.type == "MOVIE"),
    ]
    return [owner for owner in found if owner.id_data.library is None]


def mend_records(shot: Path, target: Path) -> None:
    """After a shot's folder was copied, update the paths of input files in the records of its takes."""
    for file in target.glob(f"takes/*/{take.SIDECAR}"):
        try:
            record = take.read_record(file)
        except InputError:  # reported when the record is needed
            continue
        if not record.inputs:  # from 0.1
            continue
        before = shot / file.parent.relative_to(target)
        places = {blob.sha256: take.place_of(record, before, blob) for blob in blobs_of(record.job)}
        known = {
            sha: target / place.relative_to(shot) if place.is_relative_to(shot) else place
            for sha, place in places.items()
            if place is not None
        }
        take.write_record(file, take.with_inputs(record, file.parent, known))
