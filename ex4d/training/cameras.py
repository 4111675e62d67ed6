"""Cameras from which masks are rendered: the presets, and paths that wander at random."""

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import pivots, presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh

ANGLES = (15.0, 90.0)
"""Range of an orbit in degrees, to either side."""

STRAIGHT_PART, WANDERING_PART = 0.3, 0.35
"""Fractions of the paths that move along or across the axis, and that wander; the others are the release's orbits."""

FARTHEST_PIVOT = 0.3
"""The pivot is between the nearest surface and this quantile of the distances in the first frame."""

_STRAIGHT = {"zoom_in": (0.1, 0.5), "zoom_out": (0.1, 0.7), "dolly": (-0.5, 0.4), "truck": (0.1, 0.5),
             "crane": (0.1, 0.5)}  # fmt: skip
"""Moves and the ranges of their amounts, in distances to the pivot."""

_BOTH_WAYS = frozenset({"truck", "crane"})


def sampled(mesh: DWMesh, random: np.random.Generator) -> tuple[CameraPath, str]:
    """A random path with one camera per frame that begins at the source camera, and its name.

    Args:
        mesh: of the clip, which gives the size of the pictures; its source camera counts as still.
        random: the source of all random numbers.
    """
    frames, height, width = mesh.depth.shape
    near = presets.pivot_distance(mesh.depth[0])
    far = max(near, float(np.quantile(mesh.depth[0, 1:-1, 1:-1], FARTHEST_PIVOT)))
    pivot = float(near * (far / near) ** random.uniform())
    side = float(random.choice([-1.0, 1.0]))
    kind, angle = random.uniform(), float(random.uniform(*ANGLES))
    lens = mesh.intrinsics
    if kind < STRAIGHT_PART:
        name = str(random.choice(sorted(_STRAIGHT)))
        amount = float(random.uniform(*_STRAIGHT[name])) * (side if name in _BOTH_WAYS else 1)
        path = presets.preset(name, pivot, lens, width, height, frames, amount)
        return path, f"{name} {amount:.2f}"
    if kind < STRAIGHT_PART + WANDERING_PART:
        poses = pivots.turning_about(np.tile([0.0, 0.0, pivot], (frames, 1)), _wandering(frames, angle * side, random))
        return CameraPath(poses, lens, width, height), f"wandering {angle * side:.0f}"
    name = str(random.choice(["arc", "90", "180"]))
    if name == "180":
        angle = min(angle, presets.SWING_DEGREES)
    rise = float(random.uniform(0, presets.ORBIT_RISE))
    path = presets.preset(name, pivot, lens, width, height, frames, angle * side, rise=rise)
    return path, f"{'swing' if name == '180' else 'orbit'} {angle * side:.0f}"


def _wandering(frames: int, angle: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Positions (T,3) around the pivot (0, 0, 1) that reach this yaw in degrees, with varying pitch and distance."""
    yaw = np.radians(angle) * _wave(frames, [random.uniform(-0.5, 1), random.uniform(0, 1), 1.0], random)
    pitch = np.radians(_wave(frames, random.uniform(-15, 25, 3), random))
    distance = np.exp(_wave(frames, random.uniform(-0.35, 0.35, 3), random))
    level = distance * np.cos(pitch)
    return np.stack([level * np.sin(yaw), -distance * np.sin(pitch), 1 - level * np.cos(yaw)], axis=-1)


def _wave(frames: int, through: NDArray | list[float], random: np.random.Generator) -> NDArray[np.float64]:
    """Numbers (T,) that go smoothly from 0 through the given values, at uneven times."""
    times = np.concatenate([[0], np.cumsum(random.uniform(0.5, 1.5, len(through)))])
    values = np.concatenate([[0], through])
    at = np.linspace(0, times[-1], frames)
    last = np.clip(np.searchsorted(times, at, "right") - 1, 0, len(through) - 1)
    way = presets.eased((at - times[last]) / (times[last + 1] - times[last]), "in_out")
    return np.asarray(values[last] + way * (values[last + 1] - values[last]), np.float64)
