"""Depth of some frames together with the poses of the cameras that shot them, in one file. Needs only numpy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.depth_video import DepthFile, DepthVideo, save_depth
from ex4d.storage.npz import open_arrays

POSES = "camera_to_world"
"""Name of the array with the poses, which is all that such a file adds to a depth file."""


def save_posed(path: Path, depth: DepthVideo, camera_to_world: NDArray[np.float64]) -> None:
    """Write a packed depth file with the poses (T,4,4) of its frames; all or nothing.

    Raises:
        InputError: the file cannot be written.
    """
    save_depth(path, depth, packed=True, **{POSES: camera_to_world})


@contextmanager
def open_posed(path: Path, most_frames: int) -> Iterator[tuple[DepthFile, NDArray[np.float64]]]:
    """Open a file written by `save_posed`, to read its frames one at a time; its poses (T,4,4) are read at once.

    Raises:
        InputError: missing, damaged, without one of its arrays, or with more than `most_frames` frames.
    """
    with open_arrays(path, "depth file") as arrays:
        file, header = DepthFile(arrays), arrays.headers.get(POSES)
        count = file.shape[0]
        if count > most_frames:
            raise InputError(f"{path} has {count} frames of depth, but at most {most_frames} can be used.")
        if header is None or header.shape != (count, 4, 4) or header.dtype != np.float64:
            raise InputError(f"{path} does not have the pose of the camera for each frame of depth.")
        yield file, transforms.check(arrays.read(POSES), count, POSES)
