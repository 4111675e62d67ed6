"""Repair values of a depth file that are not distances: the sky, and holes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_file

FARTHEST_OVER_MEDIAN = 1e6
"""A value more than this many times the frame's median is not a distance."""

MOST_INVALID = 0.5
"""Maximum fraction of a frame's values that may be invalid and repaired."""

SKY_AREA, SKY_WIDTH = 0.1, 0.5
"""An invalid area that covers at least these fractions of a frame and of its upper edge is sky, and so are invalid
areas at the upper edge in the shot's other frames."""

INDOORS = 20.0
"""In metres. If nothing is farther away than this, a sensor has failed at the ceiling, and there is no sky."""


def invalid(values: NDArray[np.float32], distances: bool) -> NDArray[np.bool_]:
    """Where values (H,W) are invalid.

    Distances are valid above 0, and infinite where there is nothing; disparity is valid where it is finite.
    """
    if not distances:
        return ~np.isfinite(values)
    valid = values > 0  # NaN is not
    finite = valid & np.isfinite(values)
    if finite.any():
        valid &= np.isinf(values) | (values <= FARTHEST_OVER_MEDIAN * np.median(values[finite]))
    return ~valid


def mark_sky(depth: NDArray[np.float32], bad: NDArray[np.bool_], nothing: float) -> bool:
    """Put `nothing` into a large invalid area at the upper edge of the pictures, which then no longer counts as bad.

    Args:
        depth, bad: (T,H,W) values of a shot and where they are invalid; changed in place.
        nothing: the value for the sky.

    Returns:
        Whether there was such an area.
    """
    areas = [_at_the_top(frame) if frame[0].any() else np.zeros_like(frame) for frame in bad]
    if not any(_is_large(area, frame) for area, frame in zip(areas, bad, strict=True)):
        return False
    parts = [float(area.mean()) for area in areas]
    for number, (frame, wrong, area) in enumerate(zip(depth, bad, areas, strict=True)):
        # More than half of a single frame is damage, because no camera looks up and down again that fast.
        beside = max([*parts[max(number - 1, 0) : number], *parts[number + 1 : number + 2]], default=0.0)
        if not wrong.all() and (parts[number] <= MOST_INVALID or beside >= parts[number] / 2):
            frame[area], wrong[area] = nothing, False
    return True


def _is_large(area: NDArray[np.bool_], bad: NDArray[np.bool_]) -> bool:
    return bool(area.mean() >= SKY_AREA and area[0].mean() >= SKY_WIDTH and not bad.all())


def _at_the_top(bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of an invalid area (H,W) that is connected to the upper edge."""
    import cv2

    labels = cv2.connectedComponents(bad.astype(np.uint8), connectivity=8)[1]
    return np.isin(labels, np.unique(labels[0][bad[0]]))


def fill_holes(
    depth: NDArray[np.float32], bad: NDArray[np.bool_], path: Path, number: int, distances: bool
) -> NDArray[np.float32]:
    """Replace the bad values (H,W) with those of the nearest good pixels.

    Args:
        depth, bad: (H,W) values and where they are invalid.
        path, number: the file and the frame, for the message.
        distances: whether they are distances or disparity.

    Raises:
        InputError: more than `MOST_INVALID` are bad.
    """
    if not bad.any():
        return depth
    if bad.mean() > MOST_INVALID:
        what = "a distance (NaN, 0, negative or very far)" if distances else "a number (NaN or infinite)"
        hint = "; relative disparity must be read as such" if distances else ""
        raise InputError(
            f"{100 * bad.mean():.0f}% of {in_file(number)} of the depth {path} is not {what}: at most half may be;"
            f" write it as {'distances above 0' if distances else 'numbers'}{hint}."
        )
    import cv2

    labels = cv2.distanceTransformWithLabels(
        bad.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    value_of_label = np.empty(labels.max() + 1, np.float32)
    value_of_label[labels[~bad]] = depth[~bad]
    return np.where(bad, value_of_label[labels], depth)
