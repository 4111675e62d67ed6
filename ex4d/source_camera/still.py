"""Whether the camera is still: tested on the pictures, not assumed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.source_camera.tracks import BACK_PX, lucas_kanade

COMPARED = 10
"""Number of frames, spread over the clip, that are compared with the first frame, and with the middle one."""

STAYS_PX = 0.5
"""A point that ends within this many pixels of the working picture has not moved."""

CELLS = 8, 6
"""Columns and rows into which the picture is divided, because moving things may have most of the corners, but not most
of the picture."""

CELL_POINTS = 4
"""A cell with fewer points is ignored."""

ENOUGH_STAYS = 0.15
"""The camera is still if at least this part of the cells does not move in any frame compared. Measured: 0.25 and more
in still clips in which hands and people cover most of the texture; 0.02 and less if the camera moves or turns."""

FEWEST_CELLS = 6
"""Minimum number of cells for a decision."""


@dataclass(frozen=True)
class Stillness:
    """Result of the test.

    Attributes:
        cells: number of cells with texture.
        stays: smallest part of them, 0 to 1, that did not move in a frame compared.
    """

    cells: int
    stays: float

    @property
    def can_tell(self) -> bool:
        """Whether there is enough texture to decide."""
        return self.cells >= FEWEST_CELLS

    @property
    def is_still(self) -> bool:
        """Whether the camera is still."""
        return self.can_tell and self.stays >= ENOUGH_STAYS


def stillness(grey: NDArray[np.uint8], scale: float) -> Stillness:
    """Compare pictures (T,h,w) uint8 with the first and the middle one.

    Args:
        grey: the pictures.
        scale: pixels of these pictures per pixel of the working picture.
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
    """The cell (n,) that contains each point (n,2)."""
    (columns, rows), (height, width) = CELLS, size
    column = np.clip(p[:, 0] * columns / width, 0, columns - 1).astype(np.intp)
    return np.clip(p[:, 1] * rows / height, 0, rows - 1).astype(np.intp) * columns + column
