"""Camera poses: rigid (4,4) transforms, OpenCV axes (x right, y down, z forward).

A pose is camera-to-world and named accordingly (`camera_to_world`, `source_to_world`): its last column is the camera's
position. Its inverse, world-to-camera, is always called `extrinsics`.
"""

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_file
from ex4d.storage.npz import Arrays


def inverse(poses: NDArray) -> NDArray[np.float64]:
    """Inverse of rigid transforms (...,4,4): camera-to-world from world-to-camera, and vice versa."""
    rotation_t = np.swapaxes(poses[..., :3, :3], -1, -2)
    result = np.zeros(poses.shape, np.float64)
    result[..., :3, :3] = rotation_t
    result[..., :3, 3] = -(rotation_t @ poses[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1
    return result


def turned(angles: NDArray[np.float64], one: int, other: int) -> NDArray[np.float64]:
    """Rotations (T,3,3) by angles in radians in the plane of two axes."""
    found = np.repeat(np.eye(3)[None], len(angles), axis=0)
    found[:, one, one] = found[:, other, other] = np.cos(angles)
    found[:, one, other], found[:, other, one] = np.sin(angles), -np.sin(angles)
    return found


def look_at(eye: NDArray, target: NDArray) -> NDArray[np.float64]:
    """Camera-to-world (4,4) of an upright camera at `eye` (3,) that looks at `target` (3,).

    Upright means that the image's x axis is level, with the world's y axis pointing down.

    Raises:
        InputError: eye and target coincide, or the camera would look straight up or down.
    """
    eye, target = np.asarray(eye, np.float64), np.asarray(target, np.float64)
    forward = target - eye
    if not np.linalg.norm(forward) > 1e-9:
        raise InputError("The camera is at the position of its target: move one of them.")
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    if not np.linalg.norm(right) > 1e-9:
        raise InputError("The camera looks straight up or down, where upright is undefined: move it a little.")
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, eye
    return pose


def check(poses: NDArray, frames: int | None = None, name: str = "extrinsics") -> NDArray[np.float64]:
    """Check that transforms (T,4,4), in either direction, are rigid, and return them as float64.

    Args:
        poses: the transforms.
        frames: the required number; None allows any.
        name: what messages call them.

    Raises:
        InputError: wrong shape or number of frames, not finite, last row not (0,0,0,1), or not a rotation.
    """
    poses = np.asarray(poses)
    count = "T" if frames is None else frames
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or poses.dtype.kind not in "fiu" or len(poses) == 0:
        raise InputError(f"{name} must have the shape ({count}, 4, 4), one matrix per frame, not {poses.shape}.")
    if frames is not None and len(poses) != frames:
        raise InputError(
            f"{name} holds {len(poses)} poses but the clip has {frames} frames: give one pose for each frame."
        )
    poses = poses.astype(np.float64)
    for t, pose in enumerate(poses):
        if not np.isfinite(pose).all():
            raise InputError(f"{name} of {in_file(t)} holds values that are not finite: every entry must be a number.")
        if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
            raise InputError(f"{name} of {in_file(t)} must have (0, 0, 0, 1) as its last row.")
        rotation = pose[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
            raise InputError(
                f"{name} of {in_file(t)} is not a rotation and a shift: its upper left 3x3 part must be orthonormal"
                " with determinant 1 (no scale, no mirror)."
            )
    return poses


def completed(poses: NDArray) -> NDArray:
    """Complete rows (T,3,4), which many tools write, to transforms (T,4,4); return anything else unchanged."""
    if poses.ndim != 3 or poses.shape[1:] != (3, 4) or poses.dtype.kind not in "fiu":
        return poses
    last = np.broadcast_to(np.array([[0, 0, 0, 1]], poses.dtype), (len(poses), 1, 4))
    return np.concatenate([poses, last], axis=1)


def read(arrays: Arrays, frames: int | None = None) -> NDArray[np.float64]:
    """Read camera-to-world (T,4,4) from an .npz file with `camera_to_world`, or with `extrinsics` (world-to-camera).

    Both may lack their last rows, (T,3,4). If a file has both, `camera_to_world` is used as it is, and `extrinsics`
    must agree with it.

    Raises:
        InputError: neither key, keys that contradict each other, or values that `check` refuses.
    """
    path, keys = arrays.path, set(arrays.headers)
    if not keys & {"camera_to_world", "extrinsics"}:
        raise InputError(
            f"The camera file {path} has neither camera_to_world nor extrinsics: it needs one of them, (T,4,4) with"
            " one matrix per frame."
        )
    if "camera_to_world" not in keys:
        return inverse(check(completed(arrays.read("extrinsics")), frames, f"extrinsics in {path}"))
    poses = check(completed(arrays.read("camera_to_world")), frames, f"camera_to_world in {path}")
    if "extrinsics" in keys:
        inverted = inverse(check(completed(arrays.read("extrinsics")), len(poses), f"extrinsics in {path}"))
        if not np.allclose(inverted, poses, rtol=0, atol=1e-3 * max(1, np.abs(poses).max())):
            raise InputError(
                f"The camera file {path} has both camera_to_world and extrinsics, but they are not each other's"
                " inverse: remove the one that is out of date."
            )
    return poses
