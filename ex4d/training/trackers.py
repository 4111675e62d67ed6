"""Trackers that follow points through a clip for tracking masks. Other packages add theirs through an entry point.

A tracker is a function `(frames (T,H,W,3) uint8 RGB) -> Tracks` with its `TrackerSpec`, for instance for TAPIR or
AllTracker.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ex4d import plugins
from ex4d.errors import EX4DError, InputError, PluginError
from ex4d.plain import Text, Word
from ex4d.source_camera.pictures import pictures_of
from ex4d.source_camera.tracks import Tracks, follow

GROUP = "ex4d.trackers"
"""Group of the entry points, each of which names a `TrackerSpec`."""


class Tracker(Protocol):
    """Tracks points."""

    def __call__(self, frames: NDArray[np.uint8]) -> Tracks:
        """Sightings in pixels of the frames (T,H,W,3), sorted by frame."""


@dataclass(frozen=True)
class TrackerSpec:
    """What is known about a tracker.

    Attributes:
        name: on the command line.
        title: for display.
        follow: a `Tracker`, which imports heavy packages only when it runs.
        licence: of its parts.
        version: increased when the same clip would give other tracks.
        rank: greater ranks come first.
    """

    name: Word
    title: Word
    follow: Callable[[NDArray[np.uint8]], Tracks]
    licence: Text = "free for any use"
    version: int = 1
    rank: int = 0


def trackers() -> dict[str, TrackerSpec]:
    """All installed trackers by name, best first."""
    return plugins.ranked(GROUP, TrackerSpec)


def tracker(name: str) -> TrackerSpec:
    """The tracker with this name.

    Raises:
        InputError: there is no such tracker.
    """
    known = trackers()
    if name not in known:
        raise InputError(f"There is no tracker {name[:100]!r} here: choose one of {', '.join(known) or 'none'}.")
    return known[name]


def follow_with(spec: TrackerSpec, frames: NDArray[np.uint8]) -> Tracks:
    """The tracks that a tracker finds in frames (T,H,W,3) uint8 RGB.

    Raises:
        PluginError: it fails, or does not return tracks of this clip.
    """
    try:
        found = spec.follow(frames)
    except (EX4DError, OSError):
        raise
    except Exception as error:  # raised by a package that may not be ours
        raise PluginError(f"The tracker {spec.name} failed: {type(error).__name__}: {error}") from error
    count = len(found.frame) if isinstance(found, Tracks) else -1
    if count < 0 or len(found.track) != count or found.xy.shape != (count, 2) or not np.isfinite(found.xy).all():
        raise PluginError(f"The tracker {spec.name} gave back what are no tracks.")
    if count and (found.frame[0] < 0 or found.frame[-1] >= len(frames) or (np.diff(found.frame) < 0).any()):
        raise PluginError(f"The tracker {spec.name} gave back frames that the clip does not have, or not in order.")
    return found


def lucas_kanade(frames: NDArray[np.uint8]) -> Tracks:
    """Corners tracked forwards and backwards between frames, see `ex4d.source_camera.tracks`. Needs no weights."""
    pictures = pictures_of(frames)
    found = follow(pictures.grey)
    return replace(found, xy=found.xy / pictures.scale)


LUCAS_KANADE = TrackerSpec("lk", "Lucas-Kanade", lucas_kanade, licence="Apache-2.0")
