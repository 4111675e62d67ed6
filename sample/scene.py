"""The scene of the sample: sheep at a windmill, built from scratch with Blender's own data API.

Blender's axes and metres. The source camera is at (0, 0, CAMERA_HEIGHT) and looks level along +Y, so the planar depth
of a point is simply its Y. Everything that a camera can see is geometry at a finite distance, and every surface is
diffuse or emissive, so a point has the same colour from every direction.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import bpy
import numpy as np
from mathutils import Matrix, Vector, noise

import bmesh  # isort: skip  # bpy provides it, so it comes after

WIDTH, HEIGHT, FRAMES, FPS = 512, 288, 49, 24
LENS_MM, SENSOR_MM = 24.0, 36.0
CAMERA_HEIGHT = 2.5
PIVOT = (0.0, 9.0, CAMERA_HEIGHT)
"""Point that the second camera orbits, on the source camera's optical axis."""
ORBIT_DEGREES = 60.0
"""Angle of the second camera at the last frame; it grows evenly from 0 at the first."""

SKY_RADIUS = 300.0
HEADING = Vector((0.966, 0.259, 0.0))
"""Direction of the leaping sheep: to the right and slightly away, so that both cameras see much of its side."""
FENCE_CROSSING = Vector((-0.9, 9.2, 0.0))


def build_scene() -> tuple[bpy.types.Scene, bpy.types.Object, bpy.types.Object]:
    """Replace the open file with the sample's scene; return it with the source and the second camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.render.fps = 0, FRAMES - 1, FPS
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = (
        WIDTH,
        HEIGHT,
        100,
    )
    _light(scene)
    _landscape()
    _windmill(Vector((-2.3, 15.6, 0)))
    _cottage(Vector((-6.5, 11.3, 0)))
    _fence()
    _laundry()
    _tree(Vector((3.9, 13.4, 0)))
    _far_trees()
    _flowers()
    _balloon(
        "Balloon",
        Vector((5.2, 36, 10.6)),
        Vector((-1.6, -1.0, 1.0)),
        2.6,
        (0.80, 0.10, 0.06),
        (0.95, 0.74, 0.26),
    )
    _balloon(
        "Far Balloon",
        Vector((19, 78, 20.5)),
        Vector((-2.6, 0, -0.8)),
        3.4,
        (0.08, 0.26, 0.50),
        (0.92, 0.88, 0.76),
    )
    _leaping_sheep()
    _grazing_sheep("Grazing Sheep", Vector((-4.0, 7.2, 0)), math.radians(20), 1.1, 0.0)
    _grazing_sheep("Lamb", Vector((4.3, 15.6, 0)), math.radians(165), 0.9, 1.7)
    _grazing_sheep("Far Sheep", Vector((2.0, 14.2, 0)), math.radians(20), 1.1, 3.1)
    source, second = _cameras(scene)
    scene.camera = source
    scene.frame_set(0)
    return scene, source, second


# Cameras and light


def _cameras(scene: bpy.types.Scene) -> tuple[bpy.types.Object, bpy.types.Object]:
    def camera(name: str) -> bpy.types.Object:
        data = bpy.data.cameras.new(name)
        data.lens, data.sensor_width, data.sensor_fit = LENS_MM, SENSOR_MM, "HORIZONTAL"
        data.clip_start, data.clip_end = 0.05, 4 * SKY_RADIUS
        result = _link(bpy.data.objects.new(name, data))
        result.rotation_euler = (math.pi / 2, 0, 0)
        result.location = (0, 0, CAMERA_HEIGHT)
        return result

    source, second = camera("Source Camera"), camera("Second Camera")
    radius = PIVOT[1]
    for frame in range(FRAMES):
        angle = math.radians(ORBIT_DEGREES) * frame / (FRAMES - 1)
        second.location = (radius * math.sin(angle), PIVOT[1] - radius * math.cos(angle), CAMERA_HEIGHT)
        second.rotation_euler[2] = angle
        _key(second, frame, "location", "rotation_euler")
    return source, second


def _light(scene: bpy.types.Scene) -> None:
    sun = bpy.data.lights.new("Sun", "SUN")
    sun.energy, sun.angle, sun.color = 3.6, math.radians(1.5), (1.0, 0.84, 0.62)
    light = _link(bpy.data.objects.new("Sun", sun))
    light.rotation_euler = Vector((-0.80, 0.42, -0.62)).to_track_quat("-Z", "Y").to_euler()
    world = bpy.data.worlds.new("Sky Light")
    scene.world = world
    if bpy.app.version < (5, 0):  # always on, and deprecated, from 5.0
        world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.50, 0.66, 0.95, 1)
    background.inputs["Strength"].default_value = 0.62


# Land and sky


def ground_height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the land in metres: nearly flat near the camera, then hills, then mountains all around."""
    r = np.hypot(x, y - PIVOT[1])
    near = 0.05 * np.sin(0.9 * x + 0.4) * np.sin(0.8 * y + 1.0)
    rolling = 0.5 + 0.5 * np.sin(0.062 * x + 1.9) * np.cos(0.047 * y - 0.6) + 0.25 * np.sin(0.13 * x - 0.11 * y)
    ridge = 1 - np.abs(np.sin(0.0173 * x + 0.009 * y + 0.5)) * 0.75
    ridge = ridge + 0.28 * np.sin(0.051 * x + 0.8 * np.sin(0.04 * y)) + 0.10 * np.sin(0.13 * x + 0.17 * y)
    rough = 0.05 * np.sin(0.41 * x - 0.23 * y) + 0.03 * np.sin(0.71 * y + 0.52 * x)
    return near + 6.0 * _step(22, 75, r) * rolling + 44.0 * _step(100, 235, r) * (ridge + rough)


