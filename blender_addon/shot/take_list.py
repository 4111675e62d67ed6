"""Keeping the list of takes and the disk in step: listing takes found on disk, and deleting takes from both."""

import json
import shutil
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.pipeline import take
from ex4d.pipeline.requests import Generate
from ex4d.storage.npz import open_arrays

from ..scene import cg, compat
from ..shot import compare, copies, follow, options, part, takes
from ..translations import told


def list_again(scene: bpy.types.Scene) -> tuple[int, list[str]]:
    """List takes and path previews in the shot's folder that are not listed yet, with strips.

    Returns how many, and a sentence about each one left out because it is damaged or because the world it was made in
    is no longer known.

    Raises:
        InputError: the folder of the shot is gone.
    """
    facts, found, damaged = scene.ex4d, 0, []
    if facts.folder is None or not facts.folder.is_dir():
        raise InputError(told("The folder of the shot is gone, so there are no takes to list."))
    listed = {(entry.number, entry.view) for entry in facts.takes}
    for view, word, movie in ((False, "take", take.RESULT), (True, "view", take.COLOUR)):
        for folder in sorted(facts.folder.glob(f"{word}s/{word}_*")):
            number = folder.name.rpartition("_")[2]
            if number.isdecimal() and (int(number), view) not in listed and (folder / movie).is_file():
                before = len(facts.takes)
                try:
                    list_one(scene, folder, int(number), view)
                    found += 1
                except InputError as error:
                    while len(facts.takes) > before:
                        facts.takes.remove(before)
                    facts.take_index = max(0, min(facts.take_index, before - 1))
                    damaged.append(
                        told("{title} is not listed: {error}", title=takes.title_of(int(number), view), error=error)
                    )
    return found, damaged


def list_one(scene: bpy.types.Scene, folder: Path, number: int, view: bool) -> bpy.types.PropertyGroup:
    """Add an entry for a take, with what its files say about it, and a strip if it has none.

    Raises:
        InputError: the world that it was made in is not known, or its files are damaged.
    """
    facts, entry = scene.ex4d, scene.ex4d.takes.add()
    entry.number, entry.view = number, view
    entry.start, entry.frames = part.opened(facts).start, _length(folder)
    level = ""
    if not view and (record := _record(folder)) is not None:
        entry.pixels = record.width * record.height
        entry.generator, entry.quality = record.generator, str(record.settings.get("quality") or "")
        quality = options.told(None, "quality", entry.quality) if entry.quality else ""
        level = "Preview" if record.is_preview else quality
        entry.made = ", ".join([record.title, *([quality] if quality else []), told("seed {seed}", seed=record.seed)])
        if isinstance(record.job, Generate):
            entry.start = record.job.source.settings.start
    if view:
        entry.start = _view_begins(folder, entry.start)
    if not follow.place(facts, entry):
        raise InputError(
            told(
                "the source camera moves, and frame {frame} of the clip, where it begins, is not open: open"
                " that under Frames and Size, then press List from Disk again.",
                frame=entry.start + 1,
            )
        )
    entry.name = entry.title = takes.title_of(number, view, level)
    facts.take_index = len(facts.takes) - 1
    if takes.strip_of(scene, number, view) is None:
        start, names = part.scene_frame(facts, entry.start), (take.VIEW, take.COLOUR) if view else (take.RESULT,)
        movie = next(folder / name for name in names if (folder / name).is_file())
        strip = takes.insert_strip(scene, f"EX-4D {entry.title}", movie, start, entry.frames)
        strip["ex4d_take"], strip["ex4d_shot"], strip["ex4d_view"] = number, facts.shot, view
    return entry


def _view_begins(folder: Path, default: int) -> int:
    """First frame (counted from 0) of the clip in a path preview; `default` for those of earlier versions."""
    try:
        return int(json.loads((folder / takes.VIEW_BEGINS).read_text(encoding="utf-8"))["start"])
    except (OSError, ValueError, KeyError, TypeError):
        return default


def _length(folder: Path) -> int:
    """Number of frames of a take, according to its camera file."""
    with open_arrays(folder / take.CAMERA, "camera file") as arrays:
        return len(transforms.read(arrays))


def _record(folder: Path) -> take.TakeRecord | None:
    """The record of a take; None if it cannot be read, which is reported when the take is remade."""
    try:
        return take.read_record(folder / take.SIDECAR)
    except InputError:
        return None


def delete(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> None:
    """Delete a take from the list, the sequencer and the disk, and from copies of the scene.

    Raises:
        InputError: the shot's folder is not known, or the artist's objects are rendered into the take.
        OSError: its files cannot be deleted; the list and the strips are then unchanged.
    """
    number, view = entry.number, entry.view
    folder = takes.take_folder(scene, number, view)
    if folder is None:
        raise InputError(
            told(
                "The folder of the shot is not known any more, so the files of {title} cannot be found:"
                " press Open Again, or use Remove from List.",
                title=entry.title,
            )
        )
    shown = copies.sharing(scene)
    for each in shown:
        if cg.is_rendered_into(each, folder):
            raise InputError(
                told(
                    "Your own objects in {each} are rendered into {title}: press Remove under CG and Export.",
                    each=each.name,
                    title=entry.title,
                )
            )
    for each in shown:
        compare.forget(each, folder)
    if folder.is_dir():
        shutil.rmtree(folder)
    for each in shown:
        while (strip := takes.strip_of(each, number, view)) is not None:
            compat.remove_strip(each, strip)
        listed = each.ex4d
        for at in reversed([at for at, one in enumerate(listed.takes) if (one.number, one.view) == (number, view)]):
            listed.takes.remove(at)
        listed.take_index = max(0, min(listed.take_index, len(listed.takes) - 1))
