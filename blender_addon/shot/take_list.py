"""The list of takes and the disk: takes that are there and not in the list, and takes that are to be gone from both."""

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
    """Put takes and views of the shot's folder into the list that are not there, with strips.

    Returns how many, and a sentence about each that is left out, as it is damaged or was made in a
    world that is not known any more.

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
    """One more entry, as far as the files tell what it is, and its strip where it has none.

    Raises:
        InputError: the world that it was made in is not known.
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
    """The clip's frame (from 0) that a view begins with; `default` for views of earlier versions."""
    try:
        return int(json.loads((folder / takes.VIEW_BEGINS).read_text(encoding="utf-8"))["start"])
    except (OSError, ValueError, KeyError, TypeError):
        return default


def _length(folder: Path) -> int:
    """Frames of a take, by its camera."""
    with open_arrays(folder / take.CAMERA, "camera file") as arrays:
        return len(transforms.read(arrays))


def _record(folder: Path) -> take.TakeRecord | None:
    """What is written of a take; None if that cannot be read, which is reported when it is remade."""
    try:
        return take.read_record(folder / take.SIDECAR)
    except InputError:
        return None


def delete(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> None:
    """Remove a take from the list, from the sequencer and from the disk; also in copies of the scene.

    Raises:
        InputError: the shot's folder is not known, or own objects are rendered into the take.
        OSError: its files cannot be removed; then nothing is.
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
