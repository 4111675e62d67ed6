"""Procedural textures, compiled by numba: a linear colour for a point on a face.

All are filtered by the footprint of a pixel on the face (`size`, in metres): anything finer than a pixel fades into its
mean, so that distant walls do not flicker. Noise is value noise (a hash at each lattice point, joined by smoothstep).
"""

import math

from numba import njit

PLAIN, GRAIN, BRICK, FACADE, PAVING, LEAVES, STRIPES, PATCHES, PLANKS = range(9)
"""Patterns: plain; plaster, earth or asphalt; brick wall; wall with windows; slabs; foliage; striped cloth; a mosaic of
colours, as on posters and stalls; boards."""

jit = njit(nogil=True, forceinline=True, error_model="numpy", fastmath={"contract", "arcp", "nsz", "reassoc"})
"""Forced inlining: otherwise the arrays of all solids are passed on at each pixel, which takes an eighth of all time.
Not cached, because code compiled into other functions would be cached there without being checked again, see
`shading`."""

_OCTAVES = 6
_GAIN = 0.62
"""Amplitude of each octave relative to the previous one: much fine detail, as in photographs."""


@jit
def random_at(i, j, k, seed):  # type: ignore[no-untyped-def]
    """A number in [0, 1) for integers; the same integers give the same number."""
    h = (i * 73856093) ^ (j * 19349663) ^ (k * 83492791) ^ (seed * 2654435761)
    h = ((h ^ (h >> 15)) & 0xFFFFFFFF) * 0x2C1B3C6D
    h = ((h ^ (h >> 12)) & 0xFFFFFFFF) * 0x297A2D39
    return ((h >> 15) & 0xFFFF) / 65536.0


@jit
def _noise(u, v, w, seed):  # type: ignore[no-untyped-def]
    """Value noise in [0, 1); `w` moves between independent layers, and selects a single one if it is an integer."""
    i, j, k = math.floor(u), math.floor(v), math.floor(w)
    a, b, c = u - i, v - j, w - k
    a, b, c = a * a * (3 - 2 * a), b * b * (3 - 2 * b), c * c * (3 - 2 * c)
    i, j, k = int(i), int(j), int(k)
    top = (1 - a) * random_at(i, j, k, seed) + a * random_at(i + 1, j, k, seed)
    low = (1 - a) * random_at(i, j + 1, k, seed) + a * random_at(i + 1, j + 1, k, seed)
    first = (1 - b) * top + b * low
    if c == 0:
        return first
    top = (1 - a) * random_at(i, j, k + 1, seed) + a * random_at(i + 1, j, k + 1, seed)
    low = (1 - a) * random_at(i, j + 1, k + 1, seed) + a * random_at(i + 1, j + 1, k + 1, seed)
    return (1 - c) * first + c * ((1 - b) * top + b * low)


@jit
def grain(u, v, w, is_solid, scale, seed, size):  # type: ignore[no-untyped-def]
    """Noise of many octaves around 0, the coarsest `scale` metres wide; in a plane, or in space if `is_solid`."""
    total, amplitude, wave = 0.0, 1.0, scale
    for octave in range(_OCTAVES):
        shown = min(1.0, wave / (1.5 * size) - 0.7)
        if shown <= 0:
            break
        depth = w / wave if is_solid else 0.0
        total += amplitude * shown * (_noise(u / wave, v / wave, depth, seed + 17 * octave) - 0.5)
        amplitude *= _GAIN
        wave *= 0.49
    return total


@jit
def _cover(x, first, last, period, size):  # type: ignore[no-untyped-def]
    """How much of a pixel around `x` in [0, period) lies between `first` and `last`."""
    size = max(size, 1e-6)
    sharp = max(0.0, min(1.0, (min(last, x + size / 2) - max(first, x - size / 2)) / size))
    blurred = max(0.0, min(1.0, 1.5 * size / period - 0.5))
    return sharp + blurred * ((last - first) / period - sharp)


@jit
def _rows(u, v, wide, high, joint, shift, seed, size):  # type: ignore[no-untyped-def]
    """Bricks, slabs, boards: how much of a pixel is brick rather than joint, and the number of the brick."""
    row = math.floor(v / high)
    u = u + shift * wide * (row % 2)
    column = math.floor(u / wide)
    inside = _cover(u - column * wide, joint, wide, wide, size) * _cover(v - row * high, joint, high, high, size)
    fade = max(0.0, min(1.0, 2 - 2 * size / high))
    return inside, 0.5 + fade * (random_at(int(column), int(row), 0, seed) - 0.5)


