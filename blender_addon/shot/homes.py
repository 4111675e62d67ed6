"""Shots of files that were never saved, and where earlier versions kept them.

They lie in the user's data folder. Earlier versions kept them in a folder that Blender removes with the extension, from
where they are taken over at start.
"""

import shutil
from contextlib import suppress
from pathlib import Path

import bpy

from ..identity import PACKAGE
from ..scene import compat
from ..shot import files


def former() -> list[Path]:
    """Folders in which earlier versions kept shots of files that were never saved."""
    return [folder / "shots" for folder in compat.former_user_folders(PACKAGE)]


def all_homes() -> list[Path]:
    """Every folder with shots that the open file may show."""
    homes = [files.user_shots(), *former()]
    if bpy.data.filepath:
        homes.append(files.shots_folder(bpy.data.filepath))
    for scene in [scene for scene in bpy.data.scenes if scene.library is None]:
        folder = scene.ex4d.folder
        if folder is not None and folder.name.startswith(scene.ex4d.shot):
            homes.append(folder.parent)
    return list(dict.fromkeys(homes))


def take_over() -> None:
    """At start: give shots of earlier versions a second name in the user's data folder.

    What was left behind is removed when Blender starts next, see `tidy`; another Blender may show it right now.
    """
    for home in former():
        for shot in [folder for folder in home.glob("*") if folder.is_dir() and not (folder / files.MOVED).exists()]:
            target = files.user_shots() / shot.name
            with suppress(OSError):  # a full disk, or no right to: then it stays where it is, and in use
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.link_or_copy(shot, target)
                    files.mend_records(shot, target)
                (shot / files.MOVED).write_text(str(target), encoding="utf-8")


def tidy() -> None:
    """At start: remove shots that earlier sessions copied, beside a .blend or from a folder of earlier versions."""
    for home in (files.user_shots(), *former()):
        for marker in home.glob(f"*/{files.MOVED}"):
            if Path(marker.read_text(encoding="utf-8")).is_dir():
                shutil.rmtree(marker.parent, ignore_errors=True)


def look_again() -> None:
    """After a file was loaded: lead its paths into folders of earlier versions to where their shots are now."""
    for owner in files.path_owners():
        place = files.absolute(owner.filepath)
        for home in former():
            if place.is_relative_to(home) and (now := files.user_shots() / place.relative_to(home)).exists():
                owner.filepath = str(now)
