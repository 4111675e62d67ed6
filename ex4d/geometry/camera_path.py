"""Camera paths: one camera per frame, and their file format."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, transforms
from ex4d.storage.npz import Arrays, open_arrays, write_arrays

MOST_PIXELS_A_SIDE = 16384
"""Largest side of a picture that can be rendered, in pixels."""


@dataclass(frozen=True)
class CameraPath:
    """One camera per frame.

    Attributes:
        camera_to_world: (T,4,4) float64, OpenCV axes; world is the source camera of frame 0.
        intrinsics: (T,3,3) float64 in pixels of the picture below, pixel centres at +0.5.
        width, height: size of the picture in pixels.
        notes: sentences about how it was read from a file; not stored.

    Raises:
        InputError: poses that are not rigid, intrinsics that are not valid, or a picture of no possible size.
    """

    camera_to_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    width: int
    height: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        poses = transforms.check(self.camera_to_world, name="camera_to_world")
        object.__setattr__(self, "camera_to_world", poses)
        object.__setattr__(self, "intrinsics", intrinsics.per_frame(self.intrinsics, len(poses)))
        if not (1 <= self.width <= MOST_PIXELS_A_SIDE and 1 <= self.height <= MOST_PIXELS_A_SIDE):
            raise InputError(
                f"A camera's picture cannot be {self.width}x{self.height} pixels: each side is 1 to"
                f" {MOST_PIXELS_A_SIDE}."
            )

    def __len__(self) -> int:
        return len(self.camera_to_world)

    @property
    def extrinsics(self) -> NDArray[np.float64]:
        """World-to-camera (T,4,4)."""
        return transforms.inverse(self.camera_to_world)

    def after(self, first: int) -> "CameraPath":
        """The cameras from index `first` on."""
        return replace(self, camera_to_world=self.camera_to_world[first:], intrinsics=self.intrinsics[first:])

    def in_size(self, width: int, height: int) -> "CameraPath":
        """The same cameras for a picture of another size in pixels; a different aspect ratio squeezes the picture."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return CameraPath(self.camera_to_world, scale @ self.intrinsics, width, height)


def stereo(cameras: CameraPath, eye_distance: float) -> tuple[CameraPath, CameraPath]:
    """Make the paths of a left and a right eye: parallel cameras, `eye_distance` apart in the depth's unit.

    Raises:
        InputError: the distance is not a positive number.
    """
    if not (np.isfinite(eye_distance) and eye_distance > 0):
        raise InputError(f"The eye distance must be a positive number, not {eye_distance}.")
    paths = []
    for side in (-0.5, 0.5):
        poses = cameras.camera_to_world.copy()
        poses[:, :3, 3] += side * eye_distance * poses[:, :3, 0]
        paths.append(CameraPath(poses, cameras.intrinsics, cameras.width, cameras.height))
    return paths[0], paths[1]


def save(path: Path, cameras: CameraPath) -> None:
    """Write a camera file; all or nothing. The same path gives the same bytes, and `load` returns it bit for bit.

    Keys: `camera_to_world` (T,4,4), and for other programs its inverse `extrinsics` (T,4,4), world-to-camera;
    `intrinsics` (T,3,3); `width` and `height` of the picture.

    Raises:
        InputError: the file cannot be written (disk full, no permission).
    """
    write_arrays(
        path,
        {
            "camera_to_world": cameras.camera_to_world,
            "extrinsics": cameras.extrinsics,
            "intrinsics": cameras.intrinsics,
            "width": np.array(cameras.width),
            "height": np.array(cameras.height),
        },
    )


def load(path: Path, frames: int, width: int, height: int) -> CameraPath:
    """Read a file written by `save`, for a clip of `frames` frames of `width` x `height` pixels.

    `ex4d.cameras` reads the files of other tools.

    Keys: `extrinsics` (T,4,4) world-to-camera or `camera_to_world` (T,4,4), in OpenCV axes; if both are present, the
    second is used. `intrinsics` (3,3) or (T,3,3) in pixels. Optional `width` and `height` of the picture; the clip's if
    missing.

    Raises:
        InputError: not an .npz file, a key is missing, or a value cannot be used; says which and why.
    """
    with open_arrays(path, "camera file") as arrays:
        poses = transforms.read(arrays, frames)
        if "intrinsics" not in arrays.headers:
            raise InputError(f"The camera file {path} has no key 'intrinsics': it needs them beside the poses.")
        k = intrinsics.per_frame(arrays.read("intrinsics"), frames, f"intrinsics in {path}")
        width, height = size_of(arrays) or (width, height)
    return CameraPath(poses, k, width, height)


def size_of(arrays: Arrays) -> tuple[int, int] | None:
    """Width and height of the picture that a camera file is for; None if it does not say.

    Raises:
        InputError: they are not integers.
    """
    if not {"width", "height"} <= set(arrays.headers):
        return None
    size = [arrays.headers[key] for key in ("width", "height")]
    if any(s.shape != () or s.dtype.kind not in "iu" for s in size):
        raise InputError(f"width and height in {arrays.path} must be single integers.")
    return int(arrays.read("width")), int(arrays.read("height"))
