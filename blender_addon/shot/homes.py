"""Folders for shots of unsaved files, including those of earlier versions.

Shots of unsaved files are in the user's data folder. Earlier versions kept them in a folder that Blender removes with
the extension; they are taken over from there at startup.
"""

import shutil
from contextlib import suppress
from pathlib import Path

import bpy

from ..identity import PACKAGE
from ..scene import compat
from ..shot import files


def former() -> list[Path]:
    """Folders in which earlier versions kept shots of unsaved files."""
    return [folder / "shots" for folder in compat.former_user_folders(PACKAGE)]


def all_homes() -> list[Path]:
    """Every folder with shots that the open file may use."""
    homes = [files.user_shots(), *former()]
    if bpy.data.filepath:
        homes.append(files.shots_folder(bpy.data.filepath))
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        folder = scene.ex4d.folder
        if folder is not None and folder.name.startswith(scene.ex4d.shot):
            homes.append(folder.parent)
    return list(dict.fromkeys(homes))


def take_over() -> None:
    """At startup, link or copy shots of earlier versions into the user's data folder.

    The old files are removed the next time Blender starts, see `tidy`, because another Blender may be using them now.
    """
    for home in former():
        for shot in [folder for folder in home.glob("*") if folder.is_dir() and not (folder / files.MOVED).exists()]:
            target = files.user_shots() / shot.name
            with suppress(OSError):  # disk full or no permission: it stays in place and in use
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.link_or_copy(shot, target)
                    files.mend_records(shot, target)
                (shot / files.MOVED).write_text(str(target), encoding="utf-8")


def tidy() -> None:
    """At startup, remove shots that earlier sessions copied elsewhere: next to a .blend, or from an old folder."""
    for home in (files.user_shots(), *former()):
        for marker in home.glob(f"*/{files.MOVED}"):
            if Path(marker.read_text(encoding="utf-8")).is_dir():
                shutil.rmtree(marker.parent, ignore_errors=True)


def look_again() -> None:
    """After a file was loaded, redirect its paths into folders of earlier versions to the new places of the shots."""
    for owner in files.path_owners():
        place = files.absolute(owner.filepath)
        for home in former():
            if place.is_relative_to(home) and (now := files.user_shots() / place.relative_to(home)).exists():
                owner.filepath = str(now)