def _landscape() -> None:
    rings = np.concatenate([[0.02], np.geomspace(0.6, SKY_RADIUS + 5, 210)])
    turns = np.linspace(0, 2 * np.pi, 540, endpoint=False)
    x = np.outer(rings, np.sin(turns))
    y = PIVOT[1] + np.outer(rings, np.cos(turns))
    points = np.stack([x, y, ground_height(x, y)], -1).reshape(-1, 3)
    ids = np.arange(len(points)).reshape(x.shape)
    after = np.roll(ids, -1, 1)
    faces = np.stack([ids[:-1], after[:-1], after[1:], ids[1:]], -1).reshape(-1, 4)
    _mesh("Land", points, faces[:, ::-1], _land_material(), smooth=True)

    dome = _ball("Sky", (0, PIVOT[1], 0), (SKY_RADIUS,) * 3, _sky_material(), detail=5)
    # This geometry only gives the sky a depth; light passes through it and comes from the world.
    dome.visible_diffuse = dome.visible_shadow = dome.visible_glossy = dome.visible_transmission = False


def _land_material() -> bpy.types.Material:
    g = Graph("Land")
    where = g.node("ShaderNodeNewGeometry").outputs["Position"]
    broad = g.noise(where, 0.22, 2)
    meadow = g.ramp(broad, [(0.30, (0.085, 0.155, 0.022)), (0.48, (0.155, 0.235, 0.035)), (0.68, (0.30, 0.31, 0.065))])
    tufts = g.ramp(g.noise(where, 2.3, 3), [(0.36, (0.60, 0.64, 0.60)), (0.62, (1.30, 1.22, 1.05))])
    meadow = g.mix(1.0, meadow, tufts, "MULTIPLY")
    # A lane winds from the lower edge to the mill, along about x = 0.35 - 0.26 y.
    x, y, z = g.split(where)
    bend = g.math("SINE", g.math("MULTIPLY_ADD", y, 0.42, 0.3))
    middle = g.math("MULTIPLY_ADD", y, -0.26, g.math("MULTIPLY_ADD", bend, 0.75, 0.35))
    off = g.math("ABSOLUTE", g.math("SUBTRACT", x, middle))
    off = g.math("MULTIPLY_ADD", g.noise(where, 1.6, 2), 0.5, off)
    lane = g.ramp(g.noise(where, 3.1, 3), [(0.3, (0.33, 0.22, 0.12)), (0.7, (0.58, 0.43, 0.26))])
    lane_end = g.step(y, 13.0, 15.5)
    off_lane = g.math("MAXIMUM", g.step(off, 0.68, 0.86), lane_end)
    # Fields on the hills, woods above them, rock and snow on the mountains.
    cells = g.node("ShaderNodeTexVoronoi", Vector=where, Scale=0.055).outputs["Color"]
    field = g.ramp(
        g.split(cells)[0],
        [
            (0.0, (0.10, 0.19, 0.03)),
            (0.35, (0.26, 0.29, 0.06)),
            (0.6, (0.44, 0.35, 0.11)),
            (0.85, (0.07, 0.14, 0.035)),
        ],
    )
    field = g.mix(
        1.0,
        field,
        g.ramp(g.noise(where, 0.5, 3), [(0.3, (0.75, 0.75, 0.75)), (0.7, (1.2, 1.2, 1.2))]),
        "MULTIPLY",
    )
    rock = g.ramp(g.noise(where, 0.09, 4), [(0.36, (0.10, 0.13, 0.10)), (0.56, (0.26, 0.24, 0.22))])
    snow_line = g.math("MULTIPLY_ADD", g.noise(where, 0.07, 3), 22.0, z)
    rock = g.mix(g.step(snow_line, 48.0, 54.0), rock, (0.80, 0.82, 0.86))
    # Shaders are mixed instead of colours, so that Cycles only computes the visible one.
    distance = g.distance(where, (0.0, PIVOT[1], 0.0))
    by_the_camera = g.mix_shader(off_lane, g.diffuse(lane), g.diffuse(meadow))
    far = g.mix_shader(g.step(distance, 95.0, 130.0), g.diffuse(field), g.diffuse(rock))
    shader = g.mix_shader(g.step(distance, 22.0, 34.0), by_the_camera, far)
    return g.finish(g.hazy(shader))


def _sky_material() -> bpy.types.Material:
    g = Graph("Sky")
    where = g.node("ShaderNodeNewGeometry").outputs["Position"]
    x, y, z = g.split(where)
    colour = g.ramp(
        g.math("DIVIDE", z, SKY_RADIUS),
        [
            (0.0, (0.96, 0.80, 0.62)),
            (0.10, (0.78, 0.80, 0.80)),
            (0.24, (0.42, 0.62, 0.84)),
            (0.6, (0.16, 0.36, 0.68)),
        ],
    )
    flat = g.node("ShaderNodeCombineXYZ", X=x, Y=y, Z=g.math("MULTIPLY", z, 3.2)).outputs["Vector"]
    puffs = g.step(g.noise(flat, 0.0085, 5), 0.50, 0.66)
    colour = g.mix(g.math("MULTIPLY", puffs, 0.85), colour, (1.0, 0.95, 0.88))
    return g.finish(g.node("ShaderNodeEmission", Color=colour).outputs[0])


