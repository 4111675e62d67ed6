"""The single legend, in colour and pattern, of all pictures that show what is real. Needs numpy only.

Regions that have to be invented are magenta with dark stripes, so that they can be told apart without colour.
"""

import numpy as np
from numpy.typing import NDArray

INVENTED = (255, 0, 255)
"""Where nothing real is seen; hardly any footage has this colour."""

STRIPE = (64, 0, 64)
"""The stripes on it."""

BORROWED = (255, 190, 0)
"""Where another frame saw what is shown; drawn as dots, so that the picture stays visible."""

KEPT = INVENTED
"""What an earlier take invented, which will be shown again; also drawn as dots."""

DOT, DOT_PERIOD = 2, 8
"""Side of a dot in pixels, and the spacing of dots along rows and columns."""

MOVES = (0, 220, 255)
"""Independently moving things in the clip."""

PERIOD, STRIPE_PART = 12, 0.25
"""Spacing of stripes along a row in pixels, and the fraction of it that a stripe takes; stripes rise to the right."""

MUCH_INVENTED, MOST_INVENTED = 0.5, 0.25
"""If less than these parts of a frame are real, much or most of it has to be invented: warning levels 1 and 2."""

LEVELS = ((230, 230, 230), (255, 128, 255), (255, 0, 255))
"""Colours of a camera's path by warning level; each level is also drawn wider, to be readable without colour."""


def as_floats(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour of the legend with channels from 0 to 1."""
    red, green, blue = (channel / 255 for channel in colour)
    return red, green, blue


def level_of(real: float) -> int:
    """Warning level of a frame with this real part: 0, 1 (much has to be invented) or 2 (most has)."""
    return int(real < MUCH_INVENTED) + int(real < MOST_INVENTED)


def stripes(height: int, width: int) -> NDArray[np.bool_]:
    """Where (h,w) the stripes of a picture are."""
    return (np.arange(height)[:, None] + np.arange(width)) % PERIOD < PERIOD * STRIPE_PART


def dots(height: int, width: int) -> NDArray[np.bool_]:
    """Where (h,w) the dots of a picture are."""
    return (np.arange(height)[:, None] % DOT_PERIOD < DOT) & (np.arange(width) % DOT_PERIOD < DOT)


def tint(
    colour: NDArray[np.uint8],
    real: NDArray[np.bool_],
    borrowed: NDArray[np.bool_] | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Pictures (...,h,w,3) with striped `INVENTED` instead of what is not `real` (...,h,w), dots of `BORROWED` on what
    is `borrowed` (...,h,w), and dots of `KEPT` on what is not real but `kept` (...,h,w)."""
    tinted = colour.copy()
    hidden = ~real if kept is None else ~real & ~kept
    tinted[hidden] = INVENTED
    tinted[hidden & stripes(*colour.shape[-3:-1])] = STRIPE
    for where, dot in ((borrowed, BORROWED), (kept, KEPT)):
        if where is not None:
            tinted[where & dots(*colour.shape[-3:-1])] = dot
    return tinted
