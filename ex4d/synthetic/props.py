"""Things to furnish scenes with. Positions are on the ground, in metres; y points down."""

import numpy as np
from numpy.typing import NDArray

from ex4d.synthetic.textures import BRICK, FACADE, GRAIN, LEAVES, PATCHES, PAVING, PLAIN, PLANKS, STRIPES
from ex4d.synthetic.tracing import BALL, BOX, CYLINDER, GABLE
from ex4d.synthetic.world import Motion, Solid, Surface, Thing, Triple, turned

WALLS: tuple[Triple, ...] = (
    (0.42, 0.33, 0.22),
    (0.36, 0.15, 0.10),
    (0.46, 0.42, 0.36),
    (0.40, 0.27, 0.15),
    (0.25, 0.29, 0.32),
    (0.46, 0.34, 0.26),
)
CLOTHES: tuple[Triple, ...] = (
    (0.45, 0.05, 0.05),
    (0.06, 0.12, 0.38),
    (0.55, 0.45, 0.10),
    (0.08, 0.25, 0.13),
    (0.50, 0.50, 0.50),
    (0.30, 0.08, 0.30),
)
GLASS: Triple = (0.10, 0.14, 0.19)
SKIN: Triple = (0.48, 0.29, 0.21)


def ground(surface: Surface, size: float = 300.0, drop: float = 0.0) -> Solid:
    """A floor whose top is `drop` metres below y = 0."""
    return Solid(BOX, (0.0, 0.5 + drop, 0.0), (size, 1.0, size), surface, throws_shadow=False)


def asphalt(seed: int) -> Surface:
    """A road."""
    return Surface(GRAIN, (0.13, 0.13, 0.135), (0.24, 0.23, 0.22), 0.7, strength=0.55, seed=seed)


def paving(seed: int, width: float = 0.5, variety: float = 0.25) -> Surface:
    """Slabs."""
    return Surface(PAVING, (0.40, 0.37, 0.33), (0.17, 0.16, 0.15), width, variety, 0.35, seed)


def grass(seed: int) -> Surface:
    """A meadow."""
    return Surface(GRAIN, (0.10, 0.19, 0.04), (0.30, 0.32, 0.10), 2.5, strength=0.7, seed=seed)


def building(centre: Triple, size: Triple, seed: int, variety: float = 0.3, window: float = 2.6) -> Thing:
    """A block with windows all around, a plinth and a cornice; `centre` is on the ground, `size` is width, height,
    depth."""
    random = np.random.default_rng(seed)
    wall = WALLS[int(random.integers(len(WALLS)))]
    x, y, z = centre
    wide, high, deep = size
    facade = Surface(FACADE, wall, GLASS, window, variety, 0.5, seed)
    stone = Surface(GRAIN, (0.42, 0.40, 0.36), (0.24, 0.23, 0.21), 0.5, strength=0.6, seed=seed + 1)
    return Thing(
        (
            Solid(BOX, (x, y - high / 2, z), (wide, high, deep), facade),
            Solid(BOX, (x, y - high - 0.2, z), (wide + 0.5, 0.4, deep + 0.5), stone),
            Solid(BOX, (x, y - 0.3, z), (wide + 0.16, 0.6, deep + 0.16), stone),
        )
    )


def cottage(centre: Triple, size: Triple, turn: float, seed: int) -> Thing:
    """A house with a tiled gable roof, a door and a chimney."""
    random = np.random.default_rng(seed)
    x, y, z = centre
    wide, high, deep = size
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))

    def at(right: float, up: float, ahead: float) -> Triple:
        return (x + c * right + s * ahead, y - up, z - s * right + c * ahead)

    facade = Surface(FACADE, WALLS[int(random.integers(len(WALLS)))], GLASS, wide / 3.2, 0.35, 0.6, seed)
    tiles = Surface(BRICK, (0.42, 0.15, 0.09), (0.12, 0.06, 0.05), 0.42, 0.6, 0.6, seed + 1)
    door = Surface(PLANKS, CLOTHES[seed % len(CLOTHES)], (0.03, 0.03, 0.03), 0.18, 0.3, 0.5, seed + 2)
    brick = Surface(BRICK, (0.45, 0.20, 0.14), (0.5, 0.48, 0.44), 0.25, 0.4, 0.4, seed + 3)
    rise = wide * 0.42
    return Thing(
        (
            Solid(BOX, at(0, high / 2, 0), size, facade, turn),
            Solid(GABLE, at(0, high + rise / 2, 0), (wide + 0.9, rise, deep + 0.7), tiles, turn),
            Solid(BOX, at(0, 1.05, -deep / 2), (1.1, 2.1, 0.12), door, turn),
            Solid(BOX, at(wide * 0.24, high + rise * 0.8, deep * 0.2), (0.7, rise, 0.7), brick, turn),
        )
    )


