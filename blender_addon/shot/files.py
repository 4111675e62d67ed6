"""Where a shot's files lie: beside the .blend, or in the user folder as long as there is none."""

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
"""Written into a shot's folder in the user folder once it was copied beside a .blend."""

AGAIN = "again"
"""Folder inside a shot's: what was made each time that the clip was opened again. A .blend may still show any of it."""


LEFT_OVER_S = 24 * 3600.0
"""What passes and is older was left by a Blender that crashed, or was closed meanwhile."""


def user_shots() -> Path:
    """Folder of the shots of files that were never saved."""
    return compat.user_folder(PACKAGE) / "shots"


def shots_folder(blend: str) -> Path:
    """Folder of the shots of the file `blend` ("" when it was never saved)."""
    return Path(blend).parent / "ex4d" if blend else user_shots()


def recordings() -> Path:
    """Folder where the motion of a tracked camera waits until the clip is open."""
    folder = user_shots().parent / "cameras"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def masks_folder() -> Path:
    """Where the pictures of drawn masks wait, each request's in a folder of its own."""
    return user_shots().parent / "masks"


def paths_folder() -> Path:
    """Where camera paths wait until their takes are made, each in a folder of its own."""
    return user_shots().parent / "paths"


def lies_in(path: str | Path, folder: Path) -> bool:
    """Whether a path leads right into a folder of ours.

    To be asked before anything is moved or removed that a .blend names: it may be a stranger's, and name any file.
    """
    return bool(str(path)) and Path(path).resolve().parent == folder.resolve()


def is_left_over(path: Path) -> bool:
    """Whether nobody has touched a file or folder for a day: another Blender may be using what is younger."""
    try:
        return time.time() - path.stat().st_mtime > LEFT_OVER_S
    except OSError:  # somebody else has just removed it
        return False


def numbered(parent: Path, word: str, above: int = 0) -> tuple[int, Path]:
    """The next free `word_<number>` in the folder `parent`, made here and now so that nobody else takes it.

    Its number is also greater than `above`.
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
    """A second name for each file of a folder where the disk allows it, a copy elsewhere: caches are big.

    `target` appears when it is whole, and never in part. Returns how many bytes had to be copied.
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
    """A second name for a file, or a copy; how many bytes had to be copied."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copy2(file, place)
        return file.stat().st_size
    return 0


def as_blender_writes(path: Path) -> str:
    """A path as it should stand in the .blend: relative once that has a place, so that both can move together."""
    return bpy.path.relpath(str(path)) if bpy.data.filepath else str(path)


def absolute(filepath: str, blend: str | None = None) -> Path:
    """Where a path of the open file, or of one that lies at `blend`, leads; without `..`, as Blender follows it."""
    return Path(os.path.normpath(bpy.path.abspath(filepath, start=blend and str(Path(blend).parent))))


def movie_of(facts: bpy.types.PropertyGroup) -> Path:
    """The movie of the frames of the clip that are open.

    Raises:
        InputError: it is gone.
    """
    movie = absolute(facts.image.filepath) if facts.image is not None else None
    if movie is None or not movie.is_file():
        raise InputError(told("The shot's video is gone: press Open Again to recreate it."))
    return movie


def bring(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Move files under their names into the existing `folder`; returns where they are."""
    placed = {}
    for name, path in files.items():
        placed[name] = folder / name
        shutil.move(path, placed[name])
        with suppress(OSError):  # the download's own folder, once it is empty
            path.parent.rmdir()
    return placed


def path_owners() -> list:
    """Everything in the file that can point into a shot's folder; what is linked belongs to another file."""
    found = [
        *bpy.data.images,
        *(m for o in bpy.data.objects for m in o.modifiers if m.type == "MESH_CACHE"),
        *(s for scene in bpy.data.scenes for s in compat.all_strips(scene) if s.type == "MOVIE"),
    ]
    return [owner for owner in found if owner.id_data.library is None]


def mend_records(shot: Path, target: Path) -> None:
    """After the folder of a shot was copied: let the records of its takes say where their files are from there."""
    for file in target.glob(f"takes/*/{take.SIDECAR}"):
        try:
            record = take.read_record(file)
        except InputError:  # whoever needs the record will be told
            continue
        if not record.inputs:  # of 0.1
            continue
        before = shot / file.parent.relative_to(target)
        places = {blob.sha256: take.place_of(record, before, blob) for blob in blobs_of(record.job)}
        known = {
            sha: target / place.relative_to(shot) if place.is_relative_to(shot) else place
            for sha, place in places.items()
            if place is not None
        }
        take.write_record(file, take.with_inputs(record, file.parent, known))
