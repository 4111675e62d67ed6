"""Which other frames of a shot lend their pixels or show where things move, and how many a clean plate adds.

Needs numpy only, so that Blender can choose the same ones.
"""

from collections.abc import Sequence

import numpy as np

DONOR_FRAMES = 8
"""How many frames, evenly spread over the shot, lend pixels: twice as many show half a percent more."""

PLATE_FRAMES = 4
"""Maximum number of frames of a clean plate that lend pixels, evenly spread over it."""

NEARBY = (-6, -4, -2, 2, 4, 6)
"""The frames, counted from one that is filled, that show where things move which that frame cannot see. The outer two
halve what is left of moving things with a still camera and cost it half a point of the picture; see
docs/performance.md."""


def donors(frames: int) -> Sequence[int]:
    """Numbers of the frames that lend pixels, in a shot of `frames` frames."""
    return [int(t) for t in np.unique(np.linspace(0, frames - 1, min(DONOR_FRAMES, frames)).round())]


def nearest_first(donors: Sequence[int], t: int) -> list[int]:
    """The frames that lend pixels to frame `t`, the nearest in time first."""
    return sorted((donor for donor in donors if donor != t), key=lambda donor: abs(donor - t))


def nearby(t: int, frames: int) -> list[int]:
    """The frames that show where things move shortly before and after frame `t`, in a shot of `frames` frames."""
    return [t + away for away in NEARBY if 0 <= t + away < frames]
