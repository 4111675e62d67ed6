"""Camera poses: rigid (4,4) transforms, OpenCV axes (x right, y down, z forward)."""

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError


def inverse(poses: NDArray) -> NDArray[np.float64]:
    """Inverse of rigid transforms (...,4,4)."""
    rotation_t = np.swapaxes(poses[..., :3, :3], -1, -2)
    result = np.zeros(poses.shape, np.float64)
    result[..., :3, :3] = rotation_t
    result[..., :3, 3] = -(rotation_t @ poses[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1
    return result


def look_at(eye: NDArray, target: NDArray) -> NDArray[np.float64]:
    """Camera-to-world (4,4) of an upright camera at `eye` (3,) that looks at `target` (3,).

    Upright: the image's x axis is level, the world's y axis points down.

    Raises:
        InputError: eye and target coincide, or the camera would look straight up or down.
    """
    eye, target = np.asarray(eye, np.float64), np.asarray(target, np.float64)
    forward = target - eye
    if not np.linalg.norm(forward) > 1e-9:
        raise InputError("The camera stands on its target: move one of them.")
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    if not np.linalg.norm(right) > 1e-9:
        raise InputError("The camera looks straight up or down, where upright has no meaning: move it a little.")
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, eye
    return pose


def check(poses: NDArray, frames: int | None = None, name: str = "extrinsics") -> NDArray[np.float64]:
    """Poses (T,4,4) as float64, after checking that each is a rigid transform.

    Raises:
        InputError: wrong shape or number of frames, not finite, last row not (0,0,0,1), or not a rotation.
    """
    poses = np.asarray(poses)
    count = "T" if frames is None else frames
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or poses.dtype.kind not in "fiu" or len(poses) == 0:
        raise InputError(f"{name} must have the shape ({count}, 4, 4), one matrix a frame, not {poses.shape}.")
    if frames is not None and len(poses) != frames:
        raise InputError(
            f"{name} holds {len(poses)} poses but the clip has {frames} frames: give one pose for each frame."
        )
    poses = poses.astype(np.float64)
    for t, pose in enumerate(poses):
        if not np.isfinite(pose).all():
            raise InputError(f"{name} of frame {t} holds values that are not finite: every entry must be a number.")
        if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
            raise InputError(f"{name} of frame {t} must have (0, 0, 0, 1) as its last row.")
        rotation = pose[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
            raise InputError(
                f"{name} of frame {t} is not a rotation and a shift: its upper left 3x3 part must be orthonormal"
                " with determinant 1 (no scale, no mirror)."
            )
    return poses
