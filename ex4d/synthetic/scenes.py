"""The scenes that can be generated, by name. `make` is deterministic: the same arguments give the same bytes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.synthetic import motion, places, props
from ex4d.synthetic.footage import Example, Footage, Recording, film, shoot
from ex4d.synthetic.props import straight
from ex4d.synthetic.shading import Light
from ex4d.synthetic.textures import PATCHES, PLAIN
from ex4d.synthetic.tracing import BALL, BOX, CYLINDER
from ex4d.synthetic.world import Motion, Solid, Surface, Thing, Triple, World, daylight

SECOND_DEGREES = 20.0
"""Angle by which the second camera has orbited the scene at the end."""


def make(
    name: str,
    frames: int | None = None,
    width: int = 512,
    height: int = 288,
    seed: int = 0,
    *,
    noise: float = 2.0,
    shutter: float = 0.5,
    rolling: float = 0.0,
    distortion: float = 0.0,
) -> Example:
    """Generate a scene of `SCENES`.

    Args:
        name: of the scene.
        frames: number of frames; None uses the scene's usual number.
        width, height: in pixels.
        seed: varies hand-held shake, noise, and the look of things, but not their positions.
        noise, shutter, rolling, distortion: of the source camera, see `footage.Recording`. The second has none of them.

    Raises:
        InputError: there is no such scene.
    """
    if name not in SCENES:
        raise InputError(f"There is no scene {name!r}: choose one of {', '.join(SCENES)}.")
    count = frames or (3 if name == "three_frames" else 49)
    recording = Recording(width, height, count, shutter, noise, seed, rolling, distortion)
    if name == "cut":
        return _with_cut(recording)
    return Example(name, *shoot(SCENES[name](count, seed), recording))


def street(frames: int, seed: int) -> World:
    """A hand-held walk of 3 m in a street of repeating houses, windows, slabs and lamps; four things move."""
    things = places.street(seed)
    things += [
        props.person(seed + 1, straight((-0.75, 0, 4.4), (0.012, 0, 0.045))),
        props.person(seed + 2, straight((3.3, 0, 11.0), (-0.006, 0, -0.05))),
        props.person(seed + 3, straight((-2.8, 0, 9.0), (0.05, 0, 0.0)), 20),
        props.car(seed + 5, straight((1.35, 0, 17.0), (0, 0, -0.13))),
    ]
    steady = motion.walk((-0.2, -1.65, 0), (0.35, -1.65, 3.0), (0.3, -1.6, 12), (-1.2, -1.75, 14), frames)
    camera = motion.hand_held(steady, seed + 10)
    return World(tuple(things), daylight(-50, 48), camera, motion.beside(camera, (0, -1.5, 9), SECOND_DEGREES, frames),
                 lambda t: 62.0)  # fmt: skip


def tripod(frames: int, seed: int) -> World:
    """A pan of 28 degrees on a tripod across a market with a long lens; people walk past."""
    things = places.market(seed)
    things += [
        props.person(seed + 1, straight((-1.7, 0, 4.4), (0.05, 0, 0.0))),
        props.person(seed + 2, straight((2.6, 0, 7.4), (-0.06, 0, 0.004)), 20),
        props.person(seed + 4, straight((-2.6, 0, 12.6), (0.045, 0, 0.0))),
    ]
    camera = motion.on_tripod((0, -1.7, 0), (-3.0, -1.5, 12), 28, frames, tilt=1.5)
    return World(tuple(things), daylight(40, 40), camera, motion.beside(camera, (0, -1.4, 12), SECOND_DEGREES, frames),
                 lambda t: 38.0)  # fmt: skip


def drone(frames: int, seed: int) -> World:
    """An arc of 32 degrees above a village with a short lens; cars drive."""
    things = places.village(seed)
    things += [
        props.car(seed + 1, straight((-9.0, 0, -7.5), (0.26, 0, 0.0))),
        props.car(seed + 3, straight((8.0, 0, -4.6), (-0.22, 0, 0.0))),
        props.car(seed + 4, straight((2.0, 0, -10.5), (-0.07, 0, 0.02))),
    ]
    camera = motion.hand_held(motion.arc((0, -1.5, 2), 22, 9.5, -16, 16, frames), seed + 10, 0.03, 0.12)
    return World(tuple(things), daylight(70, 38, 0.5), camera,
                 motion.beside(camera, (0, -1.5, 2), SECOND_DEGREES, frames), lambda t: 68.0)  # fmt: skip


def still(frames: int, seed: int) -> World:
    """A still camera at a market; people nearby fill a third of the picture."""
    things = places.market(seed + 20)
    things += [
        props.person(seed + 1, straight((-1.0, 0, 2.1), (0.03, 0, 0.0)), 24),
        props.person(seed + 2, straight((1.3, 0, 2.5), (-0.028, 0, 0.0)), 22),
        props.person(seed + 3, straight((2.6, 0, 6.5), (-0.05, 0, 0.01)), 20),
        props.ball(0.5, seed + 4, _bouncing((-1.2, 0, 5.0), (0.04, 0, 0.0))),
    ]
    camera = motion.on_tripod((0, -1.5, 0), (0, -1.3, 10), 0, frames)
    return World(tuple(things), daylight(-35, 45), camera, motion.beside(camera, (0, -1.3, 7), SECOND_DEGREES, frames))


def telephoto(frames: int, seed: int) -> World:
    """A hand-held truck of 1.6 m along a market with a long lens; people cross close to the camera."""
    things = places.market(seed + 40)
    things += [
        props.person(seed + 1, straight((-1.6, 0, 8.0), (0.05, 0, 0.0)), 22),
        props.person(seed + 2, straight((2.2, 0, 10.0), (-0.035, 0, 0.0)), 22),
        props.person(seed + 5, straight((0.9, 0, 12.5), (0.02, 0, -0.03)), 22),
    ]
    steady = motion.walk((-0.8, -1.6, 0), (0.8, -1.6, 0.3), (0, -1.4, 14), (0.3, -1.4, 14), frames)
    camera = motion.hand_held(steady, seed + 10, 0.015, 0.35)
    return World(tuple(things), daylight(25, 50), camera, motion.beside(camera, (0, -1.4, 12), SECOND_DEGREES, frames),
                 lambda t: 26.0)  # fmt: skip


def blank_room(frames: int, seed: int) -> World:
    """A hand-held walk in a room with bare walls and nothing to track. A ball of one colour moves."""
    things = [
        *places.room(Surface(PLAIN, (0.62, 0.61, 0.58)), Surface(PLAIN, (0.50, 0.48, 0.45))),
        Thing((Solid(BOX, (1.0, -0.5, 4.2), (1.0, 1.0, 1.0), Surface(PLAIN, (0.60, 0.59, 0.57))),)),
        Thing((Solid(CYLINDER, (-1.2, -0.6, 4.6), (0.7, 1.2, 0.7), Surface(PLAIN, (0.60, 0.60, 0.58))),)),
        Thing(
            (Solid(BALL, (0, 0, 0), (0.7, 0.7, 0.7), Surface(PLAIN, (0.50, 0.40, 0.36))),),
            _bouncing((-1.0, 0, 3.4), (0.035, 0, 0.0)),
        ),
    ]
    camera = motion.hand_held(
        motion.walk((-0.5, -1.6, 0), (0.5, -1.6, 0.8), (0, -1.2, 4), (0.2, -1.2, 4), frames), seed + 10
    )
    return World(tuple(things), _lamp_light(), camera, motion.beside(camera, (0, -1.2, 4), SECOND_DEGREES, frames))


def all_moving(frames: int, seed: int) -> World:
    """A hand-held walk among things that all move and fill the picture: balls, boards, and a wall that slides past."""
    random = np.random.default_rng(seed)
    wall = Surface(PATCHES, (0.3, 0.3, 0.3), width=0.7, variety=1.0, strength=0.6, seed=seed)
    things = [
        Thing((Solid(BOX, (0, 0, 0), (60, 40, 0.5), wall),), straight((0, -3, 16), (0.09, 0.0, 0.0), 0)),
        Thing((Solid(BOX, (0, 0.5, 0), (90, 1.0, 90), props.paving(seed)),), straight((0, 0, 0), (-0.05, 0, -0.03), 0)),
    ]
    for n in range(14):
        x, z = random.uniform(-4, 4), random.uniform(4, 12)
        step = tuple(random.uniform(-0.05, 0.05, 3) * [1, 0.3, 1])
        things.append(props.ball(random.uniform(0.5, 1.4), seed + n, straight((x, random.uniform(-3, -0.5), z), step)))
    steady = motion.walk((-0.4, -1.6, 0), (0.4, -1.6, 1.0), (0, -1.5, 8), (0.3, -1.5, 8), frames)
    camera = motion.hand_held(steady, seed + 10)
    return World(tuple(things), daylight(30, 60), camera, motion.beside(camera, (0, -1.5, 8), SECOND_DEGREES, frames))


def zoom(frames: int, seed: int) -> World:
    """A still camera whose field of view zooms from 58 to 34 degrees during the shot; people walk past."""
    things = places.market(seed + 60)
    things += [
        props.person(seed + 1, straight((-1.4, 0, 5.6), (0.04, 0, 0.0)), 22),
        props.person(seed + 2, straight((1.8, 0, 9.0), (-0.05, 0, 0.0)), 22),
    ]
    camera = motion.on_tripod((0, -1.6, 0), (0, -1.4, 10), 0, frames)
    return World(tuple(things), daylight(-20, 50), camera, motion.beside(camera, (0, -1.4, 9), SECOND_DEGREES, frames),
                 lambda t: 58.0 - 24.0 * t / max(frames - 1, 1))  # fmt: skip


SCENES: dict[str, Callable[[int, int], World]] = {
    "street": street,
    "tripod": tripod,
    "drone": drone,
    "still": still,
    "telephoto": telephoto,
    "blank_room": blank_room,
    "all_moving": all_moving,
    "zoom": zoom,
    "three_frames": street,
    "cut": street,
}
"""Worlds for a number of frames and a seed. `cut` is the street, then from the middle on the drone's shot."""


