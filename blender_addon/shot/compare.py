"""Comparing source, path preview and take in the sequencer: temporary strips above all others, marked as ours.

Each is a separate movie strip, cropped (a wipe) or scaled and moved (side by side); the strips of the takes are not
touched. They are only for viewing and left out of F12 renders; see `scene/comparison.py`.
"""

from dataclasses import dataclass
from pathlib import Path

import bpy

from ex4d.errors import InputError

from ..scene import compat
from ..scene.comparison import MARK, clear, marked, top
from ..shot import files, part, take_facts, takes
from ..translations import told, word

WIPE, SIDE_BY_SIDE = "WIPE", "SIDE_BY_SIDE"


@dataclass(frozen=True)
class Side:
    """One side of a comparison: its name, its movie, and its scene frames [first, end)."""

    name: str
    movie: Path
    first: int
    end: int


def sides(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup, against: str) -> list[Side]:
    """What a take is compared with, from left to right, and finally the take.

    Raises:
        InputError: there is nothing to compare with, or a video is gone.
    """
    facts, found = scene.ex4d, []
    if against in ("SOURCE", "BOTH"):
        movie = files.movie_of(facts)
        found.append(Side(word("Clip"), movie, facts.start, facts.last + 1))
    if against in ("VIEW", "BOTH"):
        views = [each for each in facts.takes if each.view and each.number != (entry.number if entry.view else 0)]
        if not views:
            raise InputError(told("There is no path preview to compare with: press Preview Path first."))
        found.append(_side(scene, max(views, key=lambda each: each.number)))
    if against == "STARRED":
        starred = [each for each in facts.takes if each.favourite and each != entry]
        if not starred:
            raise InputError(told("No other take has a star: click the star of the one to compare with."))
        found.append(_side(scene, starred[-1]))
    return [*found, _side(scene, entry)]


def _side(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> Side:
    facts, folder = scene.ex4d, takes.take_folder(scene, entry.number, entry.view)
    movie = take_facts.movie_of(folder, entry.view) if folder is not None else None
    if movie is None:
        raise InputError(told("The video of {title} is gone, so it cannot be compared.", title=entry.title))
    first = part.scene_frame(facts, entry.start) if entry.frames else facts.start
    return Side(entry.title, movie, first, first + (entry.frames or facts.frames))


def arrange(scene: bpy.types.Scene, mode: str, pictures: list[Side]) -> None:
    """Compare `pictures` in the frames that all of them have, replacing the previous comparison.

    Raises:
        InputError: they have no frame in common, a wipe has more than two sides, or a movie cannot be read.
    """
    first, end = max(side.first for side in pictures), min(side.end for side in pictures)
    if first >= end:
        raise InputError(
            told("{one} and {other} have no frame in common to compare.", one=pictures[0].name, other=pictures[-1].name)
        )
    if mode == WIPE and len(pictures) > 2:
        raise InputError(told("A wipe has two sides: set Compare With to Clip, Path Preview or Starred Take."))
    clear(scene)
    channel = top(scene) + 1
    try:
        for number, side in enumerate(pictures):
            strip = compat.new_movie_strip(
                scene, f"EX-4D {side.name}, compared", side.movie, channel + number, side.first
            )
            strip[MARK] = mode
            strip.filepath = files.as_blender_writes(side.movie)
            strip.blend_type = "ALPHA_OVER" if number else "REPLACE"
            strip.select = False
            if compat.strip_range(strip) != (side.first, side.end):
                raise InputError(
                    told("Blender cannot read {file} of {side}: take it again.", file=side.movie.name, side=side.name)
                )
            compat.trim(strip, first, end)
    except Exception:
        clear(scene)
        raise
    place(scene)


def place(scene: bpy.types.Scene) -> None:
    """Crop, scale and move the strips according to their arrangement and the position of the wipe."""
    ours = marked(scene)
    canvas = scene.render.resolution_x, scene.render.resolution_y
    for number, strip in enumerate(ours):
        width, height = _size(scene, strip)
        if strip[MARK] == WIPE:
            strip.crop.min_x = round(scene.ex4d.wipe * width) if number else 0
        else:
            column = canvas[0] / len(ours)
            scale = min(column / width, canvas[1] / height)
            strip.transform.scale_x = strip.transform.scale_y = scale
            strip.transform.offset_x = round((number - (len(ours) - 1) / 2) * column)


def _size(scene: bpy.types.Scene, strip: compat.Strip) -> tuple[int, int]:
    """Width and height of a movie's own frames; the working size if not known."""
    element = strip.elements[0] if len(strip.elements) else None
    if element is not None and element.orig_width and element.orig_height:
        return element.orig_width, element.orig_height
    return scene.ex4d.width, scene.ex4d.height


def forget(scene: bpy.types.Scene, folder: Path) -> None:
    """Before the files of a take are deleted, end comparisons that use them."""
    if any(files.absolute(strip.filepath).is_relative_to(folder) for strip in marked(scene)):
        clear(scene)
