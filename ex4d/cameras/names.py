"""Names of pictures: their order, and the numbers of frames in them."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

_LAST_NUMBER = re.compile(r"([0-9]{1,12})(?!.*[0-9])")


def picture_order(name: str) -> list[int | str]:
    """Sort key that puts picture 10 after picture 9, in folders as in names."""
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(re.split(r"([0-9]+)", name))]


def number_of(names: Sequence[str]) -> NDArray[np.int64] | None:
    """The frame number (N,) that ends each name, such as 7 of images/frame_0007.png.

    None if one has none, two have the same, or they do not ascend, so that they are no frame numbers.
    """
    found = [_LAST_NUMBER.search(PurePosixPath(name.replace("\\", "/")).stem) for name in names]
    if not all(found):
        return None
    numbers = np.array([int(one[1]) for one in found if one], np.int64)
    return numbers if (np.diff(numbers) > 0).all() else None