def clean_plate(name: str, frames: int = 4, width: int = 512, height: int = 288, *, movers: bool = False) -> Footage:
    """The place of a scene once more, from a camera along the path of the second one and slightly higher.

    Args:
        name: of the scene, whose usual length sets the times.
        frames: number of frames.
        width, height: in pixels.
        movers: whether moving things are there again, at the same times.

    Returns:
        The footage; its poses are in the world of the scene, whose origin is the source camera of frame 0.
    """
    world, middle = SCENES[name](49, 0), 24.0
    things = world.things if movers else tuple(thing for thing in world.things if thing.motion is None)

    def camera(t: float) -> NDArray[np.float64]:
        pose = world.second_camera(middle + t).copy()
        pose[1, 3] -= 0.2
        return pose

    made = film(replace(world, things=things, camera=camera), Recording(width, height, frames, seed=1))
    from_plate = transforms.inverse(world.camera(0.0)) @ camera(0.0)
    poses = from_plate @ made.cameras.camera_to_world
    return replace(made, cameras=replace(made.cameras, camera_to_world=poses))


def _with_cut(recording: Recording) -> Example:
    """Two scenes in one clip, and the frame where it changes; each starts in its own world."""
    first = recording.frames // 2
    counts = (first, recording.frames - first)
    parts = [
        shoot(world(count, recording.seed), replace(recording, frames=count, seed=recording.seed + n))
        for n, (world, count) in enumerate(zip((street, drone), counts, strict=True))
    ]
    source, second = (_joined([part[view] for part in parts]) for view in (0, 1))
    return Example("cut", source, second, (first,))


def _joined(parts: list[Footage]) -> Footage:
    def all_of(name: str) -> NDArray:
        return np.concatenate([getattr(part, name) for part in parts])

    cameras = [part.cameras for part in parts]
    path = CameraPath(
        np.concatenate([c.camera_to_world for c in cameras]),
        np.concatenate([c.intrinsics for c in cameras]),
        cameras[0].width,
        cameras[0].height,
    )
    return Footage(all_of("frames"), all_of("depth"), all_of("things"), all_of("moving"), path)


def _lamp_light() -> Light:
    light = daylight(-30, 60)
    colours = light.colours * np.array([[0.35], [1.1], [1.4], [1], [1]])
    return light._replace(colours=colours)


def _bouncing(start: Triple, step: Triple) -> Motion:
    """A ball that bounces 0.9 m high, twice a second, and travels on."""
    along = straight(start, step, 0)

    def move(t: float) -> NDArray[np.float64]:
        pose = along(t)
        phase = (t / 12) % 1
        pose[1, 3] -= 0.3 + 0.9 * 4 * phase * (1 - phase)
        c, s = np.cos(0.12 * t), np.sin(0.12 * t)
        pose[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
        return pose

    return move
