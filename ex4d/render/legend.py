"""The one legend of all pictures that show what is real, in colour and in pattern. Needs numpy only.

What has to be invented is magenta with dark stripes: whoever does not see the colour sees the stripes.
"""

import numpy as np
from numpy.typing import NDArray

INVENTED = (255, 0, 255)
"""Where nothing real is seen; hardly any footage has this colour."""

STRIPE = (64, 0, 64)
"""The stripes on it."""

BORROWED = (255, 190, 0)
"""Where another frame saw what is shown; in dots, so that it can be seen all the same."""

KEPT = INVENTED
"""In dots too: what an earlier take invented, which will be seen again."""

DOT, DOT_PERIOD = 2, 8
"""Side of a dot in pixels, and from dot to dot along rows and columns."""

MOVES = (0, 220, 255)
"""What moves by itself in the clip."""

PERIOD, STRIPE_PART = 12, 0.25
"""Pixels from stripe to stripe along a row, and how much of them the stripe takes; stripes rise to the right."""

MUCH_INVENTED, MOST_INVENTED = 0.5, 0.25
"""Where less than these parts of a frame is real, much or most of it has to be invented: warning levels 1 and 2."""

LEVELS = ((230, 230, 230), (255, 128, 255), (255, 0, 255))
"""A camera's path by warning level; it is drawn wider from level to level, so that it can be read without colours."""


def as_floats(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour of the legend with channels from 0 to 1."""
    red, green, blue = (channel / 255 for channel in colour)
    return red, green, blue


def level_of(real: float) -> int:
    """Warning level of a frame of which this part is real: 0, 1 (much has to be invented) or 2 (most has)."""
    return int(real < MUCH_INVENTED) + int(real < MOST_INVENTED)


def stripes(height: int, width: int) -> NDArray[np.bool_]:
    """Where the stripes (h,w) of a picture are."""
    return (np.arange(height)[:, None] + np.arange(width)) % PERIOD < PERIOD * STRIPE_PART


def dots(height: int, width: int) -> NDArray[np.bool_]:
    """Where the dots (h,w) of a picture are."""
    return (np.arange(height)[:, None] % DOT_PERIOD < DOT) & (np.arange(width) % DOT_PERIOD < DOT)


def tint(
    colour: NDArray[np.uint8],
    real: NDArray[np.bool_],
    borrowed: NDArray[np.bool_] | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Pictures (...,h,w,3) with striped `INVENTED` instead of what is not `real` (...,h,w), dots of `BORROWED` on what
    is `borrowed` (...,h,w), and dots of `KEPT` on what is not real and yet `kept` (...,h,w)."""
    tinted = colour.copy()
    hidden = ~real if kept is None else ~real & ~kept
    tinted[hidden] = INVENTED
    tinted[hidden & stripes(*colour.shape[-3:-1])] = STRIPE
    for where, dot in ((borrowed, BORROWED), (kept, KEPT)):
        if where is not None:
            tinted[where & dots(*colour.shape[-3:-1])] = dot
    return tinted
