"""The part of a clip that is open, and the part that the artist asks for: first frame, number of frames, size.

How the clip is read (step, rate, gaps) was chosen when it was opened and does not change. Frames of a clip are counted
from 1 wherever Blender shows them, and from 0 in jobs.
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
    """Check that a shot of `frames` frames at scene frame `start` ends within Blender's frame range.

    Raises:
        InputError: it does not; all frames beyond would show the last one.
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
        start: first frame, counted from 0.
        frames: number of frames.
        longest_side: longer side of the working picture in pixels; None keeps the clip's own size.
        step: distance between used frames of the clip.
        fps: rate at which the clip is read, as a fraction; None for its own.
        gaps: what replaces missing images.
    """

    start: int
    frames: int
    longest_side: int | None
    step: int = 1
    fps: str | None = None
    gaps: Gaps = "hold"

    @property
    def settings(self) -> dict[str, Any]:
        """The part as settings of a source, see `SourceSettings`."""
        return asdict(self)

    @property
    def last(self) -> int:
        """Last frame, counted from 0."""
        return self.start + (self.frames - 1) * self.step

    def shared(self, other: "Part") -> range:
        """Its frames, counted from its first, that another part shares; empty if that is read or scaled differently."""
        ahead, between = divmod(other.start - self.start, self.step)
        if between or self != replace(other, start=self.start, frames=self.frames):
            return range(0)
        return range(max(0, ahead), min(self.frames, ahead + other.frames))

    def is_in(self, other: "Part") -> bool:
        """Whether another part, read and scaled in the same way, contains all its frames."""
        return len(self.shared(other)) == self.frames


def is_known(facts: bpy.types.PropertyGroup) -> bool:
    """Whether the scene knows which part is open; if not, its record of that is damaged."""
    try:
        opened(facts)
    except InputError:
        return False
    return True


def opened(facts: bpy.types.PropertyGroup) -> Part:
    """The part that is open.

    Raises:
        InputError: the scene's record of it is damaged.
    """
    try:
        return of_settings(json.loads(facts.source)["settings"], facts.frames)
    except (ValueError, KeyError, TypeError):
        raise InputError(translations.word(DAMAGED)) from None


def of_settings(settings: Mapping[str, Any], frames: int) -> Part:
    """The part that settings of a source describe, with this number of frames.

    Raises:
        KeyError, TypeError: the settings are damaged.
    """
    # Shots made before these settings existed have every image, one per frame.
    kept = {"step": 1, "gaps": "leave", **settings}
    return Part(kept["start"], frames, **{name: kept[name] for name in ("longest_side", "step", "fps", "gaps")})


def asked(facts: bpy.types.PropertyGroup) -> Part:
    """The part chosen in the panel, limited to the frames of the clip.

    Raises:
        InputError: see `opened`.
    """
    stands = opened(facts)
    if not facts.part_frames:  # opened by an earlier version, and `show` has not run yet
        return stands
    start, frames = facts.part_first - 1, facts.part_frames
    if facts.clip_frames:
        start = min(start, facts.clip_frames - 1)
        frames = min(frames, len(range(start, facts.clip_frames, stands.step)))
    return replace(stands, start=start, frames=frames, longest_side=facts.part_side or None)


def show(facts: bpy.types.PropertyGroup) -> None:
    """Show the open part in the panel.

    Raises:
        InputError: see `opened`.
    """
    part = opened(facts)
    facts.part_first, facts.part_frames, facts.part_side = part.start + 1, part.frames, part.longest_side or 0


def show_where_missing() -> None:
    """Call `show` for scenes of earlier versions, which did not store the panel's choice."""
    for scene in bpy.data.scenes:
        facts = scene.ex4d
        if scene.library is None and facts.shot and is_known(facts) and not facts.part_frames:
            show(facts)


class _Nth(int):
    """An integer that formats as an English ordinal with `{step:th}`; templates of other languages use `{step}`."""

    def __format__(self, form: str) -> str:
        return ordinal(int(self)) if form == "th" else format(int(self), form)


def told(part: Part, of: int) -> str:
    """The frames of a part in words; `of` is the number of frames of the clip, 0 if not known."""
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
    """Working width and height, in pixels, of a part of the open clip; the current ones if they cannot be computed."""
    if part.longest_side == opened(facts).longest_side or not facts.clip_width:
        return facts.width, facts.height
    try:
        fit = fit_frame(facts.clip_width, facts.clip_height, part.longest_side)
    except InputError:  # too small, which the server will report
        return facts.width, facts.height
    return fit.width, fit.height


def take_size(facts: bpy.types.PropertyGroup, result: ResultSize | None = None) -> tuple[int, int]:
    """Width and height of a take of the shot in pixels, at the panel's Result Size unless another is given.

    They are those of the working picture if the clip's own size is not known.
    """
    working = facts.width, facts.height
    if (result or facts.result_size) != "clip" or not facts.clip_width:
        return working
    try:
        full = FullSize.of(fit_frame(facts.clip_width, facts.clip_height, opened(facts).longest_side))
    except InputError:  # too small, or damaged, which is reported elsewhere
        return working
    return full.width, full.height


def pixels(width: int, height: int, longest_side: int | None) -> int:
    """Number of pixels of the working picture for a clip of this size; 0 if too small, which the server will report."""
    try:
        fit = fit_frame(width, height, longest_side)
    except InputError:
        return 0
    return fit.width * fit.height


def scene_frame(facts: bpy.types.PropertyGroup, start: int) -> int:
    """The scene frame that shows frame `start` (counted from 0) of the clip, whatever part is open.

    A frame that the clip's step skips belongs to the scene frame of the one before it.
    """
    stands = opened(facts)
    return facts.start + (start - stands.start) // stands.step