def _far_trees() -> None:
    """Round trees and firs on the hills, all around."""
    rng = np.random.default_rng(5)
    leafy = _speckled("Far Leaves", (0.05, 0.115, 0.02), (0.16, 0.24, 0.045), 0.9, haze=True)
    parts = []
    while len(parts) < 230:
        r, a = rng.uniform(24, 95), rng.uniform(0, 2 * np.pi)
        x, y = r * np.sin(a), PIVOT[1] + r * np.cos(a)
        size = rng.uniform(0.8, 1.5) * (1 + r / 90)
        if abs(x) < 4 and 0 < y < 24:
            continue
        z = float(ground_height(np.float64(x), np.float64(y)))
        parts.append((Vector((x, y, z + 0.8 * size)), Vector((size * 0.8, size * 0.8, size * rng.uniform(1.0, 1.7)))))
    _balls("Far Trees", parts, leafy, detail=2, lumps=0.22)


# Static things


def _windmill(foot: Vector) -> None:
    plaster = _speckled("Plaster", (0.60, 0.54, 0.44), (0.82, 0.77, 0.66), 1.4)
    wood = _speckled("Mill Wood", (0.26, 0.15, 0.08), (0.38, 0.24, 0.13), 2.0)
    door = _speckled("Blue Paint", (0.13, 0.26, 0.37), (0.19, 0.34, 0.45), 3.0)
    cap = _tiles("Mill Cap", (0.36, 0.10, 0.05), (0.52, 0.19, 0.09))
    canvas = _speckled("Canvas", (0.66, 0.50, 0.32), (0.80, 0.66, 0.46), 1.4)
    mill = _empty("Windmill", foot, math.radians(27))
    _cone("Tower", (0, 0, -0.2), (0, 0, 4.6), 1.45, 0.98, plaster, mill, 28)
    _cone("Plinth", (0, 0, -0.2), (0, 0, 0.55), 1.56, 1.52, _stones("Plinth", 3.0), mill, 28)
    _cone("Cap", (0, 0, 4.6), (0, 0, 5.7), 1.14, 0.18, cap, mill, 28)
    _box("Door", (0, -1.36, 0.75), (0.7, 0.2, 1.5), door, mill)
    for z, x in ((3.1, 0.0), (3.9, 0.0)):
        _box("Window", (x, -1.17 + 0.11 * (z - 3.0), z), (0.34, 0.2, 0.42), door, mill)
    mill.scale = (1.12,) * 3
    wheel = _empty("Sails", Vector((0, -1.95, 4.75)), 0, mill)
    _tube("Shaft", (0, -0.15, 0), (0, 1.6, 0), 0.13, wood, wheel)
    for k in range(4):
        sail = _empty("Sail", Vector((0, 0, 0)), 0, wheel)
        sail.rotation_euler = (0, k * math.pi / 2, 0)
        _tube("Spar", (0, 0, 0), (0, 0, 3.1), 0.06, wood, sail)
        for z in np.linspace(0.7, 3.0, 6):
            _tube("Bar", (0, 0, z), (0.75, 0, z), 0.034, wood, sail)
        for x in (0.375, 0.75):
            _tube("Lath", (x, 0, 0.7), (x, 0, 3.0), 0.034, wood, sail)
        cloth = [(0.04, -0.04, 0.75), (0.72, -0.04, 0.75), (0.72, -0.04, 1.9), (0.04, -0.04, 2.3)]
        _mesh("Canvas", cloth, [(0, 1, 2, 3)], canvas, sail)
    for frame in range(FRAMES):
        wheel.rotation_euler = (0, 0.35 + frame * math.radians(1.6), 0)
        _key(wheel, frame, "rotation_euler")


def _cottage(foot: Vector) -> None:
    wall = _speckled("Cottage Wall", (0.66, 0.46, 0.26), (0.84, 0.64, 0.40), 1.1)
    beam = _speckled("Beams", (0.10, 0.055, 0.03), (0.18, 0.10, 0.06), 2.5)
    pane = _speckled("Panes", (0.10, 0.15, 0.20), (0.20, 0.28, 0.34), 2.0)
    paint = _speckled("Green Paint", (0.05, 0.16, 0.10), (0.09, 0.24, 0.15), 3.0)
    house = _empty("Cottage", foot, math.radians(33))
    w, d, h, top = 2.3, 1.6, 2.0, 3.5
    front = [(-w, -d, -0.3), (w, -d, -0.3), (w, -d, h), (-w, -d, h)]
    side = [(w, -d, -0.3), (w, d, -0.3), (w, d, h), (w, 0, top), (w, -d, h)]
    back = [(-x, -y, z) for x, y, z in front]
    other = [(-x, -y, z) for x, y, z in side]
    points = front + side + back + other
    _mesh("Walls", points, [(0, 1, 2, 3), (4, 5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16, 17)], wall, house)
    roof = _tiles("Roof", (0.40, 0.12, 0.06), (0.60, 0.24, 0.12))
    pitch = math.atan2(top - h, d)
    for turn in (0, math.pi):
        panel = _box("Roof", (0, 0, 0), (2 * w + 0.5, 2.45, 0.1), roof, house)
        panel.matrix_local = (
            Matrix.Rotation(turn, 4, "Z")
            @ Matrix.Translation((0, -0.5 * d - 0.12, 0.5 * (h + top) - 0.04))
            @ Matrix.Rotation(pitch, 4, "X")
        )
    for x in (-w, -0.75, 0.75, w):
        _box("Beam", (x, -d - 0.01, h / 2), (0.13, 0.1, h), beam, house)
    _box("Beam", (0, -d - 0.01, h - 0.1), (2 * w, 0.1, 0.13), beam, house)
    _box("Door", (0, -d, 0.75), (0.8, 0.12, 1.6), paint, house)
    for x in (-1.5, 1.5):
        _box("Window", (x, -d, 1.15), (0.8, 0.08, 0.7), pane, house)
        _box("Sill", (x, -d - 0.05, 0.75), (0.95, 0.2, 0.09), beam, house)
        for bar in ((0.05, 0.14, 0.7), (0.8, 0.14, 0.05)):
            _box("Window Bar", (x, -d, 1.15), bar, wall, house)
    _box("Side Window", (w, 0, 1.2), (0.08, 0.8, 0.8), pane, house)
    _box("Chimney", (1.2, 0.4, 3.5), (0.5, 0.5, 1.4), _stones("Chimney", 4.0), house)


