"""Depth as a grey video."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.files.stored import Stored, check_pixels, grey_of, refuse_channel
from ex4d.errors import InputError
from ex4d.media.clip import ClipSource, open_source


@contextmanager
def open_video(path: Path, reading: DepthEncoding) -> Iterator[Stored]:
    """Open the depth in a grey video: 0 is black and 255 white, with finer steps if it has more than 8 bits.

    Raises:
        InputError: not a video, or damaged; in colour, once it is read.
    """
    refuse_channel(path, reading)
    try:
        source = open_source(path)
    except InputError as error:
        raise InputError(
            f"{path} is not a depth file: give .npz or .npy with the depth as (frames, height, width), a folder of"
            f" grey PNG or EXR images, or a grey video. ({error})"
        ) from error
    info = source.info
    check_pixels(path, info.width, info.height)
    yield Stored(
        info.frames,
        info.width,
        info.height,
        partial(_greys, source),
        means="disparity",
        why="a grey video",
        whole=True,
        levels=1 << 16,
        is_picture=True,
        scale=255 / 65535,
    )


def _greys(source: ClipSource, start: int, stop: int) -> Iterator[NDArray[np.uint16]]:
    for picture in source.frames(start, stop, longest_side=None, multiple=1, bits=16):
        yield grey_of(picture, source.path)
