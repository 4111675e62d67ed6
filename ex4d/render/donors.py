"""Which frames of a shot are asked what they saw. Needs numpy only, so that Blender can ask for the same ones."""

from collections.abc import Sequence

import numpy as np

DONOR_FRAMES = 8
"""So many frames, evenly spread over the shot, are asked what they saw: twice as many show half a percent more."""


def donors(frames: int) -> Sequence[int]:
    """Numbers of the frames that are asked, of a shot of so many frames."""
    return [int(t) for t in np.unique(np.linspace(0, frames - 1, min(DONOR_FRAMES, frames)).round())]


def nearest_first(donors: Sequence[int], t: int) -> list[int]:
    """The frames that are asked for frame `t`, the nearest in time first."""
    return sorted((donor for donor in donors if donor != t), key=lambda donor: abs(donor - t))
