"""Trajectories without a lens: TUM's and KITTI's for visual odometry, and rows of 16.

TUM RGB-D ("File Formats" on the benchmark's page): one line per pose, `timestamp tx ty tz qx qy qz qw`,
camera-to-world: the position of the camera's optical centre and its orientation as a unit quaternion, real part last,
in any world. Times are in seconds. Cameras have x right, y down, z forward; monocular SLAM has a unit of its own.
Certain. Some tools (DROID-SLAM, MonST3R) write frame numbers instead of seconds; times are read as frame numbers if all
are integers.

KITTI odometry (readme of its development kit): one line per frame with the 12 numbers of a 3x4 matrix in row-major
order, which maps points from the frame's left camera (x right, y down, z forward) to the left camera of frame 0.
Metres. Certain.

Rows of 16 (InSpatio-World's `target_tcw.txt`, also for Vista4D): one line per frame with a 4x4 world-to-camera matrix
in row-major order, OpenCV axes (its README). Certain.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras import rotations, text
from ex4d.cameras.track import CameraTrack
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.storage.atomic import replacing

UNIT_QUATERNION = 0.02
"""How far the length of a quaternion may be from 1; files have few digits."""


def read_tum(path: Path) -> CameraTrack:
    """Read the track of a TUM trajectory.

    Raises:
        InputError: a line without 8 numbers, a quaternion that is not of unit length, or a duplicate time.
    """
    values = text.table(path, (8,), "timestamp, position, and a quaternion")
    lengths = np.linalg.norm(values[:, 4:], axis=1)
    wrong = np.flatnonzero(np.abs(lengths - 1) > UNIT_QUATERNION)
    if len(wrong):
        raise InputError(
            f"The pose at time {values[wrong[0], 0]:g} of {path} has a quaternion of length {lengths[wrong[0]]:.3g}"
            " instead of 1: a line of a TUM trajectory is timestamp tx ty tz qx qy qz qw."
        )
    values = values[np.argsort(values[:, 0], kind="stable")]
    poses = text.poses_of(rotations.from_quaternions(values[:, [7, 4, 5, 6]]), values[:, 1:4])
    times = values[:, 0]
    if (np.diff(times) == 0).any():
        again = times[np.flatnonzero(np.diff(times) == 0)[0]]
        raise InputError(f"The time {again:g} appears twice in {path}: remove one of the two lines.")
    if (times == np.round(times)).all() and len(times) > 1:
        return CameraTrack("TUM", poses, frames=text.frame_numbers(path, times))
    return CameraTrack("TUM", poses, times=times)


def write_tum(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write a TUM trajectory, with frame numbers for times if there are none; return notes on what it cannot hold."""
    times = track.times if track.times is not None else track.numbered(0)
    quaternions = np.array([rotations.to_quaternion(pose[:3, :3]) for pose in track.camera_to_world])
    _write(
        path, np.concatenate([times[:, None], track.camera_to_world[:, :3, 3], quaternions[:, [1, 2, 3, 0]]], axis=1)
    )
    return _without_lens("A TUM trajectory", track)


def read_kitti(path: Path) -> CameraTrack:
    """Read the track of a KITTI trajectory.

    Raises:
        InputError: a line without 12 numbers, or a matrix that is not a rigid transform.
    """
    values = text.table(path, (12,), "a 3x4 matrix, row by row").reshape(-1, 3, 4)
    poses = text.poses_of(values[:, :, :3], values[:, :, 3])
    return CameraTrack("KITTI", transforms.check(poses, name=f"The matrix in {path}"))


def write_kitti(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write a KITTI trajectory; return notes on what it cannot hold."""
    _write(path, track.camera_to_world[:, :3].reshape(len(track), 12))
    return _without_lens("A KITTI trajectory", track)


def read_rows(path: Path) -> CameraTrack:
    """Read the track of rows of 16.

    Raises:
        InputError: a line without 16 numbers, or a matrix that is not a rigid transform.
    """
    values = text.table(path, (16,), "a 4x4 matrix, row by row").reshape(-1, 4, 4)
    return CameraTrack("rows of 16", transforms.inverse(transforms.check(values, name=f"The matrix in {path}")))


def write_rows(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write rows of 16; return notes on what they cannot hold."""
    _write(path, transforms.inverse(track.camera_to_world).reshape(len(track), 16))
    return _without_lens("A file with rows of 16", track)


def _write(path: Path, values: NDArray) -> None:
    with replacing(path) as temporary:
        temporary.write_text("\n".join(text.as_lines(values)) + "\n", encoding="ascii")


def _without_lens(name: str, track: CameraTrack) -> tuple[str, ...]:
    return (f"{name} cannot hold a lens: it was left out.",) if track.lens is not None else ()
