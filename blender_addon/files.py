"""Where a shot's files lie: beside the .blend, or in the user folder as long as there is none."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import bpy

from . import compat

MOVED = "moved_to.txt"
"""Written into a shot's folder in the user folder once it was copied beside a .blend."""


def user_shots() -> Path:
    """Folder of the shots of files that were never saved."""
    return compat.user_folder(__package__) / "shots"


def shots_folder(blend: str) -> Path:
    """Folder of the shots of the file `blend` ("" when it was never saved)."""
    return Path(blend).parent / "ex4d" if blend else user_shots()


def link_or_copy(source: str, target: str) -> None:
    """A second name for a file where the disk allows it, a copy elsewhere: caches are big."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def as_blender_writes(path: Path) -> str:
    """A path as it should stand in the .blend: relative once that has a place, so that both can move together."""
    return bpy.path.relpath(str(path)) if bpy.data.filepath else str(path)


def bring(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Move files under their names into the existing `folder`; returns where they are."""
    placed = {}
    for name, path in files.items():
        placed[name] = folder / name
        shutil.move(path, placed[name])
        with suppress(OSError):  # the download's own folder, once it is empty
            path.parent.rmdir()
    return placed


def settle(blend: str) -> None:
    """Before the file `blend` is written: bring its shots from the user folder beside it.

    Files are copied, never moved, and the new paths are absolute: whether saving then succeeds, fails or is undone,
    every path points to a file. (Blender itself makes them relative as it writes its first .blend.) What was left
    behind is removed when Blender starts next, see `tidy`.
    """
    home = user_shots()
    owners = [o for o in _path_owners() if Path(bpy.path.abspath(o.filepath)).is_relative_to(home)]
    for owner in owners:
        inside = Path(bpy.path.abspath(owner.filepath)).relative_to(home)
        shot = home / inside.parts[0]
        target = shots_folder(blend) / shot.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(shot, part, copy_function=link_or_copy)
            os.replace(part, target)
            (shot / MOVED).write_text(str(target), encoding="utf-8")
        owner.filepath = str(shots_folder(blend) / inside)


def _path_owners() -> list:
    """Everything in the file that can point into a shot's folder."""
    return [
        *bpy.data.images,
        *(m for o in bpy.data.objects for m in o.modifiers if m.type == "MESH_CACHE"),
        *(s for scene in bpy.data.scenes for s in compat.all_strips(scene) if s.type == "MOVIE"),
    ]


def tidy() -> None:
    """At start: remove shots from the user folder that earlier sessions copied beside a .blend."""
    home = user_shots()
    for marker in home.glob(f"*/{MOVED}"):
        if Path(marker.read_text(encoding="utf-8")).is_dir():
            shutil.rmtree(marker.parent, ignore_errors=True)