def _fence() -> None:
    wood = _speckled("Fence Wood", (0.30, 0.19, 0.10), (0.56, 0.40, 0.24), 3.2)
    along = Vector((-HEADING.y, HEADING.x, 0))
    posts = [FENCE_CROSSING + along * s for s in np.linspace(-1.5, 4.1, 6)]
    for post in posts:
        _box("Post", post + Vector((0, 0, 0.36)), (0.13, 0.13, 0.98), wood).rotation_euler[2] = 0.262
    for a, b in itertools.pairwise(posts):
        for z in (0.30, 0.62):
            rail = _box("Rail", (a + b) / 2 + Vector((0, 0, z)), (0.05, (b - a).length + 0.1, 0.09), wood)
            rail.rotation_euler[2] = -math.atan2(along.x, along.y)


def _laundry() -> None:
    wood = _speckled("Line Post", (0.26, 0.17, 0.10), (0.42, 0.30, 0.19), 3.0)
    left, right = Vector((-5.2, 8.5, 0)), Vector((-2.7, 10.0, 0))
    along = (right - left).normalized()
    for foot in (left, right):
        _tube("Line Post", foot - Vector((0, 0, 0.1)), foot + Vector((0, 0, 2.1)), 0.055, wood)
        _tube(
            "Line Arm",
            foot + Vector((0, 0, 1.98)) - along * 0.25,
            foot + Vector((0, 0, 1.98)) + along * 0.25,
            0.04,
            wood,
        )
    _tube("Line", left + Vector((0, 0, 2.0)), right + Vector((0, 0, 2.0)), 0.018, wood)
    cloths = [
        (0.22, 0.80, 1.25, _checks("Red Checks", (0.62, 0.05, 0.05), (0.86, 0.80, 0.70), 5.0)),
        (1.16, 0.55, 0.80, _speckled("Blue Cloth", (0.05, 0.20, 0.42), (0.09, 0.30, 0.55), 2.0)),
        (
            1.84,
            0.95,
            1.10,
            _checks("Yellow Stripes", (0.86, 0.56, 0.10), (0.88, 0.80, 0.62), 4.0, stripes=True),
        ),
    ]
    for start, width, drop, material in cloths:
        n, m = 24, 24
        u, v = np.meshgrid(np.linspace(0, width, n), np.linspace(0, -drop, m))
        points = np.stack([u, v, 0 * u], -1).reshape(-1, 3)
        ids = np.arange(n * m).reshape(m, n)
        faces = np.stack([ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]], -1).reshape(-1, 4)
        cloth = _mesh("Cloth", points, faces, material, smooth=True)
        cloth.location = left + along * start + Vector((0, 0, 2.0))
        cloth.rotation_euler = (math.pi / 2, 0, math.atan2(along.y, along.x))
        group = cloth.vertex_groups.new(name="Free")
        for row in range(m):
            group.add([int(i) for i in ids[row]], row / (m - 1), "REPLACE")
        wave = cloth.modifiers.new("Wind", "WAVE")
        wave.use_x, wave.use_y, wave.use_normal, wave.vertex_group = True, True, False, "Free"
        wave.start_position_x, wave.start_position_y = -2.0, 1.0
        wave.height, wave.width, wave.narrowness, wave.speed = 0.16, 1.0, 2.0, 0.045
        wave.time_offset = -200 - 17 * start


