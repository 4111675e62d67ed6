"""A mask of what moves that was drawn in Blender: pictures of it, one for each frame of the clip that is used."""

import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bpy

from ex4d.errors import InputError

from ..scene import mask_picture, objects, pixels
from ..shot import files, part
from ..shot.part import Part
from ..shot.source import Steps, read_source
from ..translations import told
from ..work.requests import OpenRequest

WHITE = 0.5
"""From this level on a pixel moves."""


def prepare(request: OpenRequest, go_on: Callable[[OpenRequest], Steps]) -> Steps:
    """Make pictures of the drawn mask where a request has one, and let the request `go_on` with their folder.

    Raises:
        InputError: see `draw`; or what `go_on` raises.
    """
    if not request.moving_mask or (request.moving and Path(request.moving).is_dir()):  # made for a server that has gone
        return (yield from go_on(request))
    folder = files.masks_folder() / secrets.token_hex(8)
    folder.mkdir(parents=True)
    try:
        yield from draw(request, folder)
        return (yield from go_on(replace(request, moving=str(folder))))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def forget(request: OpenRequest) -> None:
    """Remove the pictures that were made for a request: what moves came back with the camera."""
    if request.moving_mask and files.lies_in(request.moving, files.masks_folder()):
        shutil.rmtree(request.moving, ignore_errors=True)


def tidy() -> None:
    """At start: remove pictures that a crash has left. A job that needs them after all draws them again."""
    for folder in files.masks_folder().glob("*"):
        if files.is_left_over(folder):
            shutil.rmtree(folder, ignore_errors=True)


def draw(request: OpenRequest, folder: Path) -> Steps:
    """Write a picture of the mask for each frame of the clip that the request uses, in order and of the clip's size.

    Scene and mask are looked up for each: there may be an undo between two steps.

    Raises:
        InputError: the mask is gone, or covers nothing at all, or everything; or it was drawn over a clip that lies on
            its side.
    """
    facts = objects.scene_of(request).ex4d
    _check_is_upright(facts)
    frames = scene_frames(facts, request.settings)
    covers_some, leaves_some = False, False
    for number, frame in enumerate(frames):
        yield ("Drawing Mask", number, len(frames))
        mask = bpy.data.masks.get(request.moving_mask)
        if mask is None:
            raise InputError(
                told(
                    "The mask {mask} is gone: choose another one under Source Camera, or none.",
                    mask=request.moving_mask,
                )
            )
        picture = folder / f"moving_{number + 1:05d}.png"
        try:
            mask_picture.draw(mask, frame, _size(objects.scene_of(request).ex4d), folder).replace(picture)
        except (RuntimeError, OSError):
            raise InputError(
                told("Blender could not write the mask to {file}: is the disk full?", file=picture)
            ) from None
        if not (covers_some and leaves_some) and (seen := pixels.read(picture)) is not None:
            white = seen[1][::4] >= WHITE
            covers_some, leaves_some = covers_some or bool(white.any()), leaves_some or not white.all()
    if not covers_some:
        raise InputError(
            told(
                "The mask {mask} covers nothing in scene frames {first} to {last}: draw it over what moves, or"
                " choose no mask to find moving things automatically.",
                mask=request.moving_mask,
                first=frames[0],
                last=frames[-1],
            )
        )
    if not leaves_some:
        raise InputError(
            told(
                "The mask {mask} covers the whole picture in scene frames {first} to {last}, which leaves nothing"
                " to find the camera from: draw it over moving things only, or invert its layer.",
                mask=request.moving_mask,
                first=frames[0],
                last=frames[-1],
            )
        )


def scene_frames(facts: bpy.types.PropertyGroup, settings: dict) -> list[int]:
    """The scene frame in which the mask belongs to each frame of the clip that settings of a source use.

    That is when the Clip Editor shows this frame, if the clip is open there: the mask was drawn over it. Otherwise it
    is when the shot does.
    """
    used = part.of_settings(settings, settings["frames"] or facts.frames)
    clip = clip_of(facts)
    if clip is None:
        first = part.scene_frame(facts, used.start)
        return list(range(first, first + used.frames))
    return [clip.frame_start - clip.frame_offset + place for place in _places(facts, clip, used)]


def clip_of(facts: bpy.types.PropertyGroup) -> bpy.types.MovieClip | None:
    """The shot's clip as the Clip Editor has it; None if nobody has opened it there."""
    opened = Path(facts.opened)
    for clip in bpy.data.movieclips:
        path = files.absolute(clip.filepath)
        if path == opened or (
            clip.source == "SEQUENCE"
            and path.parent in (opened, opened.parent)
            and _pattern(path.name) == _pattern(read_source(facts.source).clip[0].name)
        ):
            return clip
    return None


def _pattern(name: str) -> str:
    """The name of a picture without its number, which for Blender is the last one; its own name where it has none."""
    stem, ending = Path(name).stem, Path(name).suffix
    found = list(re.finditer(r"\d+", stem))
    return f"{stem[: found[-1].start()]}#{stem[found[-1].end() :]}{ending.lower()}" if found else name


def note(facts: bpy.types.PropertyGroup) -> str:
    """What an artist should know of when the mask is read: "" where it is read as the shot plays."""
    if not part.is_known(facts) or (clip := clip_of(facts)) is None:
        return ""
    stands = part.opened(facts)
    frames = scene_frames(facts, stands.settings)
    if frames == list(range(facts.start, facts.last + 1)):
        return ""
    return told(
        "The mask is read in scene frames {first} to {last}, in which the Clip Editor shows the shot's frames of"
        " {clip}.",
        first=frames[0],
        last=frames[-1],
        clip=clip.name,
    )


def _places(facts: bpy.types.PropertyGroup, clip: bpy.types.MovieClip, used: Part) -> list[int]:
    """Where in Blender's clip each frame is, counted from its first: of pictures, from the one that it names."""
    places = [used.start + number * used.step for number in range(used.frames)]
    numbering = read_source(facts.source).numbering
    if clip.source != "SEQUENCE" or numbering is None:
        return places
    if used.gaps == "leave":
        places = [int(numbering.places[place]) for place in places]
    first, named = numbering.runs[0][0], re.findall(r"\d+", Path(clip.filepath).stem)
    return [first + place * numbering.step - (int(named[-1]) if named else first) for place in places]


def _check_is_upright(facts: bpy.types.PropertyGroup) -> None:
    """Raises `InputError` where the Clip Editor does not turn a clip as its file says: Blender 4.2 turns none."""
    clip, (width, height) = clip_of(facts), _size(facts)
    if clip is not None and (clip.size[0] - clip.size[1]) * (width - height) < 0:
        raise InputError(
            told(
                "The Clip Editor of this Blender shows {clip} on its side, so a mask drawn there does not fit the shot:"
                " draw it in Blender 4.5 or later, or give a file as Mask of What Moves.",
                clip=clip.name,
            )
        )


def _size(facts: bpy.types.PropertyGroup) -> tuple[int, int]:
    """Of the pictures: the clip's own size, or the working size where that is not known."""
    return (facts.clip_width, facts.clip_height) if facts.clip_width else (facts.width, facts.height)
