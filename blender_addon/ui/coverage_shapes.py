"""Geometry of the coverage overlay, as plain numbers in pixels and in the world."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ex4d.render import legend

from ..translations import told

Point = tuple[float, float]
Place = tuple[float, float, float]


@dataclass(frozen=True)
class Rect:
    """A rectangle in pixels of a region, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def triangles(self) -> list[Point]:
        """Its two triangles, as corners."""
        low, high = (self.left, self.bottom), (self.right, self.top)
        return [low, (self.right, self.bottom), high, low, high, (self.left, self.top)]


def rect_around(corners: Sequence[Point]) -> Rect:
    """The bounding rectangle of points."""
    across, up = zip(*corners, strict=True)
    return Rect(min(across), min(up), max(across), max(up))


def visible(frame: Rect, width: float, height: float) -> Rect | None:
    """The visible part of the camera's frame in a region of this size; None if it is out of view."""
    left, bottom = max(frame.left, 0), max(frame.bottom, 0)
    right, top = min(frame.right, width), min(frame.top, height)
    return Rect(left, bottom, right, top) if left < right and bottom < top else None


def curve_in(place: Rect, height: float) -> Rect:
    """Place of the curve: along the bottom of the visible part of the camera's frame, at most a third of it high."""
    return Rect(place.left, place.bottom, place.right, place.bottom + min(height, (place.top - place.bottom) / 3))


def bars(invented: Mapping[int, float], frames: int, place: Rect) -> dict[int, list[Rect]]:
    """A bar for each known frame, by warning level; its height is the fraction that has to be invented."""
    step, height = (place.right - place.left) / frames, place.top - place.bottom
    found: dict[int, list[Rect]] = {0: [], 1: [], 2: []}
    for t, part in sorted(invented.items()):
        left = place.left + t * step
        found[legend.level_of(1 - part)].append(Rect(left, place.bottom, left + step, place.bottom + part * height))
    return found


def marker(frame: int, frames: int, place: Rect) -> Rect:
    """The current frame as a thin bar of full height."""
    middle = place.left + (frame + 0.5) * (place.right - place.left) / frames
    return Rect(middle - 1, place.bottom, middle + 1, place.top)


def pieces(places: Mapping[int, Place], invented: Mapping[int, float]) -> dict[int, list[Place]]:
    """A camera's path as segments from frame to frame: the two ends of each, by warning level (0, 1, 2).

    A segment has the level of its worse end; unknown ends count as level 0.
    """
    found: dict[int, list[Place]] = {0: [], 1: [], 2: []}
    for t in sorted(places):
        if t + 1 in places:
            worst = max(invented.get(t, 0.0), invented.get(t + 1, 0.0))
            found[legend.level_of(1 - worst)] += [places[t], places[t + 1]]
    return found


def label(invented: float | None, problem: str) -> str:
    """The text above the curve."""
    if invented is None:
        return problem
    return told("{part} to be invented", part=f"{math.ceil(100 * invented - 1e-9)}%")
