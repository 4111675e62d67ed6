"""How far the camera in a result is from the requested one: RotErr, TransErr, CamMC.

The definitions are those of CameraCtrl (He et al. 2024) and MotionCtrl, here as means over the frames after the first.
Poses are relative to frame 0, and distances are fractions of the true camera's farthest distance from its first
position. Found positions are scaled by least squares, because the unit of a camera found in pictures is unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.metrics.streams import resized
from ex4d.progress import Progress, silent
from ex4d.source_camera.error import STANDS, angles
from ex4d.source_camera.find import find
from ex4d.source_camera.found import AUTO, WHAT_TO_DO, Wish

MOST_FRAMES = 97
WIDEST = 768
"""Longer results are sampled in steps, and wider ones scaled down to this width, so that memory stays bounded."""


@dataclass(frozen=True)
class CameraError:
    """Errors of a found camera.

    Attributes:
        rot_err: degrees between the rotations, mean over frames.
        trans_err: distance between the positions, mean over frames; None if the true camera does not change position.
        cam_mc: Frobenius norm of the difference of [R|t], mean over frames.
    """

    rot_err: float
    trans_err: float | None
    cam_mc: float


@dataclass(frozen=True)
class FoundCamera:
    """The result of searching for a camera in pictures.

    Attributes:
        poses: (n,4,4) camera-to-world; None if it was not found.
        at: (n,) numbers of their frames.
        note: why there is no camera, or a remark about it, or "".
    """

    poses: NDArray[np.float64] | None
    at: NDArray[np.int64]
    note: str = ""


def camera_error(found: NDArray, true: NDArray) -> CameraError:
    """Errors of camera-to-world poses (T,4,4), T >= 2, against true ones (T,4,4)."""
    a, b = (transforms.inverse(poses[:1]) @ poses for poses in (np.asarray(found, float), np.asarray(true, float)))
    far = float(np.linalg.norm(b[:, :3, 3], axis=1).max())
    places, goals = a[:, :3, 3], b[:, :3, 3]
    if far > STANDS:
        spread = float((places**2).sum())
        scale = max(float((places * goals).sum()) / spread, 0.0) if spread > STANDS**2 else 0.0
        places, goals = scale * places / far, goals / far
    else:  # the camera only turns: a translation that was found has no unit to compare it in
        places, goals = np.zeros_like(places), np.zeros_like(goals)
    off = places - goals
    turned = a[:, :3, :3] - b[:, :3, :3]
    whole = np.sqrt((turned**2).sum(axis=(1, 2)) + (off**2).sum(axis=1))
    distance = float(np.linalg.norm(off[1:], axis=1).mean()) if far > STANDS else None
    return CameraError(float(angles(a[1:], b[1:]).mean()), distance, float(whole[1:].mean()))


def _narrowed(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = min(1.0, WIDEST / width)
    return resized(frame, round(width * scale), round(height * scale))


def _said(notes: tuple[str, ...]) -> str:
    """Why there is no camera, without the advice that is of no use here."""
    return " ".join(notes).replace(WHAT_TO_DO, "").replace(" and counts as still", "").strip()


def find_camera(
    frames: Iterable[NDArray[np.uint8]],
    count: int,
    size: tuple[int, int],
    lens: NDArray[np.float64],
    progress: Progress = silent,
) -> FoundCamera:
    """Search a video for its camera with our own estimator (`ex4d.source_camera`) and the requested lens.

    Args:
        frames: (H,W,3) uint8 each; at most `MOST_FRAMES` of them are held in memory.
        count: number of frames.
        size: their width and height.
        lens: (T,3,3) intrinsics in pixels of these pictures.
        progress: called after each step.
    """
    step = -(-count // MOST_FRAMES)
    at = np.arange(0, count, step)
    taken = np.stack([_narrowed(frame) for t, frame in enumerate(frames) if t % step == 0])
    lens = np.diag([taken.shape[2] / size[0], taken.shape[1] / size[1], 1.0]) @ lens
    depth = np.ones(taken.shape[:3], np.float32)  # unknown
    zooms = bool(np.ptp(lens[:, 0, 0]) > 0.01 * lens[0, 0, 0])
    made = find(taken, depth, Wish(AUTO, lens[at], True, depth_is_guess=True, zooms=zooms), progress)
    if made.camera_to_world is None:
        return FoundCamera(None, at, _said(made.choice_notes))
    note = f"The camera was looked for in one frame of every {step}." if step > 1 else ""
    return FoundCamera(made.camera_to_world, at, note)