def _tree(foot: Vector) -> None:
    bark = _speckled("Bark", (0.11, 0.07, 0.045), (0.24, 0.16, 0.10), 3.5)
    leaves = _speckled("Leaves", (0.30, 0.11, 0.015), (0.72, 0.36, 0.05), 2.1)
    tree = _empty("Tree", foot, 0)
    _cone("Trunk", (0, 0, -0.2), (0.05, 0, 2.2), 0.26, 0.15, bark, tree, 14)
    for tip in ((-1.0, -0.3, 2.9), (0.9, 0.2, 3.0), (0.1, -0.6, 3.2), (-0.3, 0.5, 3.1)):
        _cone("Branch", (0.03, 0, 1.5), tip, 0.09, 0.04, bark, tree, 10)
    lumps = [
        ((0.0, 0.0, 3.5), 1.05), ((-0.95, -0.2, 3.1), 0.72), ((0.95, 0.1, 3.2), 0.78), ((0.2, -0.7, 3.1), 0.70),
        ((-0.35, 0.5, 3.9), 0.80), ((0.55, 0.3, 4.1), 0.72), ((-0.1, 0.6, 3.0), 0.70),
    ]  # fmt: skip
    _balls(
        "Canopy",
        [(Vector(p), Vector((r, r, 0.86 * r))) for p, r in lumps],
        leaves,
        tree,
        detail=5,
        lumps=0.16,
    )
    # Loose leaves, on the fringe of the canopy and in the grass.
    rng = np.random.default_rng(11)
    points, faces = [], []
    for k in range(150):
        a = rng.uniform(0, 2 * np.pi)
        if k < 60:
            r = rng.uniform(1.45, 1.9)
            c = Vector((r * math.cos(a), 0.9 * math.sin(a), 3.45 + 0.75 * r * math.sin(a + 0.4)))
        else:
            r = 2.3 * math.sqrt(rng.uniform(0.02, 1))
            x, y = r * math.cos(a), r * math.sin(a)
            c = Vector((x, y, 0.03 + float(ground_height(np.float64(x + foot.x), np.float64(y + foot.y)))))
        turn = Matrix.Rotation(rng.uniform(0, 6.3), 3, "Z") @ Matrix.Rotation(rng.uniform(-0.9, 0.9), 3, "X")
        if k >= 60:
            turn = Matrix.Rotation(rng.uniform(0, 6.3), 3, "Z")
        leaf = [Vector(p) for p in ((-0.09, 0, 0), (0, -0.045, 0.01), (0.09, 0, 0), (0, 0.045, 0.01))]
        faces.append(tuple(range(len(points), len(points) + 4)))
        points += [c + turn @ p for p in leaf]
    _mesh("Loose Leaves", points, faces, leaves, tree)


def _flowers() -> None:
    rng = np.random.default_rng(21)
    stalk = _speckled("Stalks", (0.10, 0.20, 0.03), (0.16, 0.28, 0.05), 2.0)
    petals = [
        _speckled("Poppies", (0.66, 0.06, 0.03), (0.85, 0.14, 0.06), 8.0),
        _speckled("Daisies", (0.84, 0.80, 0.72), (0.92, 0.90, 0.84), 8.0),
    ]
    heads: list[list[tuple[Vector, Vector]]] = [[], []]
    points, faces = [], []
    while len(heads[0]) + len(heads[1]) < 60:
        y = rng.uniform(6.2, 12.0)
        x = rng.uniform(-0.75, 0.62) * y
        lane = 0.35 + 0.75 * math.sin(0.42 * y + 0.3) - 0.26 * y
        if abs(x - lane) < 1.0 or (Vector((x, y, 0)) - FENCE_CROSSING).cross(HEADING).length < 0.45:
            continue
        z, tall = float(ground_height(np.float64(x), np.float64(y))), rng.uniform(0.14, 0.26)
        lean = Vector((rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05), tall))
        base, i = Vector((x, y, z)), len(points)
        ring = [Vector((0.011 * math.cos(a), 0.011 * math.sin(a), 0)) for a in (0, 2.1, 4.2)]
        points += [base + r for r in ring] + [base + lean + r for r in ring]
        faces += [(i + k, i + (k + 1) % 3, i + 3 + (k + 1) % 3, i + 3 + k) for k in range(3)]
        size = rng.uniform(0.055, 0.075)
        heads[int(rng.uniform() < 0.5)].append((base + lean, Vector((size, size, 0.7 * size))))
    _mesh("Stalks", points, faces, stalk)
    for name, parts, material in zip(("Poppies", "Daisies"), heads, petals, strict=True):
        _balls(name, parts, material, detail=2)


# Moving things


def _balloon(name: str, start: Vector, drift: Vector, radius: float, a: Sequence[float], b: Sequence[float]) -> None:
    body = _empty(name, start, 0.3)
    g = Graph(name)
    x, y, z = g.split(g.node("ShaderNodeTexCoord").outputs["Object"])
    gore = g.math("SINE", g.math("MULTIPLY", g.math("ARCTAN2", y, x), 8.0))
    stripes = g.mix(g.step(gore, -0.12, 0.12), a, b)
    band = g.math("SUBTRACT", 1.0, g.step(g.math("ABSOLUTE", g.math("DIVIDE", z, radius)), 0.16, 0.19))
    stripes = g.mix(band, stripes, (0.88, 0.84, 0.74))
    envelope = _ball("Envelope", (0, 0, 0), (radius,) * 3, g.finish(g.hazy(g.diffuse(stripes))), body, detail=5)
    co = np.array([v.co for v in envelope.data.vertices])
    under = np.clip(-co[:, 2] / radius, 0, 1)
    co[:, :2] *= (1 - 0.45 * under**2)[:, None]
    co[:, 2] *= 1 + 0.35 * under
    envelope.data.vertices.foreach_set("co", co.astype(np.float32).ravel())
    wicker = _speckled(name + " Basket", (0.24, 0.14, 0.06), (0.40, 0.26, 0.13), 2.0, haze=True)
    _box("Basket", (0, 0, -2.0 * radius), (0.36 * radius, 0.36 * radius, 0.3 * radius), wicker, body)
    for sx in (-1, 1):
        for sy in (-1, 1):
            low = (0.17 * radius * sx, 0.17 * radius * sy, -1.9 * radius)
            _tube(
                "Rope",
                low,
                (0.34 * radius * sx, 0.34 * radius * sy, -1.1 * radius),
                0.014 * radius,
                wicker,
                body,
            )
    for frame in range(FRAMES):
        body.location = start + drift * (frame / (FRAMES - 1))
        _key(body, frame, "location")


