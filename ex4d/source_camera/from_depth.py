"""Initial cameras, frame by frame, from tracked points and the clip's depth (perspective-n-point, OpenCV).

Depth turns the first sightings into points; each next camera is the one that sees those points where they were
tracked.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.progress import LOCATING, Progress, silent
from ex4d.source_camera.tracks import Tracks

INLIER_PX = 3.0
FEWEST = 12
"""Minimum number of points that determine a camera."""

EDGE = 1.15
"""If distances next to a point differ by more than this ratio, its own distance is uncertain."""


SURFACE = 0.01
"""Around a point on a single surface, the mean disparity differs from its own by less than this fraction."""


@dataclass(frozen=True)
class Chain:
    """Cameras from depth.

    Attributes:
        camera_to_world: (T,4,4), in the unit of the depth of frame 0.
        scale: (T,) factor that fits the depth of each frame to the frames before.
        fits: part of the points, 0 to 1, that agree with the camera, in the frame where it is smallest.
    """

    camera_to_world: NDArray[np.float64]
    scale: NDArray[np.float64]
    fits: float


def depth_at(tracks: Tracks, depth: NDArray[np.float32], scale: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Distance (N,) at each sighting, and whether it is certain, which means not at an edge.

    Args:
        tracks: sightings in pixels of a picture `scale` times as large as the depth.
        depth: (T,H,W) float32.
        scale: see `tracks`.
    """
    height, width = depth.shape[1:]
    column = np.clip((tracks.xy[:, 0] / scale).astype(np.intp), 0, width - 1)
    row = np.clip((tracks.xy[:, 1] / scale).astype(np.intp), 0, height - 1)
    around = [
        depth[tracks.frame, np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    sure = np.max(around, axis=0) < EDGE * np.min(around, axis=0)
    return around[4].astype(np.float64), sure


def on_surface(tracks: Tracks, depth: NDArray[np.float32], scale: float, half: int) -> NDArray[np.bool_]:
    """Whether each sighting (N,) is surrounded by a single surface; at an edge, foreground slides over background.

    The disparity of a plane is linear in the picture, so its mean around a point equals its value there.

    Args:
        tracks, depth, scale: as in `depth_at`.
        half: number of pixels of the picture to each side that count.
    """
    import cv2

    height, width = depth.shape[1:]
    column = np.clip((tracks.xy[:, 0] / scale).astype(np.intp), 0, width - 1)
    row = np.clip((tracks.xy[:, 1] / scale).astype(np.intp), 0, height - 1)
    side = 2 * max(1, round(half / scale)) + 1
    one = np.zeros(len(column), bool)
    for t, frame in enumerate(depth):
        disparity = 1 / frame
        off = np.abs(cv2.blur(disparity, (side, side)) / disparity - 1)
        own = tracks.frame == t
        one[own] = off[row[own], column[own]] < SURFACE
    return one


def chain(
    tracks: Tracks,
    at: NDArray[np.float64],
    sure: NDArray[np.bool_],
    intrinsics: NDArray[np.float64],
    progress: Progress = silent,
) -> Chain | None:
    """Cameras of all frames one after another, or None if a frame shares too few points with the frames before.

    Args:
        tracks: sightings in pixels.
        at, sure: from `depth_at`.
        intrinsics: (T,3,3) in the same pixels.
        progress: called after each frame.
    """
    import cv2

    count = len(intrinsics)
    k = intrinsics[tracks.frame]
    local = np.stack([(tracks.xy[:, 0] - k[:, 0, 2]) / k[:, 0, 0], (tracks.xy[:, 1] - k[:, 1, 2]) / k[:, 1, 1]], 1)
    local = np.concatenate([local, np.ones((len(local), 1))], axis=1) * at[:, None]
    ends = np.searchsorted(tracks.frame, np.arange(count + 1))
    total, seen = np.zeros((tracks.count, 3)), np.zeros(tracks.count)
    poses, scales, fits = [np.eye(4)], [1.0], 1.0
    guess: tuple[NDArray, NDArray] | None = None
    cv2.setRNGSeed(0)
    for t in range(count):
        own = np.arange(ends[t], ends[t + 1])
        if t:
            known = own[seen[tracks.track[own]] > 0]
            if len(known) < FEWEST:
                return None
            points = total[tracks.track[known]] / seen[tracks.track[known], None]
            found = _located(points, tracks.xy[known], intrinsics[t], guess)
            if found is None:
                return None
            pose, inliers, guess = found
            poses.append(pose)
            fits = min(fits, float(inliers.mean()))
            z = (points[inliers] - pose[:3, 3]) @ pose[:3, 2]
            scales.append(float(np.exp(np.median(np.log(np.maximum(z, 1e-9) / at[known][inliers])))))
        use = own[sure[own]]
        world = scales[t] * local[use] @ poses[t][:3, :3].T + poses[t][:3, 3]
        np.add.at(total, tracks.track[use], world)
        np.add.at(seen, tracks.track[use], 1)
        progress(LOCATING, t + 1, count)
    return Chain(np.stack(poses), np.array(scales), fits)


def _located(
    points: NDArray[np.float64], xy: NDArray[np.float64], k: NDArray[np.float64], guess: tuple[NDArray, NDArray] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], tuple[NDArray, NDArray]] | None:
    """Camera-to-world (4,4), which points agree, and OpenCV's form of the pose to start the next frame from."""
    import cv2

    solve: Callable = cv2.solvePnPRansac
    more = {"iterationsCount": 200, "reprojectionError": INLIER_PX, "confidence": 0.999, "flags": cv2.SOLVEPNP_EPNP}
    if guess is None:
        good, turn, move, inliers = solve(points, xy, k, None, **more)
    else:
        good, turn, move, inliers = solve(points, xy, k, None, guess[0].copy(), guess[1].copy(), True, **more)
    if not good or inliers is None or len(inliers) < FEWEST:
        return None
    chosen = inliers.ravel()
    turn, move = cv2.solvePnPRefineLM(points[chosen], xy[chosen], k, None, turn, move)
    from_world = np.eye(4)
    from_world[:3, :3], from_world[:3, 3] = cv2.Rodrigues(turn)[0], move.ravel()
    agree = np.zeros(len(points), bool)
    agree[chosen] = True
    pose = np.eye(4)
    pose[:3, :3] = from_world[:3, :3].T
    pose[:3, 3] = -from_world[:3, :3].T @ from_world[:3, 3]
    return pose, agree, (turn, move)
