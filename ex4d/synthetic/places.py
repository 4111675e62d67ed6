"""Static places in which scenes are set: lists of things, to which a scene adds moving ones."""

import numpy as np

from ex4d.synthetic import props
from ex4d.synthetic.props import straight
from ex4d.synthetic.textures import BRICK, GRAIN, PLANKS
from ex4d.synthetic.tracing import BOX, CYLINDER
from ex4d.synthetic.world import Solid, Surface, Thing


def street(seed: int) -> list[Thing]:
    """Rows of houses on both sides; houses, windows, lamps and parked cars repeat."""
    things = [
        Thing((props.ground(props.asphalt(seed)),)),
        *(
            Thing((Solid(BOX, (side * 4.2, -0.06, 25), (3.2, 0.12, 80), props.paving(seed + 1, 0.6, 0.1)),))
            for side in (-1, 1)
        ),
        Thing(
            tuple(
                Solid(BOX, (0, -0.004, z), (0.14, 0.012, 1.6), Surface(GRAIN, (0.62,) * 3, (0.45,) * 3, 0.3))
                for z in np.arange(1.5, 40, 3.4)
            )
        ),
    ]
    for n in range(5):
        for side, kind in ((-1, 0), (1, 3)):
            # Every other house looks the same.
            things.append(props.building((side * 9.6, 0, 2 + 9.0 * n), (8, 8.6 + 1.5 * ((n + kind) % 2), 8.9),
                                         kind + (n % 2), 0.04))  # fmt: skip
    things.append(props.building((0, 0, 52), (34, 12, 8), 7, 0.1))
    things += [props.lamp(side * 3.0, z) for z in np.arange(4.0, 40, 6.0) for side in (-1, 1)]
    things += [props.car(seed + n % 2, at=straight((-2.0, 0, 13.0 + 6 * n), (0, 0, 1))) for n in range(3)]
    things += [props.tree(side * 4.7, z, 5.0, seed + int(z)) for side, z in ((1, 9.0), (-1, 19.0), (1, 27.0))]
    return things


def market(seed: int) -> list[Thing]:
    """A square paved with slabs, with stalls, trees, a well and crates, and houses behind it."""
    things = [
        Thing((props.ground(props.paving(seed, 0.45, 0.35)),)),
        *(
            props.building(
                (-24 + 9.5 * n, 0, 24 + 2 * (n % 2)), (9.4, 8 + 3 * (n % 3), 8), seed + n, 0.35, 2.2 + 0.3 * (n % 3)
            )
            for n in range(6)
        ),
        *(props.stall(-6.2 + 3.6 * n, 15.0 - 1.5 * (n % 2), 8 * (n % 3) - 8, seed + n) for n in range(4)),
        props.tree(-5.0, 18.5, 6.5, seed + 1),
        props.tree(6.3, 17.0, 7.0, seed + 2),
        props.lamp(-1.5, 10.5),
        props.lamp(4.8, 9.5),
    ]
    brick = Surface(BRICK, (0.45, 0.24, 0.17), (0.5, 0.46, 0.40), 0.25, 0.4, 0.5, seed)
    wood = Surface(PLANKS, (0.36, 0.23, 0.12), (0.08, 0.05, 0.03), 0.25, 0.6, 0.7, seed)
    things.append(Thing((Solid(CYLINDER, (1.4, -0.45, 11.0), (2.0, 0.9, 2.0), brick),)))
    things += [
        Thing((Solid(BOX, (x, -0.35, z), (0.8, 0.7, 0.8), wood, 20.0 * n),))
        for n, (x, z) in enumerate([(-3.1, 8.6), (-2.2, 9.3), (3.2, 8.0), (5.6, 11.5)])
    ]
    return things


def village(seed: int) -> list[Thing]:
    """Cottages, trees and fences along a road."""
    random = np.random.default_rng(seed + 7)
    fence = Surface(PLANKS, (0.40, 0.30, 0.18), (0.1, 0.07, 0.04), 0.2, 0.5, 0.6, seed)
    field = Surface(GRAIN, (0.30, 0.24, 0.12), (0.44, 0.40, 0.18), 1.2, strength=0.9, seed=seed)
    things = [
        Thing((props.ground(props.grass(seed)),)),
        Thing((Solid(BOX, (0, -0.02, -6.0), (160, 0.06, 5.2), props.asphalt(seed)),)),
        Thing((Solid(BOX, (2.5, -0.03, 22), (4, 0.08, 50), props.paving(seed, 0.8)),)),
        Thing((Solid(BOX, (-24, -0.03, 22), (26, 0.08, 34), field),)),
        Thing((Solid(BOX, (-3, -0.5, -2.6), (9, 1.0, 0.1), fence),)),
        Thing((Solid(BOX, (9, -0.5, -2.6), (7, 1.0, 0.1), fence),)),
    ]
    built = [(-5.0, 2), (8.5, 3), (-9, 13), (9, 15), (-4.5, 21), (17, 8), (-17, 5), (10, 28), (-12, 33)]
    for n, (x, z) in enumerate(built):
        size = (6.0 + random.uniform(-1, 1), 3.4 + random.uniform(0, 1.5), 7.5 + random.uniform(-1, 1))
        things.append(props.cottage((x, 0, z), size, float(random.choice([0, 90, 8, 80])), seed + n))
    for n in range(16):
        right, ahead = random.uniform(-26, 26), random.uniform(-14, 40)
        if abs(ahead + 6) > 4 and all(np.hypot(right - x, ahead - z) > 6 for x, z in built):
            things.append(props.tree(right, ahead, random.uniform(3, 6.5), seed + n))
    return things


def room(wall: Surface, floor: Surface) -> list[Thing]:
    """Four walls, a ceiling and a floor, each its own thing; none of them casts a shadow."""
    sides = [
        ((0, -1.5, 6.5), (8, 3.4, 0.2), wall),
        ((0, -1.5, -3.0), (8, 3.4, 0.2), wall),
        ((-3.5, -1.5, 2), (0.2, 3.4, 11), wall),
        ((3.5, -1.5, 2), (0.2, 3.4, 11), wall),
        ((0, -3.1, 2), (8, 0.2, 11), wall),
        ((0, 0.1, 2), (8, 0.2, 11), floor),
    ]
    return [Thing((Solid(BOX, at, size, look, throws_shadow=False),)) for at, size, look in sides]
