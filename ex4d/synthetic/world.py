"""The contents of a generated scene: solids that make up things, their motion, light, and cameras."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ex4d.synthetic.shading import Light, Solids
from ex4d.synthetic.textures import PLAIN
from ex4d.synthetic.tracing import BALL, CYLINDER

Triple = tuple[float, float, float]
Motion = Callable[[float], NDArray[np.float64]]
"""A (4,4) transform as a function of the time in frames, where fractions are moments within the exposure."""


@dataclass(frozen=True)
class Surface:
    """Appearance of a solid.

    Attributes:
        pattern: see `ex4d.synthetic.textures`.
        first, second: linear colours.
        width: of the pattern, in metres.
        variety: of its repetitions; 0 means identical.
        strength: of its grain.
        seed: of its randomness.
    """

    pattern: int = PLAIN
    first: Triple = (0.4, 0.4, 0.4)
    second: Triple = (0.2, 0.2, 0.2)
    width: float = 1.0
    variety: float = 0.3
    strength: float = 0.4
    seed: int = 0


@dataclass(frozen=True)
class Solid:
    """One shape, placed within its thing.

    Attributes:
        shape: see `ex4d.synthetic.tracing`.
        centre, size: in metres; the size is that of its bounding box.
        surface: its appearance.
        turn: in degrees about the vertical axis.
        motion: its own, within its thing, such as a leg's swing; None if it is static.
        throws_shadow: whether it casts a shadow.
    """

    shape: int
    centre: Triple
    size: Triple
    surface: Surface
    turn: float = 0.0
    motion: Motion | None = None
    throws_shadow: bool = True


@dataclass(frozen=True)
class Thing:
    """Solids that belong together and share one number.

    Attributes:
        solids: its parts.
        motion: places them in the world; None if the thing and its parts are static.
    """

    solids: tuple[Solid, ...]
    motion: Motion | None = None


@dataclass(frozen=True)
class World:
    """A scene and the cameras in it. OpenCV axes, y down; the ground is at y = 0; metres.

    Attributes:
        things: the first has the number 1.
        light: sun and sky.
        camera, second_camera: camera-to-world (4,4) for a time in frames.
        field_of_view: horizontal, in degrees, for a time in frames.
    """

    things: tuple[Thing, ...]
    light: Light
    camera: Motion
    second_camera: Motion
    field_of_view: Callable[[float], float] = field(default=lambda t: 55.0)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Whether the thing with each number moves, (number of things + 1,) bool; number 0 is the sky."""
        return np.array([False, *(thing.motion is not None for thing in self.things)])


def daylight(azimuth: float = 35.0, elevation: float = 42.0, clouds: float = 0.45, extent: float = 45.0) -> Light:
    """Sun (degrees to the right of +z, and above the horizon), blue light from above, warm light from the ground."""
    a, e = np.radians([azimuth, elevation])
    to_sun = np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)])
    across = np.cross([0.0, 1.0, 0.0], to_sun)
    across /= np.linalg.norm(across)
    colours = [[1.60, 1.42, 1.12], [0.40, 0.48, 0.62], [0.30, 0.27, 0.23], [0.16, 0.30, 0.62], [0.62, 0.70, 0.80]]
    return Light(np.array([to_sun, across, np.cross(to_sun, across)]), np.array(colours), clouds, 300.0, extent)


def solids_at(world: World, time: float) -> Solids:
    """All solids of a world at a time in frames."""
    parts = [(number, thing, solid) for number, thing in enumerate(world.things, 1) for solid in thing.solids]
    placed = {
        number: np.eye(4) if thing.motion is None else thing.motion(time)
        for number, thing in enumerate(world.things, 1)
    }
    poses = np.empty((len(parts), 4, 4))
    for n, (number, _, solid) in enumerate(parts):
        turn = turned(solid.turn)
        turn[:3, 3] = solid.centre
        poses[n] = placed[number] @ (turn if solid.motion is None else solid.motion(time) @ turn)
    halves = np.array([solid.size for _, _, solid in parts]) / 2
    longest = np.linalg.norm(halves, axis=1)
    shapes = np.array([solid.shape for _, _, solid in parts])
    longest[shapes == BALL] = halves[shapes == BALL].max(axis=1)
    upright = shapes == CYLINDER
    longest[upright] = np.hypot(halves[upright][:, [0, 2]].max(axis=1), halves[upright, 1])
    surfaces = [solid.surface for _, _, solid in parts]
    to_unit = np.linalg.inv(poses)[:, :3] / halves[:, :, None]
    return Solids(
        shapes=shapes,
        to_unit=np.ascontiguousarray(to_unit),
        centres=np.ascontiguousarray(poses[:, :3, 3]),
        halves=halves,
        radii=longest * 1.0001,
        things=np.array([number for number, _, _ in parts]),
        patterns=np.array([s.pattern for s in surfaces]),
        colours=np.array([(s.first, s.second) for s in surfaces], np.float64),
        numbers=np.array([(s.width, s.variety, s.strength) for s in surfaces], np.float64),
        seeds=np.array([s.seed for s in surfaces]),
        throws=np.array([solid.throws_shadow for _, _, solid in parts]),
    )


def turned(degrees: float) -> NDArray[np.float64]:
    """(4,4) rotation about the vertical axis; positive angles turn +z towards +x."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1.0]])