def tree(x: float, z: float, high: float, seed: int) -> Thing:
    """A trunk, and a crown of several balls of leaves."""
    random = np.random.default_rng(seed)
    bark = Surface(GRAIN, (0.16, 0.11, 0.07), (0.30, 0.23, 0.16), 0.3, strength=0.9, seed=seed)
    green = random.uniform(0.7, 1.3)
    leaves = Surface(LEAVES, (0.03, 0.08 * green, 0.015), (0.20, 0.34 * green, 0.06), 0.32, strength=0.9, seed=seed + 1)
    crown = [Solid(CYLINDER, (x, -high * 0.25, z), (high * 0.07, high * 0.5, high * 0.07), bark)]
    for _ in range(11):
        dx, dy, dz = random.uniform(-1, 1, 3) * [0.25, 0.22, 0.25]
        size = high * random.uniform(0.2, 0.36)
        crown.append(Solid(BALL, (x + dx * high, -high * (0.68 + dy), z + dz * high), (size, size * 0.8, size), leaves))
    return Thing(tuple(crown))


def lamp(x: float, z: float, high: float = 4.5) -> Thing:
    """A street lamp; all of them look the same."""
    iron = Surface(PLAIN, (0.05, 0.06, 0.06))
    glass = Surface(PLAIN, (0.75, 0.70, 0.55))
    return Thing(
        (
            Solid(CYLINDER, (x, -high / 2, z), (0.12, high, 0.12), iron),
            Solid(CYLINDER, (x, -0.4, z), (0.26, 0.8, 0.26), iron),
            Solid(BALL, (x, -high - 0.2, z), (0.45, 0.5, 0.45), glass),
        )
    )


def car(seed: int, motion: Motion | None = None, at: Motion | None = None) -> Thing:
    """A car, 4.3 m long along its z axis; `motion` drives it, or `at` parks it."""
    random = np.random.default_rng(seed)
    paint = Surface(GRAIN, CLOTHES[seed % len(CLOTHES)], CLOTHES[seed % len(CLOTHES)], 1.5, strength=0.25, seed=seed)
    glass, rubber = Surface(GRAIN, GLASS, (0.2, 0.24, 0.28), 0.8, strength=0.5, seed=seed), Surface(first=(0.03,) * 3)
    chrome, light = Surface(first=(0.5, 0.5, 0.5)), Surface(first=(0.7, 0.1, 0.06))
    sign = Surface(PATCHES, (0.7, 0.7, 0.65), width=0.16, variety=0.8, seed=int(random.integers(1000)))
    solids = [
        Solid(BOX, (0, -0.62, 0), (1.76, 0.66, 4.3), paint),
        Solid(BOX, (0, -1.16, -0.15), (1.5, 0.46, 2.1), glass),
        *(Solid(BOX, (0, -1.16, z), (1.54, 0.46, 0.09), paint) for z in (-1.16, -0.2, 0.86)),
        Solid(BOX, (0, -1.42, -0.15), (1.56, 0.08, 2.16), paint),
        Solid(BOX, (0, -0.95, 1.5), (1.6, 0.06, 1.2), paint),
        Solid(BOX, (0, -0.45, 0), (1.8, 0.12, 4.4), chrome),
        Solid(BOX, (0, -0.62, -2.16), (0.6, 0.16, 0.03), sign),
        Solid(BOX, (0, -0.75, 0.3), (1.79, 0.3, 0.9), sign),
        *(Solid(BOX, (side * 0.7, -0.75, -2.15), (0.3, 0.16, 0.06), light) for side in (-1, 1)),
        *(Solid(BALL, (sx * 0.82, -0.32, sz * 1.3), (0.24, 0.64, 0.64), rubber) for sx in (-1, 1) for sz in (-1, 1)),
    ]
    if motion is None and at is not None:
        pose = at(0.0)
        solids = [
            Solid(s.shape, tuple(pose[:3, :3] @ s.centre + pose[:3, 3]), s.size, s.surface, _turn_of(pose))
            for s in solids
        ]
    return Thing(tuple(solids), motion)


