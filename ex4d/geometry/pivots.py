"""Moving a camera around a point that it does not have to look at."""

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_file
from ex4d.geometry import transforms


def seen(point: NDArray[np.float64], camera_to_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions (T,3) of a world point (3,) in the axes of cameras (T,4,4).

    Raises:
        InputError: it is not in front of all of them.
    """
    found = (transforms.inverse(camera_to_world) @ np.append(point, 1.0))[:, :3]
    behind = np.flatnonzero(~(found[:, 2] > 1e-6 * np.linalg.norm(found, axis=1)))
    if len(behind):
        raise InputError(f"The pivot is not in front of the source camera in {in_file(int(behind[0]))}: move it there.")
    return found


def turning_about(points: NDArray[np.float64], unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (T,4,4) of upright cameras that see pivots (T,3) in the same direction as from the origin.

    Args:
        points: the pivots in the axes of each frame's source camera.
        unit: positions (T,3) of a preset around (0, 0, 1). They are turned around the vertical towards each pivot and
            scaled by its horizontal distance, so that an orbit stays level whatever the height of its pivot.
    """
    level = np.hypot(points[:, 0], points[:, 2])
    to_pivot = transforms.turned(np.arctan2(points[:, 0], points[:, 2]), 0, 2)
    eyes = (to_pivot @ (unit * level[:, None])[..., None])[..., 0]
    # A camera R = yaw(a) pitch(b) sees along `was` in its own axes what lies along `now` in the source camera's axes.
    # Yaw preserves heights, so the pitch has to bring `was` to the height of `now`, and the yaw does the rest.
    was, now = _directions(points), _directions(points - eyes)
    across = np.hypot(was[:, 1], was[:, 2])
    pitch = np.arctan2(was[:, 1], was[:, 2]) - np.arcsin(np.clip(now[:, 1] / across, -1, 1))
    aimed = (transforms.turned(pitch, 2, 1) @ was[..., None])[..., 0]
    yaw = np.arctan2(now[:, 0], now[:, 2]) - np.arctan2(aimed[:, 0], aimed[:, 2])
    poses = np.repeat(np.eye(4)[None], len(points), axis=0)
    poses[:, :3, :3], poses[:, :3, 3] = transforms.turned(yaw, 0, 2) @ transforms.turned(pitch, 2, 1), eyes
    return poses


def _directions(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
