"""Whether the camera stands still: tested on the pictures, not assumed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.tracks import BACK_PX, lucas_kanade

COMPARED = 10
"""So many frames, spread over the clip, are compared with the first, and with the middle one."""

STAYS_PX = 0.5
"""A point that ends within so many pixels of the working picture stays where it is."""

CELLS = 8, 6
"""The picture is cut into so many columns and rows: what moves has most of the corners, but not most of the picture."""

CELL_POINTS = 4
"""A cell with fewer points is not looked at."""

ENOUGH_STAYS = 0.15
"""The camera is still where at least this part of the cells stays in every frame compared. Measured: 0.25 and more in
still clips whose hands and people cover most of what has texture; 0.02 and less where the camera moves or turns."""

FEWEST_CELLS = 6
"""With fewer cells nothing can be told."""


@dataclass(frozen=True)
class Stillness:
    """What the test found.

    Attributes:
        cells: how many cells have texture.
        stays: smallest part of them, 0 to 1, that stayed in a frame compared.
    """

    cells: int
    stays: float

    @property
    def can_tell(self) -> bool:
        """Whether there is enough to look at."""
        return self.cells >= FEWEST_CELLS

    @property
    def is_still(self) -> bool:
        """Whether the camera stands still."""
        return self.can_tell and self.stays >= ENOUGH_STAYS


def stillness(grey: NDArray[np.uint8], scale: float) -> Stillness:
    """Compare pictures (T,h,w) with the first and the middle one.

    Args:
        grey: the pictures.
        scale: pixels of them in one of the working picture.
    """
    import cv2

    count = len(grey)
    fewest, stays = CELLS[0] * CELLS[1], 1.0
    for reference in sorted({0, count // 2}):
        p = cv2.goodFeaturesToTrack(grey[reference], 2000, 0.001, max(6.0, 3.0 * scale), blockSize=7)
        p = np.zeros((0, 2), np.float32) if p is None else p.reshape(-1, 2)
        cell = _cells(p, grey.shape[1:])
        textured = np.bincount(cell, minlength=CELLS[0] * CELLS[1]) >= CELL_POINTS
        fewest = min(fewest, int(textured.sum()))
        if fewest < FEWEST_CELLS:
            return Stillness(fewest, 0.0)
        for t in np.unique(np.linspace(0, count - 1, COMPARED).round().astype(int)):
            if t == reference:
                continue
            there, forward = lucas_kanade(grey[reference], grey[t], p)
            back, backward = lucas_kanade(grey[t], grey[reference], there)
            good = forward & backward & (np.hypot(*(back - p).T) < BACK_PX * max(1.0, scale))
            near = good & (np.hypot(*(there - p).T) < STAYS_PX * scale)
            found, stayed = (np.bincount(cell[some], minlength=len(textured)) for some in (good, near))
            still = textured & (stayed >= np.maximum(3, found / 2))
            stays = min(stays, float(still.sum() / textured.sum()))
            if stays < ENOUGH_STAYS:
                return Stillness(fewest, stays)
    return Stillness(fewest, stays)


def _cells(p: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.intp]:
    """The cell that each point lies in."""
    (columns, rows), (height, width) = CELLS, size
    column = np.clip(p[:, 0] * columns / width, 0, columns - 1).astype(np.intp)
    return np.clip(p[:, 1] * rows / height, 0, rows - 1).astype(np.intp) * columns + column