def _sheep(name: str) -> tuple[bpy.types.Object, bpy.types.Object, list[bpy.types.Object]]:
    """A sheep facing along its X axis with its feet at height 0: its root, its head, and its legs (front two first)."""
    wool = _speckled("Wool", (0.58, 0.52, 0.43), (0.90, 0.85, 0.76), 2.6)
    dark = _speckled("Face", (0.10, 0.078, 0.066), (0.15, 0.12, 0.10), 4.0)
    white, black = (
        _speckled("Eye", (0.85,) * 3, (0.9,) * 3, 1.0),
        _speckled("Pupil", (0.01,) * 3, (0.015,) * 3, 1.0),
    )
    root = _empty(name, Vector((0, 0, 0)), 0)
    _balls("Wool", [(Vector((0, 0, 0.66)), Vector((0.56, 0.37, 0.36)))], wool, root, detail=5, lumps=0.13)
    _ball("Tail", (-0.58, 0, 0.74), (0.13, 0.09, 0.11), wool, root, detail=3)
    head = _empty("Head", Vector((0.50, 0, 0.86)), 0, root)
    _ball("Face", (0.17, 0, 0.04), (0.22, 0.125, 0.15), dark, head, detail=3)
    _ball("Cap", (0.03, 0, 0.15), (0.15, 0.14, 0.11), wool, head, detail=3)
    for s in (-1, 1):
        ear = _ball("Ear", (0.03, 0.20 * s, 0.07), (0.05, 0.12, 0.035), dark, head, detail=3)
        ear.rotation_euler = (-0.5 * s, 0, -0.3 * s)
        _ball("Eye", (0.26, 0.085 * s, 0.10), (0.042,) * 3, white, head, detail=3)
        _ball("Pupil", (0.292, 0.098 * s, 0.103), (0.02,) * 3, black, head, detail=2)
    legs = []
    for x in (0.30, -0.32):
        for s in (-1, 1):
            hip = _empty("Hip", Vector((x, 0.17 * s, 0.48)), 0, root)
            _cone("Leg", (0, 0, 0), (0, 0, -0.47), 0.06, 0.045, dark, hip, 10)
            legs.append(hip)
    return root, head, legs


def _leaping_sheep() -> None:
    root, head, legs = _sheep("Leaping Sheep")
    root.scale = (1.25,) * 3
    turn = math.atan2(HEADING.y, HEADING.x)
    half = 1.05  # metres from take-off to the fence
    for frame in range(FRAMES):
        way = -2.5 + 4.5 * frame / (FRAMES - 1)
        place = FENCE_CROSSING + HEADING * way
        air = max(0.0, 1 - (way / half) ** 2)
        stride = math.sin(way * 7.0)
        root.location = place + Vector((0, 0, 0.86 * air + 0.05 * abs(stride) * (air == 0)))
        pitch = -0.62 * (-way / half) if air else 0.10 * stride
        root.rotation_euler = (0, pitch, turn)
        for k, leg in enumerate(legs):
            front = k < 2
            swing = 0.55 * math.sin(way * 7.0 + (0 if front else 2.4) + 0.5 * (k % 2))
            tuck = (-1.25 if way < 0.3 else -0.7) if front else (1.15 if way > -0.5 else 0.8)
            leg.rotation_euler = (0, tuck * min(1, 2.5 * air) + swing * (air == 0), 0)
            _key(leg, frame, "rotation_euler")
        head.rotation_euler = (0, -0.25 * air + 0.08 * stride, 0)
        _key(head, frame, "rotation_euler")
        _key(root, frame, "location", "rotation_euler")


def _grazing_sheep(name: str, place: Vector, turn: float, size: float, phase: float) -> None:
    root, head, _ = _sheep(name)
    ground = float(ground_height(np.float64(place.x), np.float64(place.y)))
    root.location, root.scale = place + Vector((0, 0, ground)), (size,) * 3
    root.rotation_euler = (0, 0, turn)
    for frame in range(FRAMES):
        sway = math.sin(0.13 * frame + phase)
        head.rotation_euler = (0, 0.45 + 0.35 * sway, 0.25 * math.sin(0.09 * frame + 2 * phase))
        _key(head, frame, "rotation_euler")


# Materials


