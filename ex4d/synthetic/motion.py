"""Camera paths of generated scenes: a time in frames in, a camera-to-world pose out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.synthetic.world import Motion, Triple, turned

_WAVES = 9


def wandering(seed: int, axes: int, longest: float = 60.0, shortest: float = 5.0) -> Motion:
    """Smooth noise around 0, with a size of about 1, as a function from a time in frames to an array (axes,).

    It sums waves with periods from `longest` to `shortest` frames and amplitudes proportional to the period to the
    power of 0.8: a slow drift with some tremor, like a hand's.
    """
    random = np.random.default_rng(seed)
    periods = np.geomspace(longest, shortest, _WAVES) * random.uniform(0.85, 1.15, (axes, _WAVES))
    sizes = periods**0.8 * random.uniform(0.5, 1.0, (axes, _WAVES))
    sizes /= np.sqrt((sizes**2).sum(axis=1, keepdims=True) / 2)
    phases = random.uniform(0, 2 * np.pi, (axes, _WAVES))
    return lambda t: (sizes * np.sin(2 * np.pi * t / periods + phases)).sum(axis=1)


def hand_held(steady: Motion, seed: int, metres: float = 0.02, degrees: float = 0.6) -> Motion:
    """A camera move with hand-held shake, of about this size in position and in direction."""
    shake = wandering(seed, 6)

    def camera(t: float) -> NDArray[np.float64]:
        moved = shake(t)
        pose = _rotation(np.radians(degrees * moved[3:] * [0.7, 1.0, 0.5]))
        pose[:3, 3] = metres * moved[:3]
        return steady(t) @ pose

    return camera


def walk(start: Triple, end: Triple, target: Triple, target_end: Triple, frames: int) -> Motion:
    """From one position to another, looking from one target to another, with a step's bob every 12 frames."""

    def camera(t: float) -> NDArray[np.float64]:
        way = t / max(frames - 1, 1)
        eye = np.array(start) + way * (np.array(end) - start)
        eye[1] += 0.025 * np.sin(2 * np.pi * t / 12)
        return transforms.look_at(eye, np.array(target) + way * (np.array(target_end) - target))

    return camera


def on_tripod(place: Triple, target: Triple, pan: float, frames: int, tilt: float = 0.0) -> Motion:
    """A fixed position, panning by `pan` degrees to the right and tilting by `tilt` up, slow at both ends."""
    first = transforms.look_at(np.array(place), np.array(target))

    def camera(t: float) -> NDArray[np.float64]:
        way = _eased(t / max(frames - 1, 1))
        pose = first.copy()
        turn = turned(pan * way)[:3, :3]
        pose[:3, :3] = turn @ first[:3, :3] @ _rotation(np.radians([tilt * way, 0, 0]))[:3, :3]
        return pose

    return camera


def arc(centre: Triple, radius: float, height: float, first: float, last: float, frames: int) -> Motion:
    """Around a centre, from `first` to `last` degrees (0 is on its -z side, and angles grow to the right)."""

    def camera(t: float) -> NDArray[np.float64]:
        angle = np.radians(first + (last - first) * t / max(frames - 1, 1))
        eye = np.array([centre[0] + radius * np.sin(angle), -height, centre[2] - radius * np.cos(angle)])
        return transforms.look_at(eye, np.array(centre))

    return camera


@dataclass(frozen=True)
class Beside:
    """A second camera, which leaves the first one and orbits the target's vertical axis.

    Attributes:
        camera: the first camera.
        target: the centre of the orbit.
        degrees: angle at the end.
        frames: duration of the move.
        rise: how far it rises during the move, as a fraction of the distance.
        begin: angle at the start, in degrees; 0 is the first camera itself.
    """

    camera: Motion
    target: Triple
    degrees: float
    frames: int
    rise: float = 0.1
    begin: float = 0.0

    def __call__(self, t: float) -> NDArray[np.float64]:
        """Camera-to-world (4,4) at a time in frames."""
        way = _eased(t / max(self.frames - 1, 1)) if self.frames > 1 else 1.0
        angle, up = self.degrees * way, self.rise * way
        if self.begin:
            angle += self.begin * (1 - way)
            up = self.rise * abs(angle) / max(abs(self.begin), abs(self.degrees))
        source = self.camera(t)
        away = source[:3, 3] - self.target
        eye = turned(angle)[:3, :3] @ away + np.array(self.target)
        eye[1] -= up * np.linalg.norm(away)
        pose = np.eye(4)
        # The orbit also rotates the source's direction, so that both cameras coincide at first.
        pose[:3, :3] = turned(angle)[:3, :3] @ source[:3, :3]
        pose[:3, :3] = pose[:3, :3] @ _rotation(np.array([-np.arctan(up), 0, 0]))[:3, :3]
        pose[:3, 3] = eye
        return pose


def beside(camera: Motion, target: Triple, degrees: float, frames: int, rise: float = 0.1) -> Beside:
    """A second camera, which leaves the first one and orbits to `degrees` around the target's vertical axis at the
    end."""
    return Beside(camera, target, degrees, frames, rise)


def _eased(way: float) -> float:
    way = min(max(way, 0.0), 1.0)
    return way * way * (3 - 2 * way)


def _rotation(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,4) rotation matrix of a rotation vector in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle if angle > 1e-12 else np.zeros(3)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    pose = np.eye(4)
    pose[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return pose
