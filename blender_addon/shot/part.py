"""Which part of a clip is open, and which part the artist asks for: first frame, number of frames, size.

How the clip is read, its step, rate and gaps, was chosen when it was opened and stays. The frames of a clip are counted
from 1 wherever Blender shows them; jobs count from 0.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.geometry.full_size import FullSize
from ex4d.geometry.intrinsics import fit_frame
from ex4d.pipeline.pictures import ordinal
from ex4d.pipeline.settings import ResultSize
from ex4d.storage.sequence import Gaps

from .. import translations
from ..words import count

DAMAGED = "The scene's record of how its clip was opened is damaged: choose the clip again with Open Clip."


LAST_FRAME = 1_048_574
"""The last frame that a Blender scene can have."""


def check_room(start: int, frames: int) -> None:
    """Refuse a shot of so many frames at scene frame `start` where Blender's frames end before it does.

    Raises:
        InputError: they do; all frames beyond would show the last one.
    """
    if start + frames - 1 > LAST_FRAME:
        raise InputError(
            translations.told(
                "The shot would reach from scene frame {start} to {end}, but Blender's last frame is"
                " {most}: let the scene start earlier (Output properties, Frame Range).",
                start=start,
                end=start + frames - 1,
                most=LAST_FRAME,
            )
        )


@dataclass(frozen=True)
class Part:
    """A part of a clip.

    Attributes:
        start: its first frame, from 0.
        frames: how many.
        longest_side: of the working picture in pixels; None keeps the clip's own size.
        step: every how many-th frame of the clip is one of them.
        fps: rate at which the clip is read, as a fraction; None keeps its own.
        gaps: what stands for missing pictures.
    """

    start: int
    frames: int
    longest_side: int | None
    step: int = 1
    fps: str | None = None
    gaps: Gaps = "hold"

    @property
    def settings(self) -> dict[str, Any]:
        """As settings of a source, see `SourceSettings`."""
        return asdict(self)

    @property
    def last(self) -> int:
        """Its last frame, from 0."""
        return self.start + (self.frames - 1) * self.step

    def shared(self, other: "Part") -> range:
        """Which of its frames, counted from its first, are frames of another part, read and scaled in the same way."""
        ahead, between = divmod(other.start - self.start, self.step)
        if between or self != replace(other, start=self.start, frames=self.frames):
            return range(0)
        return range(max(0, ahead), min(self.frames, ahead + other.frames))

    def is_in(self, other: "Part") -> bool:
        """Whether all its frames are frames of another part, read and scaled in the same way."""
        return len(self.shared(other)) == self.frames


def is_known(facts: bpy.types.PropertyGroup) -> bool:
    """Whether the scene knows which part stands; else what it kept of that is damaged."""
    try:
        opened(facts)
    except InputError:
        return False
    return True


def opened(facts: bpy.types.PropertyGroup) -> Part:
    """The part that stands.

    Raises:
        InputError: what the scene kept of it is damaged.
    """
    try:
        return of_settings(json.loads(facts.source)["settings"], facts.frames)
    except (ValueError, KeyError, TypeError):
        raise InputError(translations.word(DAMAGED)) from None


def of_settings(settings: Mapping[str, Any], frames: int) -> Part:
    """The part that settings of a source ask for, where it has so many `frames`.

    Raises:
        KeyError, TypeError: they are damaged.
    """
    # A shot from before there were these has every picture, one a frame.
    kept = {"step": 1, "gaps": "leave", **settings}
    return Part(kept["start"], frames, **{name: kept[name] for name in ("longest_side", "step", "fps", "gaps")})


def asked(facts: bpy.types.PropertyGroup) -> Part:
    """The part that the panel asks for, as far as the clip has so much."""
    stands = opened(facts)
    if not facts.part_frames:  # opened by an earlier version and not shown yet
        return stands
    start, frames = facts.part_first - 1, facts.part_frames
    if facts.clip_frames:
        start = min(start, facts.clip_frames - 1)
        frames = min(frames, len(range(start, facts.clip_frames, stands.step)))
    return replace(stands, start=start, frames=frames, longest_side=facts.part_side or None)


def show(facts: bpy.types.PropertyGroup) -> None:
    """Let the panel show the part that stands."""
    part = opened(facts)
    facts.part_first, facts.part_frames, facts.part_side = part.start + 1, part.frames, part.longest_side or 0


def show_where_missing() -> None:
    """`show` in scenes of earlier versions, which did not keep what the panel asks for."""
    for scene in bpy.data.scenes:
        facts = scene.ex4d
        if scene.library is None and facts.shot and is_known(facts) and not facts.part_frames:
            show(facts)


class _Nth(int):
    """A number that English writes with its ending, where a template says `{step:th}`, and others with a full stop."""

    def __format__(self, form: str) -> str:
        return ordinal(int(self)) if form == "th" else format(int(self), form)


def told(part: Part, of: int) -> str:
    """The frames of a part in words; `of` is how many the clip has, 0 where that is not known."""
    every = translations.told(", every {step:th} one", step=_Nth(part.step)) if part.step > 1 else ""
    if part.start == 0 and of in (0, part.frames):
        return count(part.frames, "frame") + every
    first, last = part.start + 1, part.last + 1
    frames = (
        translations.told("frame {first}", first=first)
        if first == last
        else translations.told("frames {first} to {last}", first=first, last=last)
    )
    return (translations.told("{frames} of {of}", frames=frames, of=of) if of else frames) + every


def size(facts: bpy.types.PropertyGroup, part: Part) -> tuple[int, int]:
    """Working width and height of a part of the clip that is open; those that stand where they cannot be told."""
    if part.longest_side == opened(facts).longest_side or not facts.clip_width:
        return facts.width, facts.height
    try:
        fit = fit_frame(facts.clip_width, facts.clip_height, part.longest_side)
    except InputError:  # too small, which the server will say
        return facts.width, facts.height
    return fit.width, fit.height


def take_size(facts: bpy.types.PropertyGroup, result: ResultSize | None = None) -> tuple[int, int]:
    """Width and height of a take of the shot, of the Result Size that the panel says where no other is given.

    It is that of the working picture where the clip's own size is not known.
    """
    working = facts.width, facts.height
    if (result or facts.result_size) != "clip" or not facts.clip_width:
        return working
    try:
        full = FullSize.of(fit_frame(facts.clip_width, facts.clip_height, opened(facts).longest_side))
    except InputError:  # too small, or damaged, which is told where it matters
        return working
    return full.width, full.height


def pixels(width: int, height: int, longest_side: int | None) -> int:
    """Of the working picture of a clip of this size; 0 where it is too small, which the server will say."""
    try:
        fit = fit_frame(width, height, longest_side)
    except InputError:
        return 0
    return fit.width * fit.height


def scene_frame(facts: bpy.types.PropertyGroup, start: int) -> int:
    """The scene frame that shows frame `start` (from 0) of the clip: it stays the same whatever part is open.

    A frame that the step of the clip leaves out belongs to the scene frame that shows the one before it.
    """
    stands = opened(facts)
    return facts.start + (start - stands.start) // stands.step
