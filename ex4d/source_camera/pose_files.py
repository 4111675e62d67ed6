"""Where the camera that shot the clip stood in every frame: with it, static things stand still in the world."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.depth_video import DepthVideo
from ex4d.storage.npz import Arrays, open_arrays, write_arrays

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

MOST_POINTS = 100_000
"""Most points that a file may hold."""

LEAST_SEEN = 8
"""So many times points must be seen in front of the camera before they tell a scale."""


@dataclass(frozen=True)
class SourceCamera:
    """Poses of the camera that shot the clip.

    Attributes:
        camera_to_world: (T,4,4) float64, OpenCV axes; the first is the identity.
        points: (M,3) float64, things that stand still and that the clip shows, in the same world, such as a tracker's
            bundles; M may be 0.
    """

    camera_to_world: NDArray[np.float64]
    points: NDArray[np.float64]


def save(path: Path, camera: SourceCamera) -> None:
    """Write .npz with the fields of `SourceCamera`; all or nothing.

    Raises:
        InputError: the file cannot be written.
    """
    write_arrays(path, {"camera_to_world": camera.camera_to_world, "points": camera.points})


def load(path: Path, clip: "Clip") -> SourceCamera:
    """The source camera from a file.

    Args:
        path: .npz with `camera_to_world` (N,4,4), or with its inverse `extrinsics` (N,4,4), world-to-camera, or with
            both; OpenCV axes (x right, y down, z forward). The world may be any: it is turned so that it becomes the
            camera of the clip's first frame. Optional: `points` (M,3) in that world, see `SourceCamera`; without them
            the distances must be in the unit of the clip's depth.
        clip: whose camera it is. N is the number of its frames, of those of the whole source, or of the source's
            pictures where its rate is variable.

    Raises:
        InputError: missing, damaged, without poses or with two kinds that disagree, of another number, or not rigid.
    """
    with open_arrays(path, "camera file") as arrays:
        poses, points = transforms.read(arrays), _points(arrays, path)
    poses = poses[_frames(path, len(poses), clip)]
    to_first = transforms.inverse(poses[0])
    return SourceCamera(to_first @ poses, points @ to_first[:3, :3].T + to_first[:3, 3])


def in_unit_of(camera: SourceCamera, depth: DepthVideo) -> tuple[SourceCamera, str]:
    """The camera with its distances in the unit of the depth, and a sentence about how that is known.

    A tracker's unit is its own. Where its points are seen, the depth tells how far away they are in the other unit: the
    median of depth over distance, over all points and frames, is the scale. What hides a point, or moves, is outvoted.
    """
    if not len(camera.points):
        guessed = " That unit is a guess, so the two will hardly fit." if depth.is_guess else ""
        return camera, f"The source camera moves, in the unit of the depth.{guessed}"
    _, height, width = depth.depth.shape
    ratios = []
    for pose, k, frame in zip(camera.camera_to_world, depth.intrinsics, depth.depth, strict=True):
        seen = (camera.points - pose[:3, 3]) @ pose[:3, :3]
        seen = seen[seen[:, 2] > 0]
        column, row = (seen @ k.T)[:, :2].T // seen[:, 2]
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        there = frame[row[inside].astype(np.intp), column[inside].astype(np.intp)]
        ratios.append(there / seen[inside, 2])
    found = np.concatenate(ratios)
    if len(found) < LEAST_SEEN:
        return camera, (
            "The source camera moves in the unit of the depth: the points of its file are not in the picture, so they"
            " tell no scale."
        )
    scale = float(np.median(found))
    poses = camera.camera_to_world.copy()
    poses[:, :3, 3] *= scale
    said = (
        f"The source camera moves; its distances were scaled by {scale:.4g}, after {len(camera.points)} points of it."
    )
    return replace(camera, camera_to_world=poses, points=camera.points * scale), said


def _points(arrays: Arrays, path: Path) -> NDArray[np.float64]:
    """Points of a file (M,3); none where it has none."""
    if "points" not in arrays.headers:
        return np.zeros((0, 3))
    shape, kind = arrays.headers["points"].shape, arrays.headers["points"].dtype.kind
    if len(shape) != 2 or shape[1] != 3 or shape[0] > MOST_POINTS or kind != "f":
        raise InputError(f"The points in {path} must be numbers of the shape (M, 3), M at most {MOST_POINTS}.")
    points = arrays.read("points").astype(np.float64)
    if not np.isfinite(points).all():
        raise InputError(f"The points in {path} hold values that are not finite: leave those points out.")
    return points


def _frames(path: Path, count: int, clip: "Clip") -> NDArray[np.int64]:
    """Which stored pose belongs to each frame of the clip (T,)."""
    assert clip.stored is not None
    if count == clip.source_frames:
        return clip.numbers
    if count == len(clip.frames):
        return np.arange(len(clip.frames))
    if count == clip.stored_pictures:
        return clip.stored
    raise InputError(
        f"The camera file {path} has {count} poses, but {clip.source} has {clip.source_frames} frames, of which"
        f" {len(clip.frames)} are used: give one pose for each frame."
    )
