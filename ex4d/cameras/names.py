"""Names of images: their order, and the frame numbers in them."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

_LAST_NUMBER = re.compile(r"([0-9]{1,12})(?!.*[0-9])")


def picture_order(name: str) -> list[int | str]:
    """Sort key that puts image 10 after image 9, in folder names as well as file names."""
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(re.split(r"([0-9]+)", name))]


def number_of(names: Sequence[str]) -> NDArray[np.int64] | None:
    """The frame number (N,) at the end of each name, such as 7 in images/frame_0007.png.

    None if a name has none, two share one, or they do not ascend, because then they are not frame numbers.
    """
    found = [_LAST_NUMBER.search(PurePosixPath(name.replace("\\", "/")).stem) for name in names]
    if not all(found):
        return None
    numbers = np.array([int(one[1]) for one in found if one], np.int64)
    return numbers if (np.diff(numbers) > 0).all() else None
