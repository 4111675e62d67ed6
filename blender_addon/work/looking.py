"""Looks requested from the server while a camera is moved, and their answers; the newest look counts.

Knows neither Blender nor the protocol: `session.py` brings both together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ex4d.jobs.messages import Look, Seen, Unseen
from ex4d.render import classes

IN_FLIGHT = 2
"""Number of looks under way at a time: one is rendered while the other travels, so a slow connection costs no rate."""

LOST_S = 2.0
"""Time without an answer after which a look is sent again; the first look of a shot may take that long, too."""
RETRY_S = 3.0
"""Time to wait after the server could not answer a look."""
STALE_S = 0.5
"""How long an outdated view is shown while the camera has moved on and the next one has not arrived."""


@dataclass(frozen=True)
class Found:
    """An answered look.

    Attributes:
        look: the request.
        seen: the answer.
        at: time of arrival in seconds.
    """

    look: Look
    seen: Seen
    at: float

    @property
    def invented(self) -> float:
        """Fraction of the picture that has to be invented, 0 to 1."""
        return 1 - self.seen.real

    def classes(self) -> NDArray[np.uint8]:
        """Classes (H,W), uint8, of the pixels, see `ex4d.render.classes`.

        Raises:
            InputError: the data is damaged.
        """
        return classes.unpack(self.seen.classes, self.seen.width, self.seen.height)


class Looking:
    """Looks through the camera at its current place and along its path.

    A look is identified by its content, without its number: as long as camera and shot are the same, so is the answer.
    Answers along the path are also used while the path is played.

    Attributes:
        problem: why nothing can be seen, as a sentence; "" if all is well.
        version: a number that changes whenever the path, or what is known about it, changes.
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

    # -- requests

    def want(self, look: Look | None) -> None:
        """Request a look through the camera at its current place; None if nobody wants one any more."""
        self._now = look

    def want_along(self, frame: int, look: Look) -> None:
        """Request a look through the camera at a frame of its path, counted from 0."""
        if self._path.get(frame) != look:
            self._path[frame] = look
            self.version += 1

    def want_as_played(self, look: Look) -> None:
        """Use the camera's current place as a frame of its path, if the path is not known otherwise.

        If the camera was elsewhere in this frame the last time, all other frames may have changed as well, so they are
        forgotten until they are played again.
        """
        known = self._path.get(look.frame)
        if known is not None and not _same(known, look):
            self._path.clear()
        self.want_along(look.frame, look)

    def forget(self) -> None:
        """Forget everything, because shot or camera is another one."""
        self._now, self._latest = None, None
        self._path.clear()
        self._found.clear()
        self._under_way.clear()
        self.problem, self._not_before = "", 0.0
        self.version += 1

    def along(self, frame: int) -> Look | None:
        """The look at a frame of the path; None if not known."""
        return self._path.get(frame)

    @property
    def places(self) -> int:
        """Number of frames in which the path is known."""
        return len(self._path)

    @property
    def lacks_plate(self) -> bool:
        """Whether the latest answer does without the clean plate that its look named."""
        return self._latest is not None and self._latest.look.plate is not None and not self._latest.seen.plate

    @property
    def is_waiting(self) -> bool:
        """Whether any looks are unanswered."""
        return bool(self._under_way)

    @property
    def is_moving(self) -> bool:
        """Whether the look at the camera's current place is still unanswered."""
        return self._now is not None and self._answer(self._now) is None

    @property
    def is_settled(self) -> bool:
        """Whether every requested look is answered."""
        return not self._under_way and not self._missing()

    def next(self, now: float) -> list[Look]:
        """Looks to send at time `now`, in seconds: at the camera's current place first, then along its path."""
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

    # -- answers

    def hear(self, view: Seen | Unseen, now: float) -> bool:
        """Take an answer; True if it is news. Earlier looks without an answer have been superseded and are dropped."""
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
        """Forget looks under way, because the connection is gone."""
        self._under_way.clear()

    def shown(self, now: float) -> Found | None:
        """The answer to show for the camera's current place; until it arrives, briefly the last one that did."""
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
        """Fraction that has to be invented in each frame of the path whose answer is known and up to date."""
        return {frame: self._found[frame].invented for frame, look in self._path.items() if self._is_known(frame, look)}


_EXACT = ("frame", "depth", "source_to_world", "width", "height", "render", "moving", "others", "nearby", "plate")


def _same(one: Look, other: Look) -> bool:
    """Whether two looks are the same within Blender's single precision."""
    if one is other or one == other:
        return True
    if any(getattr(one, name) != getattr(other, name) for name in _EXACT):
        return False
    return _are_near(one.camera_to_world, other.camera_to_world, 2e-6) and _are_near(
        one.intrinsics, other.intrinsics, 1e-4
    )


def _are_near(ones: tuple[float, ...], others: tuple[float, ...], slack: float) -> bool:
    # Not `np.allclose`, which takes ten times as long for this few numbers.
    return all(abs(a - b) <= slack + 1e-5 * abs(b) for a, b in zip(ones, others, strict=True))
