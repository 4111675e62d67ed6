"""Ray casting of solids, compiled by numba.

Rays do not have unit length but go one metre along the optical axis, so the distance along them is the depth that we
store. Solids are intersected in their own coordinates, where each is a unit shape. Two lists make it fast: the solids
that may be visible in a tile of the picture (the tile's cone against the solid's bounding sphere, nearest first), and
those that may cast a shadow on a cell of the plane that the sun shines through.
"""

import math

import numpy as np

from ex4d.synthetic.textures import jit

BOX, BALL, CYLINDER, GABLE = range(4)
"""Unit shapes: |x|, |y|, |z| <= 1; the unit ball; a cylinder around y; a roof with its ridge along z, at y = -1
(up)."""

TILE = 16
SUN_CELLS = 48
NOTHING = 1e30
"""The distance to a solid that a ray does not hit."""


@jit
def undistorted(x, y, distortion):  # type: ignore[no-untyped-def]
    """The direction (x, y, 1) of a picture point, for a lens with one term: seen = true * (1 + distortion * r^2).

    `r` is the true distance from the axis, in focal lengths: COLMAP's SIMPLE_RADIAL.
    """
    a, b = x, y
    if distortion != 0:
        for _ in range(8):
            factor = 1 + distortion * (a * a + b * b)
            a, b = x / factor, y / factor
    return a, b


@jit
def moves(poses, row):  # type: ignore[no-untyped-def]
    """Whether the camera has moved between the previous row of the picture and this one."""
    here, before = poses[row], poses[row - 1]
    return here[0, 3] != before[0, 3] or here[1, 3] != before[1, 3] or here[2, 3] != before[2, 3]


