"""Depth without any model: a ground plane below a horizon, from which what moves against the picture stands up.

The last resort, so that any clip at least stands up. It knows nothing about what the pictures show.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import lens
from ex4d.depth.base import Request, Spec
from ex4d.depth.estimate import Estimate
from ex4d.extras import Package
from ex4d.geometry.depth_video import DepthVideo
from ex4d.media import flow as optical
from ex4d.progress import FOLLOWING_MOVES, GUESSING, Progress, silent

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

NAME = "plane"

NOTE = "The depth is a guess without a depth model: ground plane and parallax only."
"""Stands on everything that is made with it."""

VERSION = 2
"""Changes when the same clip would give other depth."""

HORIZON = 0.42
"""Height of the horizon as a part of the picture, from the top: a camera held level or slightly downwards."""

FARTHEST_OVER_BOTTOM = 5.0
"""The background stands so many times as far as the ground at the lower edge."""

STANDING = 2.0
"""Part of the picture's height over which something that moves keeps half of the nearness of its foot."""

WIDTH = 320
"""Motion is looked at in pictures of at most this width."""

FOOT = 0.03
"""Columns to either side, as a part of the width, that share a foot."""

LEAST_MOTION = 0.15
"""Pixels a frame, at `WIDTH`, below which motion is noise."""

KEPT = 0.99
"""What is left of the standing out of something that has stopped, a frame later."""

IN_FRONT = 1.1
"""What stands out is so many times as near as the ground at its foot, so that it never sinks into it."""

RADIUS, SHARPNESS = 0.025, 0.06
"""Of the guided filter (He 2010): reach as a part of the width, and contrast (of 1) that counts as an edge."""


def run(clip: "Clip", request: Request) -> Estimate:
    """`estimate` with what is said about its unit and licence."""
    depth = estimate(clip, request.focal_px, request.progress)
    return Estimate(depth, "1 unit is the camera's height above the ground (a guess).", "Apache-2.0")


SPEC = Spec(
    NAME,
    "Ground Plane and Parallax",
    "A guess without a depth model",
    run,
    caution=NOTE,
    packages=(Package("cv2", "render"),),
    version=VERSION,
    rank=1,
    is_guess=True,
)


def estimate(clip: "Clip", focal_px: float | None = None, progress: Progress = silent) -> DepthVideo:
    """Depth in units of the camera's height above the ground, smooth in time, of one scale for the whole shot.

    Args:
        clip: any.
        focal_px: in pixels of the source's displayed picture; None assumes a usual lens.
        progress: called after each frame.

    Raises:
        InputError: the focal length is not a positive number.
    """
    k, lens_note = lens.given_or_assumed(clip, focal_px)
    greys = [optical.small_grey(frame, WIDTH) for frame in clip.frames]
    standing = _standing_out(greys, progress)
    ground = _ground(clip.frames.shape[1])
    depth = np.empty(clip.frames.shape[:3], np.float32)
    # At the lower edge, the ground of a level camera of height 1 is f / (rows below the horizon) away.
    height = clip.frames.shape[1]
    bottom = k[:, 1, 1] / ((1 - HORIZON) * height)
    for t, frame in enumerate(clip.frames):
        out = np.clip(_guided(standing[t], greys[t], frame), 0, 1)
        nearness = ground + out * np.maximum(IN_FRONT * _foot(standing[t], frame) - ground, 0)
        depth[t] = bottom[t] / nearness
        progress(GUESSING, t + 1, len(depth))
    return DepthVideo(depth, k, NAME, (NOTE, lens_note), is_guess=True)


