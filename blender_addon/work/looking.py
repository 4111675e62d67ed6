"""What is asked of the server while a camera is moved, and what has come of it: the newest look counts.

Knows neither Blender nor the wire: `session.py` brings both together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ex4d.jobs.messages import Look, Seen, Unseen
from ex4d.render import classes

IN_FLIGHT = 2
"""Looks under way: while one travels the other is looked at, else a slow connection would halve the rate."""

LOST_S = 2.0
"""A look without an answer for so long is asked again: the first one of a shot may take that long, too."""
RETRY_S = 3.0
"""After the server could not see anything."""
STALE_S = 0.5
"""So long the view of a camera that has moved on is shown, until the next one comes."""


@dataclass(frozen=True)
class Found:
    """What the server has seen.

    Attributes:
        look: what was asked.
        seen: the answer.
        at: when it came.
    """

    look: Look
    seen: Seen
    at: float

    @property
    def invented(self) -> float:
        """Part of the picture that has to be invented, 0 to 1."""
        return 1 - self.seen.real

    def classes(self) -> NDArray[np.uint8]:
        """Classes (h,w) of the pixels, see `ex4d.render.classes`.

        Raises:
            InputError: they came damaged.
        """
        return classes.unpack(self.seen.classes, self.seen.width, self.seen.height)


class Looking:
    """Looks through the camera as it is now, and along its path.

    A look is known by what it asks, its number left out: as long as camera and shot are the same, so is the answer.
    What the path has is found there, also while it plays.

    Attributes:
        problem: why nothing is seen, a sentence; "" while all is well.
        version: another number whenever the path, or what is known of it, has changed.
    """

    def __init__(self) -> None:
        self.problem, self.version = "", 0
        self._number = 0
        self._now: Look | None = None
        self._path: dict[int, Look] = {}
        self._found: dict[int, Found] = {}
        self._latest: Found | None = None
        self._under_way: dict[int, tuple[Look, float]] = {}
        self._not_before = 0.0

    # -- what is wanted

    def want(self, look: Look | None) -> None:
        """Look through the camera as it is now; None when nobody wants to see it any more."""
        self._now = look

    def want_along(self, frame: int, look: Look) -> None:
        """Look from a frame of the path, counted from 0, as its camera is there."""
        if self._path.get(frame) != look:
            self._path[frame] = look
            self.version += 1

    def want_as_played(self, look: Look) -> None:
        """The camera where it is now is a frame of its path, which is not known otherwise.

        Where the camera was elsewhere the last time, so it may be in all other frames: they wait to be played again.
        """
        known = self._path.get(look.frame)
        if known is not None and not _same(known, look):
            self._path.clear()
        self.want_along(look.frame, look)

    def forget(self) -> None:
        """Another shot, or another camera: nothing that was found holds any more."""
        self._now, self._latest = None, None
        self._path.clear()
        self._found.clear()
        self._under_way.clear()
        self.problem, self._not_before = "", 0.0
        self.version += 1

    def along(self, frame: int) -> Look | None:
        """The look of a frame of the path, as far as it is known."""
        return self._path.get(frame)

    @property
    def places(self) -> int:
        """In how many frames the path is known."""
        return len(self._path)

    @property
    def is_waiting(self) -> bool:
        """Whether answers are under way."""
        return bool(self._under_way)

    @property
    def is_moving(self) -> bool:
        """Whether it is not known yet what the camera sees where it is now."""
        return self._now is not None and self._answer(self._now) is None

    @property
    def is_settled(self) -> bool:
        """Whether all is known that is wanted."""
        return not self._under_way and not self._missing()

    def next(self, now: float) -> list[Look]:
        """Looks to send, which count as sent at `now`, in seconds: through the camera first, then along the path."""
        self._under_way = {n: (look, at) for n, (look, at) in self._under_way.items() if now - at < LOST_S}
        if now < self._not_before:
            return []
        free = IN_FLIGHT - len(self._under_way)
        return [self._sent(look, now) for look in self._missing()[: max(free, 0)]]

    def _missing(self) -> list[Look]:
        asked = {look for look, _ in self._under_way.values()}
        if self._now is not None and self.is_moving:
            wanted = [self._now]
        else:
            wanted = [look for frame, look in self._path.items() if not self._is_known(frame, look)]
        return [look for look in wanted if look not in asked]

    def _is_known(self, frame: int, look: Look) -> bool:
        return frame in self._found and _same(self._found[frame].look, look)

    def _sent(self, look: Look, now: float) -> Look:
        self._number += 1
        self._under_way[self._number] = (look, now)
        return replace(look, number=self._number)

    # -- what has come

    def hear(self, view: Seen | Unseen, now: float) -> bool:
        """Take an answer; True where it is news. Looks before it that had none were overtaken by a newer one."""
        look, _ = self._under_way.pop(view.number, (None, 0.0))
        self._under_way = {number: asked for number, asked in self._under_way.items() if number > view.number}
        if look is None:
            return False
        if isinstance(view, Unseen):
            self.problem, self._not_before = view.message, now + RETRY_S
            return True
        self.problem = ""
        found = Found(look, view, now)
        self._latest = found
        if self._path.get(look.frame) == look:
            self._found[look.frame] = found
            self.version += 1
        return True

    def unanswered(self) -> None:
        """The connection is gone: nothing that is under way will come."""
        self._under_way.clear()

    def shown(self, now: float) -> Found | None:
        """What to show of the camera as it is now; until that has come, for a moment the last that has."""
        wanted = self._now
        if wanted is None:
            return None
        answer = self._answer(wanted)
        if answer is not None:
            return answer
        latest = self._latest
        return latest if latest is not None and now - latest.at < STALE_S else None

    def _answer(self, look: Look) -> Found | None:
        for found in (self._found.get(look.frame), self._latest):
            if found is not None and _same(found.look, look):
                return found
        return None

    def invented_along(self) -> Mapping[int, float]:
        """Part that has to be invented by frame of the path, as far as it is known and the path is still the same."""
        return {frame: self._found[frame].invented for frame, look in self._path.items() if self._is_known(frame, look)}


_EXACT = ("frame", "depth", "source_to_world", "width", "height", "render", "moving", "others")


def _same(one: Look, other: Look) -> bool:
    """Whether two looks see the same, as far as Blender's single precision can tell."""
    if one is other or one == other:
        return True
    if any(getattr(one, name) != getattr(other, name) for name in _EXACT):
        return False
    return _are_near(one.camera_to_world, other.camera_to_world, 2e-6) and _are_near(
        one.intrinsics, other.intrinsics, 1e-4
    )


def _are_near(ones: tuple[float, ...], others: tuple[float, ...], slack: float) -> bool:
    # Not `np.allclose`, which takes ten times as long for so few numbers.
    return all(abs(a - b) <= slack + 1e-5 * abs(b) for a, b in zip(ones, others, strict=True))