@jit
def tile_lists(poses, k, distortion, width, centres, radii):  # type: ignore[no-untyped-def]
    """Which solids may be visible in each tile: (start of each tile's list, solids, nearest distance of each).

    `poses` are those of each row. The position of the middle row is used, so solids are enlarged by the distance moved.
    """
    height = len(poses)
    pose = poses[height // 2]
    slack = 0.0
    for row in (0, height - 1):
        x, y, z = poses[row, 0, 3] - pose[0, 3], poses[row, 1, 3] - pose[1, 3], poses[row, 2, 3] - pose[2, 3]
        slack = max(slack, math.sqrt(x * x + y * y + z * z))
    radii = radii + slack
    across, down = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    count = len(radii)
    starts = np.zeros(across * down + 1, np.int64)
    found = np.empty(across * down * count, np.int64)
    nearest = np.empty(across * down * count)
    distance, order = np.empty(count), np.empty(count, np.int64)
    ways = np.empty((count, 3))
    for n in range(count):
        for i in range(3):
            ways[n, i] = centres[n, i] - pose[i, 3]
        distance[n] = math.sqrt(ways[n, 0] ** 2 + ways[n, 1] ** 2 + ways[n, 2] ** 2)
    spread = np.empty(count)
    for n in range(count):
        spread[n] = math.pi if distance[n] <= radii[n] else math.asin(radii[n] / distance[n])
        for i in range(3):
            ways[n, i] /= max(distance[n], 1e-9)
    order[:] = np.argsort(distance - radii)
    corners = np.empty((4, 3))
    for tile in range(across * down):
        row, column = tile // across * TILE, tile % across * TILE
        for c in range(4):
            across_axis = (column - 1 + (c % 2) * (TILE + 2) - k[0, 2]) / k[0, 0]
            x, y = undistorted(across_axis, (row - 1 + (c // 2) * (TILE + 2) - k[1, 2]) / k[1, 1], distortion)
            length, turn = math.sqrt(x * x + y * y + 1), poses[min(row + (c // 2) * TILE, height - 1)]
            for i in range(3):
                corners[c, i] = (turn[i, 0] * x + turn[i, 1] * y + turn[i, 2]) / length
        axis = (corners[0] + corners[1] + corners[2] + corners[3]) / 4
        axis /= math.sqrt((axis * axis).sum())
        half = 0.0
        for c in range(4):
            half = max(half, math.acos(min(1.0, (axis * corners[c]).sum())))
        end = starts[tile]
        for n in order:
            widest = half + spread[n]
            if widest < math.pi:
                cosine = ways[n, 0] * axis[0] + ways[n, 1] * axis[1] + ways[n, 2] * axis[2]
                if cosine < math.cos(widest):
                    continue
            found[end], nearest[end] = n, distance[n] - radii[n]
            end += 1
        starts[tile + 1] = end
    return starts, found, nearest


@jit
def sun_lists(sun, extent, centres, radii, throws):  # type: ignore[no-untyped-def]
    """Which solids may be between the sun and each cell of the plane across it: (starts, solids)."""
    starts = np.zeros(SUN_CELLS * SUN_CELLS + 1, np.int64)
    found = np.empty(SUN_CELLS * SUN_CELLS * len(radii), np.int64)
    size = 2 * extent / SUN_CELLS
    across = np.empty((len(radii), 2))
    for n in range(len(radii)):
        for i in range(2):
            across[n, i] = centres[n, 0] * sun[i + 1, 0] + centres[n, 1] * sun[i + 1, 1] + centres[n, 2] * sun[i + 1, 2]
    for cell in range(SUN_CELLS * SUN_CELLS):
        u, v = (cell % SUN_CELLS + 0.5) * size - extent, (cell // SUN_CELLS + 0.5) * size - extent
        end = starts[cell]
        for n in range(len(radii)):
            if throws[n]:
                du, dv = across[n, 0] - u, across[n, 1] - v
                reach = radii[n] + 0.7072 * size
                if du * du + dv * dv <= reach * reach:
                    found[end] = n
                    end += 1
        starts[cell + 1] = end
    return starts, found


@jit
def meet(shape, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Where a ray from outside enters a unit shape: the distance, and the face (0, 1, 2: axis; 3: round; 4: slope)."""
    if shape == BALL:
        a, b, c = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz - 1
        root = b * b - a * c
        if root <= 0:
            return NOTHING, 3
        way = (-b - math.sqrt(root)) / a
        return (way if way > 1e-4 else NOTHING), 3
    near, far, face = 1e-4, NOTHING, -1
    low, high = (-1 - oy) / dy, (1 - oy) / dy
    if low > high:
        low, high = high, low
    if low > near:
        near, face = low, 1
    far = min(far, high)
    if near > far:
        return NOTHING, 1
    if shape == CYLINDER:
        a, b, c = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz - 1
        root = b * b - a * c
        if root <= 0:
            return NOTHING, 3
        root = math.sqrt(root)
        low, high = (-b - root) / a, (-b + root) / a
        if low > near:
            near, face = low, 3
        far = min(far, high)
        return (near if near <= far and face >= 0 else NOTHING), face
    low, high = (-1 - oz) / dz, (1 - oz) / dz
    if low > high:
        low, high = high, low
    if low > near:
        near, face = low, 2
    far = min(far, high)
    if shape == GABLE:  # |x| <= (1 + y) / 2
        for side in (-1.0, 1.0):
            slope, start = side * dx - dy / 2, side * ox - (1 + oy) / 2
            way = -start / slope
            if slope > 0:
                far = min(far, way)
            elif way > near:
                near, face = way, (4 if side > 0 else 5)
    else:
        low, high = (-1 - ox) / dx, (1 - ox) / dx
        if low > high:
            low, high = high, low
        if low > near:
            near, face = low, 0
        far = min(far, high)
    return (near if near <= far and face >= 0 else NOTHING), face


@jit
def is_in_shadow(x, y, z, sun, extent, starts, found, shapes, to_unit):  # type: ignore[no-untyped-def]
    """Whether a solid is between a point and the sun."""
    u = x * sun[1, 0] + y * sun[1, 1] + z * sun[1, 2]
    v = x * sun[2, 0] + y * sun[2, 1] + z * sun[2, 2]
    column, row = int((u + extent) / (2 * extent) * SUN_CELLS), int((v + extent) / (2 * extent) * SUN_CELLS)
    if not (0 <= column < SUN_CELLS and 0 <= row < SUN_CELLS):
        return False
    cell = row * SUN_CELLS + column
    for place in range(starts[cell], starts[cell + 1]):
        n = found[place]
        ox, oy, oz = point_in(to_unit, n, x, y, z)
        dx, dy, dz = direction_in(to_unit, n, sun[0, 0], sun[0, 1], sun[0, 2])
        if meet(shapes[n], ox, oy, oz, dx, dy, dz)[0] < NOTHING:
            return True
    return False


@jit
def point_in(to_unit, n, x, y, z):  # type: ignore[no-untyped-def]
    """A point of the world in the coordinates of the solid `n` of `to_unit` (N,3,4)."""
    return (
        to_unit[n, 0, 0] * x + to_unit[n, 0, 1] * y + to_unit[n, 0, 2] * z + to_unit[n, 0, 3],
        to_unit[n, 1, 0] * x + to_unit[n, 1, 1] * y + to_unit[n, 1, 2] * z + to_unit[n, 1, 3],
        to_unit[n, 2, 0] * x + to_unit[n, 2, 1] * y + to_unit[n, 2, 2] * z + to_unit[n, 2, 3],
    )


@jit
def direction_in(to_unit, n, x, y, z):  # type: ignore[no-untyped-def]
    """A direction of the world in the coordinates of the solid `n`."""
    return (
        to_unit[n, 0, 0] * x + to_unit[n, 0, 1] * y + to_unit[n, 0, 2] * z,
        to_unit[n, 1, 0] * x + to_unit[n, 1, 1] * y + to_unit[n, 1, 2] * z,
        to_unit[n, 2, 0] * x + to_unit[n, 2, 1] * y + to_unit[n, 2, 2] * z,
    )
