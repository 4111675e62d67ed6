"""Which camera is right, by evidence that none of them was fitted to: far frames warped onto each other.

A frame is warped onto another by its depth and a camera, and their colours are compared. Only pixels whose depths
agree are compared, and a difference is capped at 40 levels, so independently moving things have little weight. A depth
model is right only up to a scale that changes from frame to frame. Each camera brings its own points, so the depth of
every frame is first scaled to them. Errors of depth or lens affect all cameras alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH = 256
"""Width at which pictures are compared; finer detail says more about the depth than about the camera."""

APART = (8, 12, 16, 24)
"""Numbers of frames between the two frames of a pair."""

PAIRS = 8
"""Number of pairs for each distance, in both directions."""

CAP = 40.0
"""Levels at which a difference is capped."""

AGREE = 0.1
"""Two depths agree if their logarithms differ by less than this."""

FEWEST_PIXELS = 200


@dataclass(frozen=True)
class Evidence:
    """How well a camera warps far frames onto each other.

    Attributes:
        levels: mean difference in colour, 0 to `CAP`.
        compared: part of the pixels inside the other picture whose depths agree.
    """

    levels: float
    compared: float


class Judge:
    """Compares cameras on one clip.

    Args:
        frames: (T,H,W,3) uint8 RGB.
        depth: (T,H,W).
        static: (T,h,w) what is static, at any size; None uses everything.
    """

    def __init__(
        self, frames: NDArray[np.uint8], depth: NDArray[np.float32], static: NDArray[np.bool_] | None = None
    ) -> None:
        import cv2

        count, height, width = depth.shape
        self._shrink = min(1.0, WIDTH / width)
        size = round(width * self._shrink), round(height * self._shrink)
        self.pairs = far_pairs(count)
        used = sorted({t for pair in self.pairs for t in pair})
        self._pictures, self._depth, self._static = {}, {}, {}
        for t in used:
            small = cv2.resize(np.ascontiguousarray(frames[t]), size, interpolation=cv2.INTER_AREA)
            self._pictures[t] = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float32)
            self._depth[t] = cv2.resize(depth[t], size, interpolation=cv2.INTER_NEAREST)
            stays = np.ones(size[::-1], np.uint8)
            if static is not None:
                stays = cv2.resize(static[t].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            self._static[t] = stays > 0
        x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
        self._pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
        self._ratio = np.diag([size[0] / width, size[1] / height, 1.0])

    def evidence(
        self, camera_to_world: NDArray[np.float64], intrinsics: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> Evidence:
        """How well a camera does on this clip.

        Args:
            camera_to_world: (T,4,4).
            intrinsics: (T,3,3) in pixels of the frames.
            scale: (T,) factor for the depth of each frame.
        """
        found = [
            self._pair(i, j, np.linalg.inv(camera_to_world[j]) @ camera_to_world[i], intrinsics, scale)
            for i, j in self.pairs
        ]
        levels, compared = np.mean(found, axis=0) if found else (CAP, 0.0)
        return Evidence(float(levels), float(compared))

    def _pair(
        self, i: int, j: int, i_to_j: NDArray[np.float64], intrinsics: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> tuple[float, float]:
        import cv2

        depth = self._depth[i] * scale[i]
        points = (self._pixels @ np.linalg.inv(self._ratio @ intrinsics[i]).T) * depth[..., None]
        there = points @ i_to_j[:3, :3].T + i_to_j[:3, 3]
        z = np.maximum(there[..., 2], 1e-9)
        seen = (there / z[..., None]) @ (self._ratio @ intrinsics[j]).T
        column, row = (np.clip(seen[..., c] - 0.5, -1e4, 1e4).astype(np.float32) for c in (0, 1))
        height, width = depth.shape
        inside = (there[..., 2] > 0) & (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)
        inside &= self._static[i]
        theirs = cv2.remap(self._depth[j] * scale[j], column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        agree = inside & (np.abs(np.log(z / theirs)) < AGREE)
        compared = float(agree.sum() / max(1, inside.sum()))
        if agree.sum() < FEWEST_PIXELS:
            return CAP, compared
        ours = self._pictures[i][agree]
        moved = cv2.remap(self._pictures[j], column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[agree]
        gain = np.median(ours, axis=0) / np.maximum(np.median(moved, axis=0), 1.0)  # exposure changes
        return float(np.minimum(np.abs(ours - moved * gain).mean(axis=-1), CAP).mean()), compared


def far_pairs(count: int) -> list[tuple[int, int]]:
    """Pairs of frames to compare in a clip of `count` frames, in both directions."""
    distances = [apart for apart in APART if apart < count] or [max(1, count - 1)]
    pairs = []
    for apart in distances:
        for i in np.unique(np.linspace(0, count - 1 - apart, PAIRS).round().astype(int)).tolist():
            pairs += [(i, i + apart), (i + apart, i)]
    return pairs if count > 1 else []
