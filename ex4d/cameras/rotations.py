"""Rotations as camera files write them, quaternions and Euler angles, and interpolation between poses."""

import numpy as np
from numpy.typing import NDArray

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenGL's axes (x right, y up, z back) to OpenCV's (x right, y down, z forward), and back: a half turn about x."""


def from_quaternions(wxyz: NDArray) -> NDArray[np.float64]:
    """Rotation matrices (N,3,3) of quaternions (N,4), real part first, Hamilton's convention, of any length above 0."""
    w, x, y, z = (np.asarray(wxyz, np.float64) / np.linalg.norm(wxyz, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def to_quaternion(rotation: NDArray) -> NDArray[np.float64]:
    """The unit quaternion (4,) of a rotation matrix (3,3), real part first and non-negative.

    It is the eigenvector for the largest eigenvalue of a symmetric matrix built from the rotation (Bar-Itzhack 2000,
    "New method for extracting the quaternion from a rotation matrix"), which needs no case distinctions.
    """
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(rotation, np.float64)
    symmetric = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    found = np.linalg.eigh(symmetric)[1][:, -1]
    return -found if found[0] < 0 else found


def from_zxy(degrees: NDArray) -> NDArray[np.float64]:
    """Rotation matrices (N,3,3) from angles (N,3) about x, y and z in degrees, applied in the order z, x, y."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(np.radians(degrees)).T, np.cos(np.radians(degrees)).T
    rows = [
        [cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx],
        [cx * sz, cx * cz, -sx],
        [cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def to_zxy(rotations: NDArray) -> NDArray[np.float64]:
    """Inverse of `from_zxy`: angles (N,3) in degrees, without jumps of a full turn from one to the next."""
    x = np.arcsin(np.clip(-rotations[:, 1, 2], -1, 1))
    y = np.arctan2(rotations[:, 0, 2], rotations[:, 2, 2])
    z = np.arctan2(rotations[:, 1, 0], rotations[:, 1, 1])
    # Gimbal lock: straight up or down, y and z rotate about the same axis, and y gets the whole rotation.
    locked = np.abs(rotations[:, 1, 2]) > 1 - 1e-12
    y = np.where(locked, np.arctan2(-rotations[:, 2, 0], rotations[:, 0, 0]), y)
    z = np.where(locked, 0.0, z)
    return np.degrees(np.unwrap(np.stack([x, y, z], axis=-1), axis=0))


def between(one: NDArray, other: NDArray, share: float) -> NDArray[np.float64]:
    """The pose (4,4) at `share` (0 to 1) of the way: position interpolated linearly, rotation by slerp (Shoemake)."""
    p, q = to_quaternion(one[:3, :3]), to_quaternion(other[:3, :3])
    cosine = float(p @ q)
    q = -q if cosine < 0 else q
    angle = np.arctan2(np.linalg.norm(q - p * (p @ q)), p @ q)
    parts = (1 - share, share) if angle < 1e-9 else np.sin([(1 - share) * angle, share * angle]) / np.sin(angle)
    pose = np.eye(4)
    pose[:3, :3] = from_quaternions((parts[0] * p + parts[1] * q)[None])[0]
    pose[:3, 3] = (1 - share) * one[:3, 3] + share * other[:3, 3]
    return pose