def _ground(height: int) -> NDArray[np.float32]:
    """Disparity (h,1) of each row, 1 at the lower edge: a plane up to where the background begins."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height
    return np.maximum((rows - HORIZON) / (1 - HORIZON), 1 / FARTHEST_OVER_BOTTOM)[:, None]


def _foot(standing: NDArray[np.float32], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Disparity (H,W) at the foot of what stands out (h,w), straight below each pixel; less the higher above it."""
    import cv2

    ground = _ground(len(standing))
    keep = 0.5 ** (1 / (STANDING * len(standing)))
    foot = np.empty_like(standing)
    below = np.zeros(standing.shape[1], np.float32)
    for row in range(len(standing) - 1, -1, -1):
        below = np.maximum(keep * below, standing[row] * ground[row])
        foot[row] = below
    # One thing has one foot: neighbouring columns share the nearest.
    side = 2 * round(FOOT * standing.shape[1]) + 1
    shared = cv2.blur(cv2.dilate(foot, np.ones((1, side), np.uint8)), (side, 1))
    return _resized(shared, frame)


def _standing_out(greys: list[NDArray[np.uint8]], progress: Progress) -> NDArray[np.float32]:
    """How much (T,h,w) each pixel moves against the picture as a whole, 0 to 1, held where it stops for a while."""
    import cv2

    count = len(greys)
    result = np.zeros((count, *greys[0].shape), np.float32)
    if count < 2:
        return result
    flow = optical.Flow()
    there = [flow(a, b) for a, b in pairwise(greys)]
    back = []
    for number, (a, b) in enumerate(pairwise(greys)):
        back.append(flow(b, a))
        progress(FOLLOWING_MOVES, number + 1, count - 1)
    for t in range(count):
        moves = [_against_the_picture(f) for f in [*there[t : t + 1], *back[max(t - 1, 0) : t]]]
        result[t] = cv2.GaussianBlur(np.minimum.reduce(moves), (0, 0), 1.5)
    strong = max(float(np.percentile(result, 97)), LEAST_MOTION)
    result = np.clip(result / strong * 1.5 - 0.25, 0, 1)
    for t in range(1, count):
        _hold(result[t], result[t - 1], back[t - 1], there[t - 1])
    for t in range(count - 2, -1, -1):
        _hold(result[t], result[t + 1], there[t], back[t])
    return result


def _hold(
    here: NDArray[np.float32], there: NDArray[np.float32], way: NDArray[np.float32], back: NDArray[np.float32]
) -> None:
    """Let what stands out there (h,w) do so here too, in place, where the flows see the same thing."""
    carried = np.where(optical.followed(way, back), KEPT * optical.warped(there, way), 0)
    np.maximum(here, carried, out=here)


def _against_the_picture(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Speed (h,w) that is left of a flow without the motion of the picture as a whole."""
    import cv2

    height, width = flow.shape[:2]
    y, x = (a.ravel() for a in np.mgrid[4:height:8, 4:width:8].astype(np.float32))
    here = np.stack([x, y], -1)
    there = here + flow[y.astype(int), x.astype(int)]
    affine = cv2.estimateAffine2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=0.5)[0]
    if affine is None:
        return np.zeros((height, width), np.float32)
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    whole = np.stack([u, v, np.ones_like(u)], -1) @ affine.T.astype(np.float32)
    return np.hypot(u + flow[..., 0] - whole[..., 0], v + flow[..., 1] - whole[..., 1])


def _guided(values: NDArray[np.float32], grey: NDArray[np.uint8], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Values (h,w) brought to the frame's size with edges where the picture has them (fast guided filter, He 2015)."""
    import cv2

    guide = grey / np.float32(255)
    side = 2 * max(1, round(RADIUS * grey.shape[1])) + 1

    def mean(picture: NDArray) -> NDArray:
        return np.asarray(cv2.blur(picture, (side, side)))

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values) - mean_guide * mean_values
    slope = covariance / (mean(guide * guide) - mean_guide**2 + SHARPNESS**2)
    offset = mean_values - slope * mean_guide
    full = optical.small_grey(frame, frame.shape[1]).astype(np.float32)
    return _resized(mean(slope) / 255, frame) * full + _resized(mean(offset), frame)


def _resized(values: NDArray, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Values (h,w) interpolated to the size of the frame."""
    import cv2

    return np.asarray(cv2.resize(values, (frame.shape[1], frame.shape[0])), np.float32)
