"""Depth without any model: a ground plane below a horizon, with whatever moves against the picture standing up from it.

The last resort, which gives any clip at least some relief. It knows nothing about the content of the pictures.
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
"""Note on everything that is made with it."""

VERSION = 2
"""Changes when the same clip would give different depth."""

HORIZON = 0.42
"""Height of the horizon as a fraction of the picture, from the top: a camera held level or slightly downwards."""

FARTHEST_OVER_BOTTOM = 5.0
"""Distance of the background, as a multiple of that of the ground at the lower edge."""

STANDING = 2.0
"""Fraction of the picture's height over which something that moves keeps half of the nearness of its foot."""

WIDTH = 320
"""Motion is measured in pictures of at most this width."""

FOOT = 0.03
"""Columns to either side that share a foot, as a fraction of the width."""

LEAST_MOTION = 0.15
"""Motion below this is noise, in pixels per frame at `WIDTH`."""

KEPT = 0.99
"""What remains, a frame later, of how much something that has stopped stands out, as a fraction."""

IN_FRONT = 1.1
"""How many times as near as the ground at its foot a standing thing is, so that it never sinks into the ground."""

RADIUS, SHARPNESS = 0.025, 0.06
"""Guided filter (He 2010): radius as a fraction of the width, and contrast (of 1) that counts as an edge."""


def run(clip: "Clip", request: Request) -> Estimate:
    """Run `estimate`, and add its unit and licence."""
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
    """Guess depth in units of the camera's height above the ground, smooth in time, at one scale for the whole shot.

    Args:
        clip: any.
        focal_px: focal length in pixels of the source's displayed picture; None assumes a typical lens.
        progress: called after each frame.

    Raises:
        InputError: the focal length is not a positive number, or impossible for a lens.
    """
    k, lens_note = lens.given_or_assumed(clip, focal_px)
    greys = [optical.small_grey(frame, WIDTH) for frame in clip.frames]
    standing = _standing_out(greys, progress)
    ground = _ground(clip.frames.shape[1])
    depth = np.empty(clip.frames.shape[:3], np.float32)
    # For a level camera at height 1, the ground at the lower edge is f / (rows below the horizon) away.
    height = clip.frames.shape[1]
    bottom = k[:, 1, 1] / ((1 - HORIZON) * height)
    for t, frame in enumerate(clip.frames):
        out = np.clip(_guided(standing[t], greys[t], frame), 0, 1)
        nearness = ground + out * np.maximum(IN_FRONT * _foot(standing[t], frame) - ground, 0)
        depth[t] = bottom[t] / nearness
        progress(GUESSING, t + 1, len(depth))
    return DepthVideo(depth, k, NAME, (NOTE, lens_note), is_guess=True)


def _ground(height: int) -> NDArray[np.float32]:
    """Disparity (h,1) of each row, 1 at the lower edge: a plane up to the start of the background."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height
    return np.maximum((rows - HORIZON) / (1 - HORIZON), 1 / FARTHEST_OVER_BOTTOM)[:, None]


def _foot(standing: NDArray[np.float32], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Disparity (H,W) at the foot of standing things (h,w), straight below each pixel; fades with height."""
    import cv2

    ground = _ground(len(standing))
    keep = 0.5 ** (1 / (STANDING * len(standing)))
    foot = np.empty_like(standing)
    below = np.zeros(standing.shape[1], np.float32)
    for row in range(len(standing) - 1, -1, -1):
        below = np.maximum(keep * below, standing[row] * ground[row])
        foot[row] = below
    # A thing has one foot, so neighbouring columns share the nearest.
    side = 2 * round(FOOT * standing.shape[1]) + 1
    shared = cv2.blur(cv2.dilate(foot, np.ones((1, side), np.uint8)), (side, 1))
    return _resized(shared, frame)


def _standing_out(greys: list[NDArray[np.uint8]], progress: Progress) -> NDArray[np.float32]:
    """How much (T,h,w) each pixel moves against the picture as a whole, 0 to 1, held for a while when it stops."""
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
    """Carry standing pixels (h,w) over from `there`, in place, where forward and backward flow agree."""
    carried = np.where(optical.followed(way, back), KEPT * optical.warped(there, way), 0)
    np.maximum(here, carried, out=here)


def _against_the_picture(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Speed (h,w) that remains of a flow without the motion of the picture as a whole."""
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
    """Upsample values (h,w) to the frame's size, with edges as in the picture (fast guided filter, He 2015)."""
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
    """Interpolate values (h,w) to the size of the frame."""
    import cv2

    return np.asarray(cv2.resize(values, (frame.shape[1], frame.shape[0])), np.float32)
