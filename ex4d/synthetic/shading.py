"""Pictures of solids: light, shadow and sky, and the kernels that loop over pixels. Compiled by numba."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ex4d.synthetic.textures import LEAVES, colour, grain, jit
from ex4d.synthetic.tracing import (
    BALL,
    TILE,
    direction_in,
    is_in_shadow,
    meet,
    moves,
    point_in,
    sun_lists,
    tile_lists,
    undistorted,
)


class Solids(NamedTuple):
    """N solids at one moment, in the order in which they were created.

    Attributes:
        shapes: (N,) int64, see `ex4d.synthetic.tracing`.
        to_unit: (N,3,4) float64, from the world to the coordinates in which the solid is its unit shape.
        centres, halves: (N,3) float64 in metres: centre, and half of the size along the solid's axes.
        radii: (N,) float64, of the bounding spheres.
        things: (N,) int64, the thing that each belongs to.
        patterns: (N,) int64, see `ex4d.synthetic.textures`.
        colours: (N,2,3) float64, linear.
        numbers: (N,3) float64, see `textures.colour`.
        seeds: (N,) int64.
        throws: (N,) bool, whether it casts a shadow.
    """

    shapes: NDArray[np.int64]
    to_unit: NDArray[np.float64]
    centres: NDArray[np.float64]
    halves: NDArray[np.float64]
    radii: NDArray[np.float64]
    things: NDArray[np.int64]
    patterns: NDArray[np.int64]
    colours: NDArray[np.float64]
    numbers: NDArray[np.float64]
    seeds: NDArray[np.int64]
    throws: NDArray[np.bool_]


class Light(NamedTuple):
    """Sun and sky.

    Attributes:
        sun: (3,3) float64, rows: towards the sun, and two axes perpendicular to it.
        colours: (5,3) float64, linear: sun, light from above, light from below, zenith, horizon.
        clouds: fraction of the sky that is covered by clouds, 0 to 1.
        sky: distance of the sky from the world's origin, in metres.
        extent: half the width of the area that has shadows, in metres.
    """

    sun: NDArray[np.float64]
    colours: NDArray[np.float64]
    clouds: float
    sky: float
    extent: float


@jit
def _nearest(shapes, to_unit, origins, sky, p, d, tile, starts, found, nearest):  # type: ignore[no-untyped-def]
    """The solid that a ray hits first, the distance along the ray, and the face; -1 for the sky."""
    a, b = d[0] * d[0] + d[1] * d[1] + d[2] * d[2], d[0] * p[0] + d[1] * p[1] + d[2] * p[2]
    c = p[0] * p[0] + p[1] * p[1] + p[2] * p[2] - sky * sky
    length = math.sqrt(a)
    best, which, side = (-b + math.sqrt(max(b * b - a * c, 0.0))) / a, -1, 0
    for place in range(starts[tile], starts[tile + 1]):
        if nearest[place] > best * length:
            break
        n = found[place]
        x, y, z = direction_in(to_unit, n, d[0], d[1], d[2])
        way, face = meet(shapes[n], origins[n, 0], origins[n, 1], origins[n, 2], x, y, z)
        if way < best:
            best, which, side = way, n, face
    return which, best, side


@jit
def _sky(light, d):  # type: ignore[no-untyped-def]
    length = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    up = -d[1] / length
    high = min(1.0, max(0.0, up) * 2.2) ** 0.7
    cloud = 0.0
    if light.clouds > 0:
        # Clouds in a flat layer would shrink to nothing at the horizon, so this layer is curved.
        u, v = d[0] / length / (abs(up) + 0.35), d[2] / length / (abs(up) + 0.35)
        g = grain(u, v, 0.0, False, 0.9, 77, 0.004)
        cloud = max(0.0, min(1.0, 2.2 * (g + light.clouds - 0.5)))
    c = light.colours
    red = c[4, 0] + high * (c[3, 0] - c[4, 0])
    green = c[4, 1] + high * (c[3, 1] - c[4, 1])
    blue = c[4, 2] + high * (c[3, 2] - c[4, 2])
    return red + cloud * (0.85 - red), green + cloud * (0.86 - green), blue + cloud * (0.90 - blue)


@jit
def _lit(solids, light, n, face, p, d, way, pixel, shadow_starts, shadow_found):  # type: ignore[no-untyped-def]
    """Linear colour of the solid `n` where a ray hits it."""
    q = (p[0] + way * d[0], p[1] + way * d[1], p[2] + way * d[2])
    o = point_in(solids.to_unit, n, q[0], q[1], q[2])
    x, y, z, high = (
        o[0] * solids.halves[n, 0],
        o[1] * solids.halves[n, 1],
        o[2] * solids.halves[n, 2],
        solids.halves[n, 1],
    )
    a, b, c = 0.0, 0.0, 0.0  # the slope across the face of the unit shape
    u, v, w, is_solid = x, y, z, solids.shapes[n] == BALL
    if is_solid:
        a, b, c = o
    elif face == 0:
        a, u, v, w = math.copysign(1.0, o[0]), z, y, x
    elif face == 1:
        b, u, v, w = math.copysign(1.0, o[1]), x, z, y
    elif face == 2:
        c = math.copysign(1.0, o[2])
    elif face == 3:
        a, c, u = o[0], o[2], math.atan2(o[2], o[0]) * solids.halves[n, 0]
    else:
        a, b = math.copysign(1.0, o[0]), -0.5
        u, v = z, math.sqrt(x * x + (y + high) * (y + high))
    m = solids.to_unit  # its transpose transforms slopes back
    normal = (
        m[n, 0, 0] * a + m[n, 1, 0] * b + m[n, 2, 0] * c,
        m[n, 0, 1] * a + m[n, 1, 1] * b + m[n, 2, 1] * c,
        m[n, 0, 2] * a + m[n, 1, 2] * b + m[n, 2, 2] * c,
    )
    norm = 1 / math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    normal = (normal[0] * norm, normal[1] * norm, normal[2] * norm)
    length = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    facing = abs(normal[0] * d[0] + normal[1] * d[1] + normal[2] * d[2]) / length
    size = way * length * pixel / math.sqrt(max(facing, 0.06))  # between the two sides of the footprint
    kind = solids.patterns[n]
    side = face if face != 5 else 4
    red, green, blue = colour(kind, u, v, w, is_solid, side, solids.colours, solids.numbers, n, solids.seeds[n], size)
    sun = normal[0] * light.sun[0, 0] + normal[1] * light.sun[0, 1] + normal[2] * light.sun[0, 2]
    if kind == LEAVES:  # leaves face in all directions
        sun = 0.35 + 0.65 * sun
    sun = max(0.0, sun)
    if sun > 0:
        x, y, z = q[0] + 2e-3 * normal[0], q[1] + 2e-3 * normal[1], q[2] + 2e-3 * normal[2]
        if is_in_shadow(x, y, z, light.sun, light.extent, shadow_starts, shadow_found, solids.shapes, solids.to_unit):
            sun = 0.0
    above = 0.5 - 0.5 * normal[1]
    near_ground = min(1.0, 0.6 + 0.4 * max(0.0, -q[1])) if above < 0.9 else 1.0
    c = light.colours
    return (
        red * (sun * c[0, 0] + near_ground * (above * c[1, 0] + (1 - above) * c[2, 0])),
        green * (sun * c[0, 1] + near_ground * (above * c[1, 1] + (1 - above) * c[2, 1])),
        blue * (sun * c[0, 2] + near_ground * (above * c[1, 2] + (1 - above) * c[2, 2])),
    )


@jit
def _add_rays(poses, k, distortion, solids, light, right, down, where, total, seen):  # type: ignore[no-untyped-def]
    """Add one ray per pixel to a picture, for the pixels `where`.

    Args:
        poses: (H,4,4) camera-to-world of each row.
        k: (3,3) intrinsics.
        distortion: of the lens, see `tracing.undistorted`.
        solids, light: the scene.
        right, down: offset of the ray from the pixel's centre, in pixels.
        where: (H,W) bool.
        total: (H,W,3) float64; the linear colours are added to it.
        seen: (H,W) int64; set to the visible solid, -1 for the sky.
    """
    height, width = where.shape
    starts, found, nearest = tile_lists(poses, k, distortion, width, solids.centres, solids.radii)
    shadow_starts, shadow_found = sun_lists(light.sun, light.extent, solids.centres, solids.radii, solids.throws)
    across = (width + TILE - 1) // TILE
    shapes, to_unit = solids.shapes, solids.to_unit
    origins = np.empty((len(shapes), 3))
    for row in range(height):
        pose = poses[row]
        p = (pose[0, 3], pose[1, 3], pose[2, 3])
        if row == 0 or moves(poses, row):
            for n in range(len(shapes)):
                origins[n, 0], origins[n, 1], origins[n, 2] = point_in(to_unit, n, p[0], p[1], p[2])
        below = (row + 0.5 + down - k[1, 2]) / k[1, 1]
        for column in range(width):
            if not where[row, column]:
                continue
            x, y = undistorted((column + 0.5 + right - k[0, 2]) / k[0, 0], below, distortion)
            d = (
                pose[0, 0] * x + pose[0, 1] * y + pose[0, 2],
                pose[1, 0] * x + pose[1, 1] * y + pose[1, 2],
                pose[2, 0] * x + pose[2, 1] * y + pose[2, 2],
            )
            tile = row // TILE * across + column // TILE
            n, way, face = _nearest(shapes, to_unit, origins, light.sky, p, d, tile, starts, found, nearest)
            if n < 0:
                c = _sky(light, d)
            else:
                c = _lit(solids, light, n, face, p, d, way, 1 / k[0, 0], shadow_starts, shadow_found)
            total[row, column, 0] += c[0]
            total[row, column, 1] += c[1]
            total[row, column, 2] += c[2]
            seen[row, column] = n


@jit
def _depth_and_things(poses, k, distortion, solids, light, depth, things):  # type: ignore[no-untyped-def]
    """Fill in depth (H,W) float32 along the axis, and things (H,W) uint16, at the pixel centres; the sky is thing 0."""
    height, width = depth.shape
    starts, found, nearest = tile_lists(poses, k, distortion, width, solids.centres, solids.radii)
    across = (width + TILE - 1) // TILE
    shapes, to_unit = solids.shapes, solids.to_unit
    origins = np.empty((len(shapes), 3))
    for row in range(height):
        pose = poses[row]
        p = (pose[0, 3], pose[1, 3], pose[2, 3])
        if row == 0 or moves(poses, row):
            for n in range(len(shapes)):
                origins[n, 0], origins[n, 1], origins[n, 2] = point_in(to_unit, n, p[0], p[1], p[2])
        below = (row + 0.5 - k[1, 2]) / k[1, 1]
        for column in range(width):
            x, y = undistorted((column + 0.5 - k[0, 2]) / k[0, 0], below, distortion)
            d = (
                pose[0, 0] * x + pose[0, 1] * y + pose[0, 2],
                pose[1, 0] * x + pose[1, 1] * y + pose[1, 2],
                pose[2, 0] * x + pose[2, 1] * y + pose[2, 2],
            )
            tile = row // TILE * across + column // TILE
            n, way, _ = _nearest(shapes, to_unit, origins, light.sky, p, d, tile, starts, found, nearest)
            depth[row, column] = way
            things[row, column] = solids.things[n] if n >= 0 else 0


def _cached(sources: str) -> tuple[Callable[..., None], Callable[..., None]]:
    """The kernels, with the compiled code cached on disk.

    Numba only notices when this file changes. What a function closes over is part of its cache key, so a hash of all
    files covers the rest.
    """

    @njit(cache=True, nogil=True, error_model="numpy")
    def rays(poses, k, distortion, solids, light, right, down, where, total, seen):  # type: ignore[no-untyped-def]
        len(sources)
        _add_rays(poses, k, distortion, solids, light, right, down, where, total, seen)

    @njit(cache=True, nogil=True, error_model="numpy")
    def truth(poses, k, distortion, solids, light, depth, things):  # type: ignore[no-untyped-def]
        len(sources)
        _depth_and_things(poses, k, distortion, solids, light, depth, things)

    return rays, truth


def _hash_of_sources() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / f"{n}.py").read_bytes() for n in ("textures", "tracing"))).hexdigest()


add_rays, depth_and_things = _cached(_hash_of_sources())
