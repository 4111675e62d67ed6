"""What moves, found once more with straightened depth: the nearer it is to the truth, the less can hide behind it."""

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.depth_video import DepthVideo
from ex4d.progress import Progress
from ex4d.source_camera.candidate import Candidate, depth_scale
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import Steadying
from ex4d.source_camera.moving import moving_mask, tolerance
from ex4d.source_camera.steadying import steadied


def moving_again(
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    lens: NDArray[np.float64],
    steady: Steadying,
    task: Task,
    candidate: Candidate,
    progress: Progress,
) -> NDArray[np.bool_]:
    """Where things move independently (T,h,w), as `moving_mask`.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32, before it is steadied.
        lens: (T,3,3) of the candidate, in pixels of (H,W).
        steady: with a field that straightens it.
        task: with the candidate's points.
        candidate: a camera that moves.
        progress: called after each frame.
    """
    straight = steadied(DepthVideo(depth, lens, "straight"), steady).depth
    known = task.with_tracks(task.tracks, straight)
    scale, spread = depth_scale(candidate, known.tracks, known.depth)
    poses = candidate.camera_to_world
    return moving_mask(frames, straight, poses, lens, progress, scale, tolerance(spread))
