"""True depth with errors like those of depth models."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_SHAPE_CELLS = (4, 5)
"""Rows and columns of the coarse grid of the smooth shape error."""

_SHAPE_FRAMES = 24
"""Frames over which the shape error changes into another one."""

_LEAST = 0.02
"""Disparity never falls below this fraction of its median, whatever the shift."""


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth. A model of affine disparity gives scale * (disparity * (1 + errors) + shift), with soft edges.

    Attributes:
        scale: of all disparities; a depth in metres becomes 1 / scale times as large.
        shift: added to all disparities, as a fraction of their spread (from the 2nd to the 98th percentile) in the
            clip.
        jitter: standard deviation of the logarithm of each frame's own factor: the pumping of models that see one frame
            at a time.
        shape: root mean square of a smooth error over the picture, which changes slowly over time.
        edge: standard deviation in pixels, at a width of 512, of the blur of edges.
    """

    scale: float = 1.0
    shift: float = 0.0
    jitter: float = 0.05
    shape: float = 0.10
    edge: float = 1.2


def usual(seed: int) -> DepthErrors:
    """Errors to expect of models: unknown scale (0.4 to 2.5) and shift (up to 8 %), and the defaults otherwise."""
    random = np.random.default_rng((seed, 1))
    return DepthErrors(scale=float(np.exp(random.uniform(-0.9, 0.9))), shift=float(random.uniform(-0.08, 0.08)))


def wrong(depth: NDArray[np.float32], errors: DepthErrors, seed: int) -> NDArray[np.float32]:
    """Depth (T,H,W) as a model would have estimated it, float32 and above 0; the same for the same seed.

    Args:
        depth: (T,H,W) true depth along the optical axis.
        errors: see `DepthErrors`.
        seed: of the jitter and the shape error.
    """
    random = np.random.default_rng((seed, 2))
    count, height, width = depth.shape
    disparity = 1 / depth
    low, high = np.percentile(disparity[:: max(1, count // 8), ::2, ::2], (2, 98))
    least = _LEAST * float(np.median(disparity[:: max(1, count // 8), ::2, ::2]))
    jitter = np.exp(errors.jitter * random.standard_normal(count))
    grids = random.standard_normal((count // _SHAPE_FRAMES + 2, *_SHAPE_CELLS))
    result = np.empty(depth.shape, np.float32)
    for t, frame in enumerate(disparity):
        if errors.edge > 0:
            frame = cv2.GaussianBlur(frame, (0, 0), errors.edge * width / 512)
        made = frame * (1 + _shape(grids, t, height, width, errors.shape)) * jitter[t]
        made += errors.shift * (high - low)
        result[t] = 1 / (errors.scale * np.maximum(made, least))
    return result


def _shape(grids: NDArray[np.float64], t: int, height: int, width: int, size: float) -> NDArray[np.float32]:
    """The smooth error of a frame (H,W), with mean 0 and root mean square `size`."""
    place = t / _SHAPE_FRAMES
    way = place - int(place)
    grid = np.cos(way * np.pi / 2) * grids[int(place)] + np.sin(way * np.pi / 2) * grids[int(place) + 1]
    field = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    field -= field.mean()
    return np.clip(size * field / max(float(field.std()), 1e-9), -0.6, 0.6)