@jit
def _facade(u, v, wide, variety, strength, seed, size):  # type: ignore[no-untyped-def]
    """How much of a pixel is window pane, how much is frame, and how much light the panes give."""
    high = 1.1 * wide
    column, row = math.floor(u / wide), math.floor(v / high)
    x, y = u - column * wide, v - row * high
    left, right, top, bottom = 0.28 * wide, 0.72 * wide, 0.22 * high, 0.74 * high
    sill = _cover(x, left - 0.08, right + 0.08, wide, size) * _cover(y, bottom, bottom + 0.09, high, size)
    frame = _cover(x, left, right, wide, size) * _cover(y, top, bottom, high, size)
    if frame == 0:
        return 0.0, sill, 0.0
    rim, bar, middle, third = 0.07, 0.03, wide / 2, top + (bottom - top) * 0.36
    pane = _cover(x, left + rim, middle - bar, wide, size) + _cover(x, middle + bar, right - rim, wide, size)
    pane *= _cover(y, top + rim, third - bar, high, size) + _cover(y, third + bar, bottom - rim, high, size)
    light = 1 + variety * 2 * (random_at(int(column), int(row), 1, seed) - 0.5)
    if pane > 0:
        light *= 0.75 + 0.5 * (y - top) / (bottom - top)
        light += 0.3 * strength * grain(u, v, 0.0, False, 0.9, seed + 5, size)
    return pane, max(frame, sill) * (1 - pane), pane * light


@jit
def colour(  # type: ignore[no-untyped-def]
    kind, u, v, w, is_solid, face, colours, numbers, n, seed, size
):
    """Linear red, green, blue at (u, v) of a face, or at (u, v, w) in a solid, all in metres.

    `colours` (N,2,3) are two for each surface; `numbers` (N,3) are the pattern's width in metres, the variety of its
    repetitions (0: identical), and the strength of its grain; `n` selects the surface. `face` distinguishes the sides
    of a solid.
    """
    if not is_solid:
        u, v = u + 13.7 * face, v + 3.1 * face if kind != FACADE else v
    mix, light = 0.0, 1.0
    if kind == GRAIN:
        g = grain(u, v, w, is_solid, numbers[n, 0], seed, size)
        mix, light = 0.5 + 1.6 * numbers[n, 2] * g, 1 + 0.5 * numbers[n, 2] * g
    elif kind == LEAVES:
        g = grain(u, v, w, is_solid, numbers[n, 0], seed, size)
        mix, light = 0.4 + 2.6 * g, 1 + 2.2 * numbers[n, 2] * g
    elif kind in (BRICK, PAVING, PLANKS):
        high, shift, joint = numbers[n, 0], 0.0, 0.04
        if kind == BRICK:
            high, shift, joint = numbers[n, 0] * 0.36, 0.5, 0.10
        elif kind == PLANKS:
            high, shift, joint = numbers[n, 0] * 14, 0.37, 0.08
        brick, own = _rows(u, v, numbers[n, 0], high, joint * numbers[n, 0], shift, seed, size)
        mix = 1 - brick
        light = 1 + numbers[n, 1] * (own - 0.5) + numbers[n, 2] * grain(u, v, w, is_solid, 0.8, seed, size)
    elif kind == STRIPES:
        mix = _cover(v - math.floor(v / numbers[n, 0]) * numbers[n, 0], 0.0, numbers[n, 0] / 2, numbers[n, 0], size)
        light = 1 + numbers[n, 2] * grain(u, v, w, is_solid, 0.4, seed, size)
    elif kind == PATCHES:
        cell = numbers[n, 0]
        column, row = math.floor(u / cell), math.floor(v / (0.7 * cell))
        i, j = int(column), int(row)
        inside = _cover(u - column * cell, 0.06 * cell, cell, cell, size)
        inside *= _cover(v - row * 0.7 * cell, 0.06 * cell, 0.7 * cell, 0.7 * cell, size)
        light = 1 + numbers[n, 2] * grain(u, v, w, is_solid, 0.5 * cell, seed, size)
        fade = numbers[n, 1] * inside * max(0.0, min(1.0, 2 - 1.5 * size / cell))
        red, green, blue = random_at(i, j, 2, seed), random_at(i, j, 3, seed), random_at(i, j, 4, seed)
        return (
            light * (colours[n, 0, 0] + fade * (0.75 * red * red + 0.03 - colours[n, 0, 0])),
            light * (colours[n, 0, 1] + fade * (0.75 * green * green + 0.03 - colours[n, 0, 1])),
            light * (colours[n, 0, 2] + fade * (0.75 * blue * blue + 0.03 - colours[n, 0, 2])),
        )
    elif kind == FACADE:
        pane, frame, glass = _facade(u, v, numbers[n, 0], numbers[n, 1], numbers[n, 2], seed, size)
        wall = 1 - pane - frame
        if wall > 0:
            brick, own = _rows(u, v, 0.26, 0.09, 0.018, 0.5, seed, size)
            wall *= 0.80 + 0.20 * brick + 0.25 * (own - 0.5)
            wall *= 1 + 0.8 * numbers[n, 2] * grain(u, v, 0.0, False, 2.5, seed, size)
        return (
            wall * colours[n, 0, 0] + 0.62 * frame + glass * colours[n, 1, 0],
            wall * colours[n, 0, 1] + 0.60 * frame + glass * colours[n, 1, 1],
            wall * colours[n, 0, 2] + 0.55 * frame + glass * colours[n, 1, 2],
        )
    mix, light = max(0.0, min(1.0, mix)), max(0.05, light)
    return (
        light * (colours[n, 0, 0] + mix * (colours[n, 1, 0] - colours[n, 0, 0])),
        light * (colours[n, 0, 1] + mix * (colours[n, 1, 1] - colours[n, 0, 1])),
        light * (colours[n, 0, 2] + mix * (colours[n, 1, 2] - colours[n, 0, 2])),
    )