def person(seed: int, motion: Motion, stride: float = 22.0) -> Thing:
    """A person 1.75 m tall walking along the z axis of `motion`; legs and arms swing once per `stride` frames."""
    random = np.random.default_rng(seed)
    shirt_colour, other = CLOTHES[seed % len(CLOTHES)], CLOTHES[(seed + 2) % len(CLOTHES)]
    pattern = (STRIPES, GRAIN, PATCHES)[seed % 3]
    shirt = Surface(pattern, shirt_colour, other, 0.12 if pattern != GRAIN else 0.3, 0.5, 0.5, seed)
    trousers = Surface(GRAIN, (0.06, 0.08, 0.14), (0.14, 0.16, 0.22), 0.25, strength=0.6, seed=seed + 1)
    skin, hair = (
        Surface(GRAIN, SKIN, SKIN, 0.1, strength=0.2),
        Surface(GRAIN, (0.04, 0.03, 0.02), (0.15, 0.10, 0.06), 0.1),
    )
    bag = Surface(PATCHES, other, width=0.14, variety=0.8, seed=seed + 5)
    start = random.uniform(0, 2 * np.pi)

    def swing(pivot: float, degrees: float, phase: float) -> Motion:
        def move(t: float) -> NDArray[np.float64]:
            angle = np.radians(degrees) * np.sin(2 * np.pi * t / stride + start + phase)
            c, s = np.cos(angle), np.sin(angle)
            pose = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
            pose[1:3, 3] = np.array([pivot, 0]) - pose[1:3, 1:3] @ [pivot, 0]
            return pose

        return move

    solids = [
        Solid(BALL, (0, -1.60, 0), (0.23, 0.30, 0.25), skin),
        Solid(BALL, (0, -1.66, -0.03), (0.25, 0.26, 0.26), hair),
        Solid(BALL, (0, -1.17, 0), (0.48, 0.76, 0.32), shirt),
        Solid(BOX, (0, -1.18, -0.2), (0.30, 0.42, 0.16), bag),
    ]
    for side in (-1, 1):
        phase = 0 if side > 0 else np.pi
        solids += [
            Solid(CYLINDER, (side * 0.11, -0.43, 0), (0.17, 0.86, 0.19), trousers, motion=swing(-0.86, 26, phase)),
            Solid(BOX, (side * 0.11, -0.04, 0.06), (0.11, 0.09, 0.28), hair, motion=swing(-0.86, 26, phase)),
            Solid(BALL, (side * 0.29, -1.13, 0), (0.13, 0.68, 0.14), shirt, motion=swing(-1.42, 24, phase + np.pi)),
        ]
    return Thing(tuple(solids), motion)


def stall(x: float, z: float, turn: float, seed: int) -> Thing:
    """A market stall: a table with goods under a striped roof."""
    random = np.random.default_rng(seed)
    cloth = Surface(STRIPES, CLOTHES[seed % len(CLOTHES)], (0.66, 0.62, 0.55), 0.4, strength=0.4, seed=seed)
    wood = Surface(PLANKS, (0.34, 0.22, 0.12), (0.08, 0.05, 0.03), 0.2, 0.5, 0.6, seed)
    goods = Surface(PATCHES, (0.10, 0.08, 0.06), width=0.22, variety=1.0, strength=0.8, seed=seed)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))

    def at(right: float, up: float, ahead: float) -> Triple:
        return (x + c * right + s * ahead, -up, z - s * right + c * ahead)

    solids = [
        Solid(BOX, at(0, 0.45, 0), (2.6, 0.9, 1.1), wood, turn),
        Solid(BOX, at(0, 0.95, 0), (2.5, 0.12, 1.0), goods, turn),
        Solid(BOX, at(0, 1.5, 0.55), (2.6, 1.2, 0.06), goods, turn),
        Solid(GABLE, at(0, 2.55, 0), (1.9, 0.5, 3.0), cloth, turn + 90),
        *(Solid(CYLINDER, at(r * 1.25, 1.2, -0.6), (0.07, 2.4, 0.07), wood) for r in (-1, 1)),
    ]
    for _ in range(6):
        size = random.uniform(0.12, 0.28)
        fruit = Surface(GRAIN, CLOTHES[int(random.integers(6))], (0.5, 0.4, 0.1), 0.1, seed=seed)
        where = at(random.uniform(-1.1, 1.1), 1.0 + size / 2, random.uniform(-0.4, 0.3))
        solids.append(Solid(BALL, where, (size,) * 3, fruit))
    return Thing(tuple(solids))


def ball(size: float, seed: int, motion: Motion | None = None, centre: Triple = (0, 0, 0)) -> Thing:
    """A multicoloured ball."""
    return Thing(
        (Solid(BALL, centre, (size,) * 3, Surface(PATCHES, (0.5, 0.5, 0.5), width=size / 5, variety=1.0, seed=seed)),),
        motion,
    )


def straight(start: Triple, step: Triple, turn: float | None = None) -> Motion:
    """From `start` by `step` per frame, facing the direction of travel, or turned by `turn` degrees."""
    heading = np.degrees(np.arctan2(step[0], step[2])) if turn is None else turn
    placed = turned(float(heading))

    def move(t: float) -> NDArray[np.float64]:
        pose = placed.copy()
        pose[:3, 3] = np.array(start) + t * np.array(step)
        return pose

    return move


def _turn_of(pose: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arctan2(pose[0, 2], pose[2, 2])))
