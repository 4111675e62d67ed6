"""What moves and the depth, improved in turn once the camera is known.

The nearer the depth is to the truth, the less can hide behind its errors, so what moves is found once more with
straightened depth. Then other frames refine the depth of everything else.
"""

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.depth_video import DepthVideo
from ex4d.progress import Progress
from ex4d.source_camera import photometric
from ex4d.source_camera.candidate import Candidate, depth_scale
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import Steadying
from ex4d.source_camera.moving import moving_mask, tolerance
from ex4d.source_camera.steadying import steadied


def improved(
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    lens: NDArray[np.float64],
    moving: NDArray[np.bool_],
    steady: Steadying,
    task: Task,
    candidate: Candidate,
    progress: Progress,
    *,
    moving_is_given: bool,
) -> tuple[NDArray[np.bool_], Steadying]:
    """Where things move independently (T,h,w), and what steadies the depth.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32, before it is steadied.
        lens: (T,3,3) of the candidate, in pixels of (H,W).
        moving: (T,h,w) as known so far.
        steady: what steadies the depth, as known so far.
        task: with the candidate's points.
        candidate: the camera.
        progress: called after each frame.
        moving_is_given: whether what moves is to stay as it is.
    """
    poses, moves = candidate.camera_to_world, candidate.moves
    if not moves:
        return moving, photometric.refined(frames, depth, moving, poses, lens, 1.0, steady, progress, moves=False)
    straight = steadied(DepthVideo(depth, lens, "straight"), steady).depth
    known = task.with_tracks(task.tracks, straight)
    scale, spread = depth_scale(candidate, known.tracks, known.depth)
    if steady.field is not None and not moving_is_given:
        moving = moving_mask(frames, straight, poses, lens, progress, scale, tolerance(spread))
    del straight
    if not np.isfinite(spread):  # the unit of the camera is unknown
        return moving, steady
    return moving, photometric.refined(frames, depth, moving, poses, lens, float(np.median(scale)), steady, progress)
