"""Masks of independently moving things that the user gives: white is ignored."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.clip import open_source, read_clip
from ex4d.progress import Progress, silent

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

WHITE = 128
"""Pixels from this level up are moving."""


def read(path: Path, clip: "Clip", progress: Progress = silent) -> NDArray[np.bool_]:
    """The mask (T,H,W) of a clip at its working size: scaled and cropped like the clip, unless it has that size.

    Args:
        path: one image for all frames, whatever is beside it, or a video or a folder of images, with one for each frame
            of the whole source, or of the frames that are used.
        clip: whose mask it is.
        progress: called after each frame.

    Raises:
        InputError: it cannot be read, or its number of frames does not match.
    """
    import cv2

    count, fit = len(clip.frames), clip.fit
    there = open_source(path, alone=True).info.frames
    last = clip.start + (count - 1) * clip.step
    if there == 1 or there == count:
        read_ = read_clip(path, frames=there, longest_side=None, alone=True, multiple=2, progress=progress)
    elif there == clip.source_frames and last < there:
        read_ = read_clip(
            path, start=clip.start, frames=count, step=clip.step, longest_side=None, multiple=2, progress=progress
        )
    else:
        raise InputError(
            f"The mask {path.name} has {there} frames, but the clip uses {count} of {clip.source_frames}: give a"
            " mask with as many, or one image for all."
        )
    if read_.frames.shape[1:3] == (fit.height, fit.width):
        return np.broadcast_to(read_.frames.max(axis=-1) >= WHITE, (count, fit.height, fit.width))
    size = fit.scaled_width, fit.scaled_height
    scaled = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA).max(axis=-1) for frame in read_.frames])
    cropped = scaled[:, fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]
    return np.broadcast_to(cropped >= WHITE, (count, fit.height, fit.width))


def resized_mask(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.uint8]:
    """A mask (T,h,w) at another size (T,height,width), 255 where it is set, as in a mask video."""
    import cv2

    large = np.empty((len(mask), height, width), np.uint8)
    for t, one in enumerate(mask):
        large[t] = cv2.resize(one.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_NEAREST)
    return large


def resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask (T,h,w) at another size (width, height); the same array if it has that size."""
    return mask if mask.shape[:0:-1] == size else resized_mask(mask, *size) > 0
