"""A lead-in: frames from the source view to the start of a path, for generators that were trained to start there.

Time stands still in them: they all show the shot's first frame. They are generated with the shot, then cut off.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.presets import pivot_distance
from ex4d.render.conditioning import begins_at_source
from ex4d.render.scene import Scene

SHORTEST, LONGEST = 8, 16
"""Minimum and maximum number of frames: two to four groups of the video models, which process four frames at a time."""

DEGREES = 2.5
"""Approximate angle per frame by which the camera turns, or moves as seen from the pivot."""


def with_lead_in(scene: Scene, stride: int) -> Scene:
    """The scene of a shot with a lead-in before its path; unchanged if the path begins at the source view.

    Args:
        scene: without a lead-in.
        stride: the generator processes groups of this many frames. The lead-in is a multiple of it, so that the shot's
            frames fall into the same groups as without a lead-in.
    """
    mesh, path = scene.mesh, scene.path
    if begins_at_source(mesh, path):
        return scene
    source, first = mesh.source_to_world[0], path.camera_to_world[0]
    degrees = _degrees(source, first, pivot_distance(mesh.depth[0]))
    wanted = np.clip(np.ceil(degrees / DEGREES), SHORTEST, LONGEST)
    frames = stride * int(np.ceil(wanted / stride))
    share = np.arange(frames) / frames
    poses = _on_the_way(source, first, share * share * (3 - 2 * share))  # slow at both ends
    lens = np.repeat(path.intrinsics[:1], frames, axis=0)
    if (path.width, path.height) == (mesh.width, mesh.height):
        lens = mesh.intrinsics[0] + share[:, None, None] * (lens - mesh.intrinsics[0])
    led = CameraPath(
        np.concatenate([poses, path.camera_to_world]),
        np.concatenate([lens, path.intrinsics]),
        path.width,
        path.height,
        path.notes,
    )
    return replace(scene, path=led, lead_in=frames)


def _degrees(source: NDArray[np.float64], first: NDArray[np.float64], pivot: float) -> float:
    """How far the first camera is from the source camera: its rotation, or its shift seen from the pivot if larger."""
    change = transforms.inverse(source) @ first
    turn = np.arccos(np.clip((np.trace(change[:3, :3]) - 1) / 2, -1, 1))
    return float(np.degrees(max(turn, np.arctan2(np.linalg.norm(change[:3, 3]), pivot))))


def _on_the_way(
    source: NDArray[np.float64], first: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Poses (N,4,4) at fractions (N,), 0 to 1, of the way between two poses (4,4).

    The way is a screw motion, a rotation about one axis with a translation along it (Chasles). So an orbit is followed
    along its circle, and a camera that only translates moves in a straight line.
    """
    change = transforms.inverse(source) @ first
    rotation, shift = change[:3, :3], change[:3, 3]
    poses = np.repeat(np.eye(4)[None], len(share), axis=0)
    skew = (rotation - rotation.T) / 2
    axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    sine, cosine = float(np.linalg.norm(axis)), float((np.trace(rotation) - 1) / 2)
    angle = np.arctan2(sine, cosine)
    if angle < 1e-6:
        poses[:, :3, 3] = share[:, None] * shift
        return source @ poses
    # At half a turn the sine is 0; the axis is then a column of (R + 1) / 2 = axis axis^T.
    symmetric = (rotation + np.eye(3)) / 2
    axis = axis / sine if sine > 1e-6 else symmetric[int(np.argmax(np.diag(symmetric)))]
    axis = axis / np.linalg.norm(axis)
    along = (shift @ axis) * axis
    across = shift - along
    # The fixed point of the rotation, in the plane of `across`.
    centre = (across + np.cross(axis, across) / np.tan(angle / 2)) / 2
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turns = (share * angle)[:, None, None]
    poses[:, :3, :3] = np.eye(3) + np.sin(turns) * cross + (1 - np.cos(turns)) * (cross @ cross)  # Rodrigues
    poses[:, :3, 3] = centre - poses[:, :3, :3] @ centre + share[:, None] * along
    return source @ poses
