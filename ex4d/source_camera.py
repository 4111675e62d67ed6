"""Where the camera that shot the clip stood in every frame: with it, static things stand still in the world."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d import extrinsics
from ex4d.arrays import open_arrays
from ex4d.errors import InputError

if TYPE_CHECKING:
    from ex4d.clip import Clip

KEYS = ("camera_to_world", "extrinsics")


def load(path: Path, clip: "Clip") -> NDArray[np.float64]:
    """Poses of the source camera from a file.

    Args:
        path: .npz with `camera_to_world` (N,4,4), or with `extrinsics` (N,4,4) world-to-camera; OpenCV axes (x right,
            y down, z forward), distances in the unit of the clip's depth. The world may be any: it is turned so that
            it becomes the camera of the clip's first frame.
        clip: whose camera it is. N is the number of its frames, of those of the whole source, or of the source's
            pictures where its rate is variable.

    Returns:
        Camera-to-world (T,4,4), the first of which is the identity.

    Raises:
        InputError: missing, damaged, without poses or with both kinds, of another number, or not rigid.
    """
    with open_arrays(path, "camera file") as arrays:
        found = [key for key in KEYS if key in arrays.headers]
        if len(found) != 1:
            has = "both camera_to_world and" if found else "neither camera_to_world nor"
            raise InputError(
                f"The camera file {path} has {has} extrinsics: it needs one of them, (T,4,4) with one matrix a frame."
            )
        name, poses = found[0], arrays.read(found[0])
    poses = extrinsics.check(poses, name=f"{name} in {path}")
    poses = poses[_frames(path, len(poses), clip)]
    if name == "extrinsics":
        poses = extrinsics.inverse(poses)
    return relative_to_first(poses)


def relative_to_first(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Camera-to-world (T,4,4) in the world that is the first camera."""
    return extrinsics.inverse(poses[0]) @ poses


def _frames(path: Path, count: int, clip: "Clip") -> NDArray[np.int64]:
    """Which stored pose belongs to each frame of the clip (T,)."""
    assert clip.stored is not None
    if count == clip.source_frames:
        return clip.start + np.arange(len(clip.frames))
    if count == len(clip.frames):
        return np.arange(len(clip.frames))
    if count == clip.stored_pictures:
        return clip.stored
    raise InputError(
        f"The camera file {path} has {count} poses, but {clip.source} has {clip.source_frames} frames, of which"
        f" {len(clip.frames)} are used: give one pose for each frame."
    )