class Graph:
    """A material under construction: a thin layer over shader nodes."""

    def __init__(self, name: str):
        self.material = bpy.data.materials.new(name)
        if bpy.app.version < (5, 0):
            self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()

    def node(self, kind: str, properties: dict | None = None, **inputs: object) -> bpy.types.Node:
        """Add a node; an input is a socket to link, or a value."""
        node = self.tree.nodes.new(kind)
        for key, value in (properties or {}).items():
            setattr(node, key, value)
        for key, value in inputs.items():
            self._set(node.inputs[key.replace("_", " ")], value)
        return node

    def _set(self, socket: bpy.types.NodeSocket, value: object) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif isinstance(value, Sequence) and socket.type == "RGBA":
            socket.default_value = (*value, 1.0)
        else:
            socket.default_value = value

    def math(self, operation: str, *values: object) -> bpy.types.NodeSocket:
        """Arithmetic on sockets or numbers."""
        node = self.node("ShaderNodeMath", {"operation": operation})
        for socket, value in zip(node.inputs, values, strict=False):
            self._set(socket, value)
        return node.outputs[0]

    def step(self, value: object, low: float, high: float) -> bpy.types.NodeSocket:
        """0 below `low`, 1 above `high`, smooth in between."""
        node = self.node("ShaderNodeMapRange", {"interpolation_type": "SMOOTHSTEP"})
        for name, v in zip(("Value", "From Min", "From Max"), (value, low, high), strict=True):
            self._set(node.inputs[name], v)
        return node.outputs[0]

    def split(self, vector: bpy.types.NodeSocket) -> tuple[bpy.types.NodeSocket, ...]:
        """X, Y and Z of a vector, or red, green and blue of a colour."""
        return tuple(self.node("ShaderNodeSeparateXYZ", Vector=vector).outputs)

    def distance(self, a: bpy.types.NodeSocket, b: Sequence[float]) -> bpy.types.NodeSocket:
        """Distance of a position from a fixed point."""
        node = self.node("ShaderNodeVectorMath", {"operation": "DISTANCE"})
        self._set(node.inputs[0], a)
        node.inputs[1].default_value = b
        return node.outputs["Value"]

    def noise(self, vector: bpy.types.NodeSocket, scale: float, detail: float) -> bpy.types.NodeSocket:
        """Soft noise around 0.5, with `scale` spots per metre."""
        return self.node("ShaderNodeTexNoise", Vector=vector, Scale=scale, Detail=detail).outputs[0]

    def ramp(self, value: bpy.types.NodeSocket, stops: Sequence[tuple[float, Sequence[float]]]) -> bpy.types.NodeSocket:
        """Colour by value, interpolated linearly between the (position, colour) stops."""
        node = self.node("ShaderNodeValToRGB", Fac=value)
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(1.0)
        for element, (position, colour) in zip(elements, stops, strict=True):
            element.position, element.color = position, (*colour, 1.0)
        return node.outputs["Color"]

    def mix(self, factor: object, a: object, b: object, blend: str = "MIX") -> bpy.types.NodeSocket:
        """Colour `a` at factor 0, blended with `b` at factor 1."""
        node = self.node("ShaderNodeMix", {"data_type": "RGBA", "blend_type": blend})
        named = {socket.identifier: socket for socket in node.inputs}
        for name, value in (("Factor_Float", factor), ("A_Color", a), ("B_Color", b)):
            self._set(named[name], value)
        return next(socket for socket in node.outputs if socket.identifier == "Result_Color")

    def diffuse(self, colour: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """A matt surface, equally bright from every direction."""
        return self.node("ShaderNodeBsdfDiffuse", Color=colour).outputs[0]

    def mix_shader(self, factor: bpy.types.NodeSocket, *two: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """The first shader at factor 0, the second at 1."""
        node = self.node("ShaderNodeMixShader", Fac=factor)
        for socket, shader in zip(node.inputs[1:], two, strict=True):
            self.tree.links.new(shader, socket)
        return node.outputs[0]

    def hazy(self, shader: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """The shader behind haze that grows with the distance from the pivot, the same for every camera."""
        where = self.node("ShaderNodeNewGeometry").outputs["Position"]
        far = self.math("DIVIDE", self.distance(where, PIVOT), -150.0)
        fog = self.math("SUBTRACT", 1.0, self.math("EXPONENT", far))
        fog = self.math("MULTIPLY", self.math("MULTIPLY", fog, fog), 0.95)
        air = self.node("ShaderNodeEmission", Color=(0.66, 0.72, 0.82), Strength=0.9).outputs[0]
        return self.mix_shader(fog, shader, air)

    def finish(self, shader: bpy.types.NodeSocket) -> bpy.types.Material:
        """The material with this shader on its surface."""
        self.tree.links.new(shader, self.node("ShaderNodeOutputMaterial").inputs["Surface"])
        return self.material


def _once(build: Callable[..., bpy.types.Material]) -> Callable[..., bpy.types.Material]:
    def by_name(name: str, *args: object, **kwargs: object) -> bpy.types.Material:
        return bpy.data.materials.get(name) or build(name, *args, **kwargs)

    return by_name


@_once
def _speckled(name: str, dark: Sequence[float], light: Sequence[float], scale: float, haze: bool = False):
    """Two shades in soft spots of about 0.5 / `scale` metres."""
    g = Graph(name)
    spots = g.noise(g.node("ShaderNodeTexCoord").outputs["Object"], 2 * scale, 2)
    shader = g.diffuse(g.ramp(spots, [(0.34, dark), (0.66, light)]))
    return g.finish(g.hazy(shader) if haze else shader)


@_once
def _tiles(name: str, dark: Sequence[float], light: Sequence[float]):
    g = Graph(name)
    where = g.node("ShaderNodeTexCoord").outputs["Object"]
    rows = g.node(
        "ShaderNodeTexBrick", Vector=where, Scale=1.0, Color1=dark, Color2=light, Mortar=[0.55 * c for c in dark],
        Mortar_Size=0.03, Mortar_Smooth=0.5, Brick_Width=0.46, Row_Height=0.30,
    )  # fmt: skip
    moss = g.ramp(g.noise(where, 1.5, 2), [(0.35, (0.7, 0.75, 0.7)), (0.65, (1.15, 1.1, 1.0))])
    return g.finish(g.diffuse(g.mix(1.0, rows.outputs["Color"], moss, "MULTIPLY")))


@_once
def _stones(name: str, scale: float):
    g = Graph(name)
    cells = g.node("ShaderNodeTexVoronoi", Vector=g.node("ShaderNodeTexCoord").outputs["Object"], Scale=scale)
    grey = g.split(cells.outputs["Color"])[0]
    return g.finish(g.diffuse(g.ramp(grey, [(0.1, (0.24, 0.21, 0.18)), (0.9, (0.50, 0.45, 0.38))])))


@_once
def _checks(name: str, a: Sequence[float], b: Sequence[float], per_metre: float, stripes: bool = False):
    g = Graph(name)
    x, y, _ = g.split(g.node("ShaderNodeTexCoord").outputs["Object"])
    waves = [g.math("SINE", g.math("MULTIPLY", axis, math.pi * per_metre)) for axis in ((x,) if stripes else (x, y))]
    amount = [g.step(wave, -0.25, 0.25) for wave in waves]
    both = amount[0] if stripes else g.math("MULTIPLY", g.math("ADD", *amount), 0.5)
    return g.finish(g.diffuse(g.mix(both, b, a)))


# Meshes


def _link(item: bpy.types.Object, parent: bpy.types.Object | None = None) -> bpy.types.Object:
    bpy.context.scene.collection.objects.link(item)
    item.parent = parent
    return item


def _empty(name: str, place: Vector, turn: float, parent: bpy.types.Object | None = None) -> bpy.types.Object:
    result = _link(bpy.data.objects.new(name, None), parent)
    result.location, result.rotation_euler = place, (0, 0, turn)
    return result


def _key(item: bpy.types.Object, frame: int, *paths: str) -> None:
    for path in paths:
        item.keyframe_insert(path, frame=frame)


def _mesh(name, points, faces, material, parent=None, smooth=False) -> bpy.types.Object:
    data = bpy.data.meshes.new(name)
    data.from_pydata([tuple(p) for p in np.asarray(points, float)], [], [tuple(int(i) for i in f) for f in faces])
    data.materials.append(material)
    if smooth:
        data.polygons.foreach_set("use_smooth", [True] * len(data.polygons))
    return _link(bpy.data.objects.new(name, data), parent)


def _from_bmesh(name, build: Callable[[bmesh.types.BMesh], object], material, parent, smooth) -> bpy.types.Object:
    shape = bmesh.new()
    build(shape)
    data = bpy.data.meshes.new(name)
    shape.to_mesh(data)
    shape.free()
    data.materials.append(material)
    if smooth:
        data.polygons.foreach_set("use_smooth", [True] * len(data.polygons))
    return _link(bpy.data.objects.new(name, data), parent)


def _box(name, centre, size, material, parent=None) -> bpy.types.Object:
    matrix = Matrix.Diagonal((*size, 1))
    box = _from_bmesh(name, lambda b: bmesh.ops.create_cube(b, size=1, matrix=matrix), material, parent, False)
    box.location = centre
    return box


def _ball(name, centre, radii, material, parent=None, detail=4) -> bpy.types.Object:
    matrix = Matrix.Diagonal((*radii, 1))
    ball = _from_bmesh(
        name,
        lambda b: bmesh.ops.create_icosphere(b, subdivisions=detail, radius=1, matrix=matrix),
        material, parent, True,
    )  # fmt: skip
    ball.location = centre
    return ball


def _balls(name, parts, material, parent=None, detail=3, lumps=0.0) -> bpy.types.Object:
    """Many (centre, radii) balls as one mesh, with bumps of about `lumps` of their radius."""

    def build(shape: bmesh.types.BMesh) -> None:
        for centre, radii in parts:
            made = bmesh.ops.create_icosphere(shape, subdivisions=detail, radius=1)
            for v in made["verts"]:
                bump = lumps * noise.noise(v.co * 2.6 + centre) + 0.5 * lumps * noise.noise(v.co * 5.5 - centre)
                v.co = centre + Vector(c * r for c, r in zip(v.co * (1 + bump), radii, strict=True))

    return _from_bmesh(name, build, material, parent, True)


def _cone(name, start, end, r0, r1, material, parent=None, sides=12) -> bpy.types.Object:
    start, end = Vector(start), Vector(end)
    along = end - start
    place = Matrix.Translation((start + end) / 2) @ along.to_track_quat("Z", "Y").to_matrix().to_4x4()

    def build(shape: bmesh.types.BMesh) -> None:
        bmesh.ops.create_cone(
            shape, cap_ends=True, segments=sides, radius1=r0, radius2=r1, depth=along.length, matrix=place
        )

    cone = _from_bmesh(name, build, material, parent, False)
    cone.data.polygons.foreach_set("use_smooth", [len(p.vertices) == 4 for p in cone.data.polygons])
    return cone


def _tube(name, start, end, radius, material, parent=None) -> bpy.types.Object:
    return _cone(name, start, end, radius, radius, material, parent, 8)


def _step(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
