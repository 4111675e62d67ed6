"""Finding the results of a generator, one per shot, by the shot's name."""

from dataclasses import replace
from pathlib import Path

from ex4d.errors import InputError
from ex4d.metrics.cases import Case
from ex4d.pipeline import take
from ex4d.storage.names import CLIP_ENDINGS, VIDEO_ENDINGS, natural_order, pictures_in

MASK_ENDING = "_mask"
"""The mask of shot.mp4 is called shot_mask.mp4."""


def result_of(folder: Path, name: str, *more: str) -> Path | None:
    """The result of a shot: NAME.mp4, a take's folder NAME or NAME.take, or a folder of images; None if there is none.

    Args:
        folder: of the results.
        name: of the shot; a name with a "/" is also searched for with "_" instead.
        more: names of videos in a folder with that name, such as another program's result.

    Raises:
        InputError: two videos have this name.
    """
    for stem in dict.fromkeys((name, name.replace("/", "_"))):
        place = folder / stem
        videos = [place.with_name(place.name + ending) for ending in VIDEO_ENDINGS]
        there = [path for path in videos if path.is_file()]
        if len(there) > 1:
            raise InputError(f"Both {there[0]} and {there[1].name} could be the result of {name}: keep one.")
        if there:
            return there[0]
        for inside in (place, place.with_name(place.name + ".take")):
            for video in (*more, take.RESULT):
                if (inside / video).is_file():
                    return inside / video
        if place.is_dir() and pictures_in(place, CLIP_ENDINGS):
            return place
    return None


def with_result(case: Case, result: Path) -> Case:
    """The case with a result and the mask beside it: mask.mp4 of a take, or NAME_mask.mp4."""
    beside = [result.with_name(take.MASK)] if result.name == take.RESULT else []
    beside += [result.with_name(result.stem + MASK_ENDING + ending) for ending in (".mp4", ".mkv", "")]
    mask = next((path for path in beside if path.exists()), None)
    return replace(case, result=result, mask=mask if mask is not None else case.mask)


def folders_in(folder: Path) -> list[Path]:
    """The subfolders of a folder, in natural order.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: check the name.")
    found = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(found, key=natural_order)
