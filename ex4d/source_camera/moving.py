"""Independently moving things in a clip: where optical flow differs from anything that camera motion can cause."""

import numpy as np
from numpy.typing import NDArray

from ex4d.media.flow import Flow, followed
from ex4d.progress import FINDING_MOVES, Progress, silent

WIDTH = 384
"""Width at which flow is computed."""

APART = 2
"""Number of frames, before and after, over which flow is computed."""

DEPTH_OFF = 1.5
"""Factor by which the depth may be wrong: flow that fits any distance in between is attributed to the camera."""

LEAST_PX = 1.0
WORSE = 6.0
"""Levels by which the camera's motion must explain a pixel's colour worse than flow does, because flow fails where
there is no texture."""

CLOSE_PX, GROW_PX = 5, 4
SMALLEST = 0.002
"""Regions smaller than this fraction of the picture are noise."""

FRAMES = 5
"""The mask is the median over this many frames."""


def moving_mask(
    frames: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera_to_world: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    progress: Progress = silent,
    scale: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Where things move independently (T,h,w), at most `WIDTH` wide.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32; times `scale` it is in the unit of the camera, and off by at most `DEPTH_OFF`.
        camera_to_world: (T,4,4).
        intrinsics: (T,3,3) in pixels of (H,W).
        progress: called after each frame.
        scale: (T,) factor for the depth of each frame; None leaves it unchanged.
    """
    import cv2

    count, height, width = depth.shape
    scale = np.ones(count) if scale is None else scale
    shrink = min(1.0, WIDTH / width)
    size = round(width * shrink), round(height * shrink)
    ratio = np.diag([size[0] / width, size[1] / height, 1.0])
    grey = [small_grey(frame, size) for frame in frames]
    soft = [cv2.GaussianBlur(one, (0, 0), 1.0).astype(np.float32) for one in grey]
    flow, votes = Flow(), np.zeros((count, size[1], size[0]), bool)
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    apart = min(APART, count - 1)
    for t in range(count - apart):
        u = t + apart
        there, back = flow(grey[t], grey[u]), flow(grey[u], grey[t])
        for i, j, moved, other in ((t, u, there, back), (u, t, back, there)):
            small = cv2.resize(depth[i], size, interpolation=cv2.INTER_NEAREST) * np.float32(scale[i])
            k_i, k_j = ratio @ intrinsics[i], ratio @ intrinsics[j]
            relative = np.linalg.inv(camera_to_world[j]) @ camera_to_world[i]
            there_alone = _nearest_course(pixels, small, moved, relative, k_i, k_j)
            off = np.linalg.norm(pixels[..., :2] + moved - there_alone, axis=-1)
            seen = followed(moved, other)
            limit = max(LEAST_PX, 4.5 * float(np.median(off[seen]))) if seen.any() else np.inf
            by_camera, by_flow = (
                cv2.blur(np.abs(soft[i] - _sampled(soft[j], at)), (3, 3))
                for at in (there_alone, pixels[..., :2] + moved)
            )
            votes[i] |= seen & (off > limit) & (by_camera - by_flow > WORSE)
        progress(FINDING_MOVES, t + 1, count - apart)
    return _cleaned(votes)


def small_grey(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame (H,W,3) in grey, resized to (width, height)."""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _sampled(picture: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """A picture's values at positions (h,w,2), with pixel centres at +0.5."""
    import cv2

    column, row = (np.clip(at[..., c] - 0.5, -1e4, 1e4).astype(np.float32) for c in (0, 1))
    moved = cv2.remap(picture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _nearest_course(
    pixels: NDArray[np.float64],
    depth: NDArray[np.float32],
    flow: NDArray[np.float32],
    relative: NDArray[np.float64],
    k_i: NDArray[np.float64],
    k_j: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The position (h,w,2) nearest to the one given by flow, among those that the camera's motion alone can cause.

    These form a line segment between the positions for the nearest and the farthest distance that the pixel may have.
    """
    rays = pixels @ np.linalg.inv(k_i).T
    ends = []
    for factor in (1 / DEPTH_OFF, DEPTH_OFF):
        there = (rays * (depth * factor)[..., None]) @ relative[:3, :3].T + relative[:3, 3]
        z = np.maximum(there[..., 2:], 1e-6)
        ends.append(((there / z) @ k_j.T)[..., :2])
    near, far = ends
    seen = pixels[..., :2] + flow
    way = far - near
    share = ((seen - near) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-9)
    return near + np.clip(share, 0, 1)[..., None] * way


def _cleaned(votes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The votes without noise and holes, smoothed over time and slightly enlarged."""
    import cv2

    count, height, width = votes.shape
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSE_PX, CLOSE_PX))
    grow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GROW_PX + 1, 2 * GROW_PX + 1))
    kept = np.zeros_like(votes)
    for t, vote in enumerate(votes):
        closed = cv2.morphologyEx(vote.astype(np.uint8), cv2.MORPH_CLOSE, close)
        closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, label, stats, _ = cv2.connectedComponentsWithStats(closed)
        large = stats[:, cv2.CC_STAT_AREA] >= SMALLEST * height * width
        large[0] = False
        kept[t] = large[label]
    half = FRAMES // 2
    steady = np.zeros_like(kept)
    for t in range(count):
        window = kept[max(0, t - half) : t + half + 1]
        steady[t] = window.sum(axis=0) * 2 >= len(window)
    return np.stack([cv2.dilate(one.astype(np.uint8), grow) > 0 for one in steady]) if count else steady
