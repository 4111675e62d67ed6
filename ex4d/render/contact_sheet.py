"""A contact sheet: the source, its real part and the result, one above the other, at several frames of a take."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.render import legend
from ex4d.storage.atomic import replacing

GAP, LABEL = 6, 30  # pixels between pictures; height in pixels of a line of text


def heading(frame: int, angle: float) -> str:
    """The heading of a column: the frame, counted from 1 as in Blender, and how far the camera has turned.

    Args:
        frame: number, counted from 0.
        angle: in degrees.
    """
    return f"frame {frame + 1}, {angle:.0f} degrees"


def contact_sheet(
    source: NDArray[np.uint8],
    colour: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    result: NDArray[np.uint8],
    columns: list[tuple[int, str]],
    result_label: str,
) -> NDArray[np.uint8]:
    """Three rows of pictures.

    Args:
        source: (T,H,W,3) uint8 RGB.
        colour, mask, result: (T,h,w,3), (T,h,w), (T,h,w,3) uint8.
        columns: frame number, counted from 0, and `heading` of each column.
        result_label: name of the last row, which distinguishes a preview from a generated result.

    Returns:
        One picture (.,.,3) uint8 RGB.
    """
    height, width = result.shape[1:3]
    holes = legend.tint(colour, mask > 127)
    rows = []
    for label, pictures in (("Source", source), ("Real, and to be invented", holes), (result_label, result)):
        cells = []
        for frame, title in columns:
            cell = np.full((LABEL + height, width, 3), 255, np.uint8)
            picture = pictures[frame]
            if picture.shape[:2] != (height, width):
                picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            cell[LABEL:] = picture
            text = f"{label}  |  {title}"
            cv2.putText(cell, text, (4, LABEL - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA)
            cells += [cell, np.full((LABEL + height, GAP, 3), 255, np.uint8)]
        rows += [
            np.concatenate(cells[:-1], axis=1),
            np.full((GAP, len(columns) * (width + GAP) - GAP, 3), 255, np.uint8),
        ]
    return np.concatenate(rows[:-1], axis=0)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write RGB (h,w,3) uint8 as PNG or JPEG, by the extension of the name.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    encoded = cv2.imencode(path.suffix, picture[..., ::-1])[1]
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
