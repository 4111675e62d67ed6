"""A mask of what moves, drawn in Blender: images of it, one for each frame of the clip that is used."""

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
"""Level from which a pixel counts as moving."""


def prepare(request: OpenRequest, go_on: Callable[[OpenRequest], Steps]) -> Steps:
    """Render a request's drawn mask, if it has one, and `go_on` with the request that names the folder of images.

    Raises:
        InputError: see `draw` and `go_on`.
    """
    if not request.moving_mask or (request.moving and Path(request.moving).is_dir()):  # made for an earlier server
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
    """Remove the images made for a request; what moves came back along with the camera."""
    if request.moving_mask and files.lies_in(request.moving, files.masks_folder()):
        shutil.rmtree(request.moving, ignore_errors=True)


def tidy() -> None:
    """At startup, remove images left by a crash. A job that still needs them renders them again."""
    for folder in files.masks_folder().glob("*"):
        if files.is_left_over(folder):
            shutil.rmtree(folder, ignore_errors=True)


def draw(request: OpenRequest, folder: Path) -> Steps:
    """Write an image of the mask for each frame of the clip that the request uses, in order and at the clip's size.

    Scene and mask are looked up for each frame, because there may be an undo between two steps.

    Raises:
        InputError: the mask is gone, covers nothing at all or everything, was drawn over a clip shown on its side, or
            cannot be written.
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
    """The scene frame at which to read the mask for each frame of the clip that these source settings use.

    If the clip is open in the Clip Editor, over which the mask was drawn, that is when the editor shows the frame.
    Otherwise it is when the shot does.
    """
    used = part.of_settings(settings, settings["frames"] or facts.frames)
    clip = clip_of(facts)
    if clip is None:
        first = part.scene_frame(facts, used.start)
        return list(range(first, first + used.frames))
    return [clip.frame_start - clip.frame_offset + place for place in _places(facts, clip, used)]


def clip_of(facts: bpy.types.PropertyGroup) -> bpy.types.MovieClip | None:
    """The shot's clip in the Clip Editor; None if it was not opened there."""
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
    """An image's file name with # for its number, which for Blender is the last one; unchanged without a number."""
    stem, ending = Path(name).stem, Path(name).suffix
    found = list(re.finditer(r"\d+", stem))
    return f"{stem[: found[-1].start()]}#{stem[found[-1].end() :]}{ending.lower()}" if found else name


def note(facts: bpy.types.PropertyGroup) -> str:
    """A note on the scene frames at which the mask is read; "" if they are those of the shot."""
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
    """Position of each frame in Blender's clip, counted from its first frame, in a sequence from the image it names."""
    places = [used.start + number * used.step for number in range(used.frames)]
    numbering = read_source(facts.source).numbering
    if clip.source != "SEQUENCE" or numbering is None:
        return places
    if used.gaps == "leave":
        places = [int(numbering.places[place]) for place in places]
    first, named = numbering.runs[0][0], re.findall(r"\d+", Path(clip.filepath).stem)
    return [first + place * numbering.step - (int(named[-1]) if named else first) for place in places]


def _check_is_upright(facts: bpy.types.PropertyGroup) -> None:
    """Check that the Clip Editor rotates the clip as its file says; Blender 4.2 never does.

    Raises:
        InputError: it does not.
    """
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
    """Width and height of the mask's images: the clip's own size, or the working size if that is not known."""
    return (facts.clip_width, facts.clip_height) if facts.clip_width else (facts.width, facts.height)
