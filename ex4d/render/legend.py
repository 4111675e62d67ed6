"""The one legend of all pictures that show what is real: magenta is what has to be invented. Needs numpy only."""

import numpy as np
from numpy.typing import NDArray

INVENTED = (255, 0, 255)
"""Where nothing real is seen; hardly any footage has this colour."""


def tint(colour: NDArray[np.uint8], real: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pictures (...,h,w,3) with `INVENTED` in place of what is not `real` (...,h,w)."""
    tinted = colour.copy()
    tinted[~real] = INVENTED
    return tinted
