"""Which part of a clip is open, and which part the artist asks for: first frame, number of frames, size.

The frames of a clip are counted from 1 wherever Blender shows them; jobs count from 0.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.geometry.intrinsics import fit_frame

from ..words import count


@dataclass(frozen=True)
class Part:
    """A part of a clip.

    Attributes:
        start: its first frame, from 0.
        frames: how many.
        longest_side: of the working picture in pixels; None keeps the clip's own size.
    """

    start: int
    frames: int
    longest_side: int | None

    @property
    def settings(self) -> dict[str, Any]:
        """As settings of a source, see `SourceSettings`."""
        return asdict(self)

    def is_in(self, other: "Part") -> bool:
        """Whether all its frames are frames of another part, in the same size."""
        inside = other.start <= self.start and self.start + self.frames <= other.start + other.frames
        return inside and self.longest_side == other.longest_side


def opened(facts: bpy.types.PropertyGroup) -> Part:
    """The part that stands."""
    settings = json.loads(facts.source)["settings"]
    return Part(settings["start"], facts.frames, settings["longest_side"])


def asked(facts: bpy.types.PropertyGroup) -> Part:
    """The part that the panel asks for, as far as the clip has so much."""
    if not facts.part_frames:  # opened by an earlier version and not shown yet
        return opened(facts)
    start, frames = facts.part_first - 1, facts.part_frames
    if facts.clip_frames:
        start = min(start, facts.clip_frames - 1)
        frames = min(frames, facts.clip_frames - start)
    return Part(start, frames, facts.part_side or None)


def show(facts: bpy.types.PropertyGroup) -> None:
    """Let the panel show the part that stands."""
    part = opened(facts)
    facts.part_first, facts.part_frames, facts.part_side = part.start + 1, part.frames, part.longest_side or 0


def show_where_missing() -> None:
    """`show` in scenes of earlier versions, which did not keep what the panel asks for."""
    for scene in bpy.data.scenes:
        facts = scene.ex4d
        if scene.library is None and facts.shot and facts.source and not facts.part_frames:
            show(facts)


def told(part: Part, of: int) -> str:
    """The frames of a part in words; `of` is how many the clip has, 0 where that is not known."""
    if part.start == 0 and of in (0, part.frames):
        return count(part.frames, "frame")
    first, last = part.start + 1, part.start + part.frames
    frames = f"frame {first}" if first == last else f"frames {first} to {last}"
    return f"{frames} of {of}" if of else frames


def size(facts: bpy.types.PropertyGroup, part: Part) -> tuple[int, int]:
    """Working width and height of a part of the clip that is open; those that stand where they cannot be told."""
    if part.longest_side == opened(facts).longest_side or not facts.clip_width:
        return facts.width, facts.height
    try:
        fit = fit_frame(facts.clip_width, facts.clip_height, part.longest_side)
    except InputError:  # too small, which the server will say
        return facts.width, facts.height
    return fit.width, fit.height


def pixels(width: int, height: int, longest_side: int | None) -> int:
    """Of the working picture of a clip of this size; 0 where it is too small, which the server will say."""
    try:
        fit = fit_frame(width, height, longest_side)
    except InputError:
        return 0
    return fit.width * fit.height


def scene_frame(facts: bpy.types.PropertyGroup, start: int) -> int:
    """The scene frame that shows frame `start` (from 0) of the clip: it stays the same whatever part is open."""
    return facts.start + start - opened(facts).start
