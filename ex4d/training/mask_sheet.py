"""A contact sheet of a dataset: known parts of some clips at several frames, to check that holes stick to surfaces."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.render import legend
from ex4d.render.contact_sheet import GAP, LABEL, write_picture
from ex4d.training.dataset import Dataset

ROWS, COLUMNS = 8, 6
"""Maximum number of rows, and number of frames in each."""

SIDE = 224
"""Side of each picture in pixels."""


def mask_sheet(dataset: Dataset, path: Path) -> None:
    """Write the sheet as PNG: each row shows one clip with one of its masks, with another mask in each row.

    Args:
        dataset: with clips.
        path: ending in .png.

    Raises:
        InputError: a clip is damaged, or the sheet cannot be written.
    """
    count = max(min(len(dataset.clips), ROWS), min(dataset.masks, ROWS))
    places = np.linspace(0, len(dataset.clips) - 1, count).round().astype(int)
    rows = [_row(dataset, dataset.clips[place], number % dataset.masks) for number, place in enumerate(places)]
    write_picture(path, np.concatenate(rows))


def _row(dataset: Dataset, clip: str, mask: int) -> NDArray[np.uint8]:
    sample, about = dataset.load(clip, mask), dataset.about_clip(clip)
    one = about.masks[mask]
    said = ", ".join(filter(None, (one.kind, one.camera)))
    columns = np.linspace(0, len(sample.frames) - 1, COLUMNS).round().astype(int)
    row = np.full((LABEL + SIDE + GAP, COLUMNS * (SIDE + GAP), 3), 255, np.uint8)
    head = f"{about.video}, frame {about.start} on, mask {mask}: {said}; {one.known:.0%} known"
    cv2.putText(row, head, (4, LABEL - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    for column, t in enumerate(columns):
        small = cv2.resize(sample.colour[t], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        known = cv2.resize(sample.mask[t].astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
        left = column * (SIDE + GAP)
        row[LABEL : LABEL + SIDE, left : left + SIDE] = legend.tint(small, known)
    return row
