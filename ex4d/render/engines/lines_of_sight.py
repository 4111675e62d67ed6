"""`ex4d.render.looked_through.crosses_unseen`, compiled by numba."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def crosses_unseen(  # type: ignore[no-untyped-def]
    rays,
    inverse_distance,
    nearest,
    steps,
    clear,
    seen,
    around,
    deep,
    to_pixels,
    soon,
    own_seen,
    own_around,
    own_deep,
    own_back,
    own_to_pixels,
):
    """Which lines (m,) cross space that no frame looked into; arguments as in `ex4d.render.looked_through`."""
    count, height, width = seen.shape
    crossing = np.zeros(rays.shape[1], np.bool_)
    for line in range(rays.shape[1]):
        end = float(inverse_distance[line]) / (1 - 2 * clear)
        if not end < nearest:
            continue
        for step in range(steps):
            distance = 1 / (end + (step + 0.5) / steps * (nearest - end))
            px, py, pz = rays[0, line] * distance, rays[1, line] * distance, rays[2, line] * distance
            empty, hidden, blocked = False, False, False
            x, y, z = _project(own_to_pixels, px, py, pz)
            if z > 0 and 0 <= x < own_seen.shape[1] and 0 <= y < own_seen.shape[0]:
                limit, back = own_seen[int(y), int(x)], own_back[int(y), int(x)]
                hidden = z * (1 + clear) >= limit
                empty = not hidden or (z > limit * (1 + own_deep) and z * (1 + clear) < own_around[int(y), int(x)])
                blocked = back > 0 and z > limit
                if blocked and z < back:
                    crossing[line] = True
                    break
            if empty and not blocked:
                continue
            empty_soon = False
            for one in range(count):
                x, y, z = _project(to_pixels[one], px, py, pz)
                if not (z > 0 and 0 <= x < width and 0 <= y < height):
                    continue
                limit = seen[one, int(y), int(x)]
                if z * (1 + clear) < limit:
                    empty = True
                    empty_soon |= soon[one]
                elif z > limit * (1 + deep[one]) and z * (1 + clear) < around[one, int(y), int(x)]:
                    empty = True
                else:
                    hidden = True
                if empty_soon or (empty and not blocked):
                    break
            if (hidden and not empty) or (blocked and not empty_soon):
                crossing[line] = True
                break
    return crossing


@njit(cache=True, nogil=True, error_model="numpy")
def _project(matrix, px, py, pz):  # type: ignore[no-untyped-def]
    z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
    x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
    y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
    return x / z, y / z, z
