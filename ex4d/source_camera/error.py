"""How wrong a found camera is, compared with the true one.

ATE and RPE are those of Sturm et al. 2012 ("A Benchmark for the Evaluation of RGB-D SLAM Systems"), after the
similarity of Umeyama 1991, because the unit of a camera found from pictures is unknown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms

STANDS = 1e-6
"""Paths shorter than this, in metres, count as none."""


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + shift."""

    scale: float
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def points(self, points: NDArray) -> NDArray[np.float64]:
        """Points (...,3), transformed."""
        return self.scale * points @ self.rotation.T + self.shift


def fitted(found: NDArray, true: NDArray) -> Similarity:
    """The similarity that best maps points (N,3) to others (N,3), by least squares (Umeyama 1991).

    If the found points coincide, its scale is 0, and their mean is mapped to that of the true points.
    """
    mean_found, mean_true = found.mean(axis=0), true.mean(axis=0)
    a, b = found - mean_found, true - mean_true
    u, sizes, v = np.linalg.svd(b.T @ a / len(a))
    sign = np.array([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(v)) or 1])
    rotation = u @ np.diag(sign) @ v
    spread = (a**2).sum() / len(a)
    scale = float((sizes * sign).sum() / spread) if spread > STANDS**2 else 0.0
    return Similarity(scale, rotation, mean_true - scale * rotation @ mean_found)


def path_length(poses: NDArray) -> float:
    """Length of a camera's path, from camera-to-world poses (T,4,4)."""
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def absolute(found: NDArray, true: NDArray) -> float | None:
    """ATE: root mean square distance of the positions after `fitted`, as a fraction of the true path's length.

    None if the true camera does not change position; the length of the found path then says more.
    """
    length = path_length(true)
    if length < STANDS:
        return None
    there = fitted(found[:, :3, 3], true[:, :3, 3]).points(found[:, :3, 3])
    return float(np.sqrt(((there - true[:, :3, 3]) ** 2).sum(axis=1).mean())) / length


def relative(found: NDArray, true: NDArray) -> tuple[float | None, float]:
    """RPE from frame to frame: root mean square of translation (fraction of the mean true step) and rotation (degrees).

    Found translations are scaled as in `fitted`. The first is None if the true camera does not change position.
    """
    length = path_length(true)
    scale = fitted(found[:, :3, 3], true[:, :3, 3]).scale if length >= STANDS else 1.0
    scaled = found.copy()
    scaled[:, :3, 3] *= scale
    steps_found, steps_true = _steps(scaled), _steps(true)
    shift = np.sqrt(((steps_found[:, :3, 3] - steps_true[:, :3, 3]) ** 2).sum(axis=1).mean())
    turn = np.sqrt((angles(steps_found, steps_true) ** 2).mean())
    return (float(shift / (length / len(steps_true))) if length >= STANDS else None), float(turn)


def rotation_at_end(found: NDArray, true: NDArray) -> float:
    """Degrees between the found and the true rotation of the last frame, each relative to the first frame."""
    turned = [transforms.inverse(poses[:1]) @ poses[-1:] for poses in (found, true)]
    return float(angles(*turned)[0])


def focal(found: NDArray, true: NDArray) -> float:
    """Signed relative error of the focal length that is largest over intrinsics (T,3,3): 0.1 is 10 % too long."""
    ratio = found[:, 0, 0] / true[:, 0, 0] - 1
    return float(ratio[np.abs(ratio).argmax()])


def angles(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Degrees (N,) between the rotations of transforms (N,4,4)."""
    between = np.swapaxes(a[:, :3, :3], 1, 2) @ b[:, :3, :3]
    # With the arc tangent, because the arc cosine of the trace has no precision left near 0.
    sine = np.stack([between[:, i, j] - between[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], axis=1)
    return np.degrees(np.arctan2(np.linalg.norm(sine, axis=1), np.trace(between, axis1=1, axis2=2) - 1))


def _steps(poses: NDArray) -> NDArray[np.float64]:
    return transforms.inverse(poses[:-1]) @ poses[1:]


@dataclass(frozen=True)
class Points:
    """Static points that two frames see.

    Attributes:
        first, second: (N,) numbers of the two frames.
        at_first, at_second: (N,2) their true positions in those pictures, in pixels.
        depth: (N,) along the axis of the first frame, according to the depth under test.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    at_first: NDArray[np.float64]
    at_second: NDArray[np.float64]
    depth: NDArray[np.float64]


def drift(points: Points, poses: NDArray, lenses: NDArray) -> NDArray[np.float64]:
    """Distance in pixels (N,) of points from their true positions, as seen by a found camera.

    Each point is placed in the world from its first frame and projected into the second. Infinite if it is behind that
    camera.

    Args:
        points: see `Points`.
        poses: (T,4,4) found camera-to-world poses, in the unit of the points' depth.
        lenses: (T,3,3) found intrinsics.
    """
    ones = np.ones((len(points.depth), 1))
    rays = np.einsum("nij,nj->ni", np.linalg.inv(lenses)[points.first], np.hstack([points.at_first, ones]))
    seen = np.hstack([rays * points.depth[:, None], ones])
    there = np.einsum("nij,nj->ni", (transforms.inverse(poses)[points.second] @ poses[points.first]), seen)[:, :3]
    projected = np.einsum("nij,nj->ni", lenses[points.second], there)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.linalg.norm(projected[:, :2] / projected[:, 2:] - points.at_second, axis=1)
    return np.where(there[:, 2] > 0, away, np.inf)
