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
    front_nearby,
    back_nearby,
    to_pixels_nearby,
    beyond,
):
    """Which lines (m,) cross space where something may be; arguments as in `ex4d.render.looked_through`.

    Points are `ray / nearness`, so their projection is `matrix[:, :3] @ ray + nearness * matrix[:, 3]`, whose first
    part is the same along a line; distances from a frame are all multiplied by the point's nearness.
    """
    count, height, width = seen.shape
    own_height, own_width = own_seen.shape
    margin = max(own_height, own_width) // beyond
    crossing = np.zeros(rays.shape[1], np.bool_)
    of_own, of_frame, of_nearby = np.empty(3), np.empty(3), np.empty((len(to_pixels_nearby), 3))
    for line in range(rays.shape[1]):
        end = float(inverse_distance[line]) / (1 - 2 * clear)
        if not end < nearest:
            continue
        _rotate(own_to_pixels, rays, line, of_own)
        for frame in range(len(to_pixels_nearby)):
            _rotate(to_pixels_nearby[frame], rays, line, of_nearby[frame])
        # Start with the frame that looked through the point before: it usually looked through this one too.
        asked, rotated = 0, -1
        for step in range(steps):
            nearness = end + (step + 0.5) / steps * (nearest - end)
            empty, hidden, blocked, outside = False, False, False, True
            z = of_own[2] + nearness * own_to_pixels[2, 3]
            x = (of_own[0] + nearness * own_to_pixels[0, 3]) / z
            y = (of_own[1] + nearness * own_to_pixels[1, 3]) / z
            if z > 0 and -margin <= x < own_width + margin and -margin <= y < own_height + margin:
                row, column = min(max(int(y), 0), own_height - 1), min(max(int(x), 0), own_width - 1)
                limit, back = own_seen[row, column] * nearness, own_back[row, column] * nearness
                if z * (1 + clear) >= limit and z < back:
                    crossing[line] = True
                    break
                if 0 <= x < own_width and 0 <= y < own_height:
                    outside = False
                    hidden = z * (1 + clear) >= limit
                    around_it = own_around[row, column] * nearness
                    empty = not hidden or (z > limit * (1 + own_deep) and z * (1 + clear) < around_it)
                    blocked = back > 0 and z > limit
            if empty and not blocked:
                continue
            if (outside or blocked) and _is_occupied(
                nearness, of_nearby, front_nearby, back_nearby, to_pixels_nearby, clear, beyond
            ):
                crossing[line] = True
                break
            empty_soon = False
            for _ in range(count):
                if rotated != asked:
                    _rotate(to_pixels[asked], rays, line, of_frame)
                    rotated = asked
                matrix = to_pixels[asked]
                z = of_frame[2] + nearness * matrix[2, 3]
                x, y = (of_frame[0] + nearness * matrix[0, 3]) / z, (of_frame[1] + nearness * matrix[1, 3]) / z
                if z > 0 and 0 <= x < width and 0 <= y < height:
                    row, column = int(y), int(x)
                    limit = seen[asked, row, column] * nearness
                    if z * (1 + clear) < limit:
                        empty = True
                        empty_soon |= soon[asked]
                    elif z > limit * (1 + deep[asked]) and z * (1 + clear) < around[asked, row, column] * nearness:
                        empty = True
                    else:
                        hidden = True
                    if empty_soon or (empty and not blocked):
                        break
                asked = asked + 1 if asked + 1 < count else 0
            if (hidden and not empty) or (blocked and not empty_soon):
                crossing[line] = True
                break
    return crossing


@njit(cache=True, nogil=True, error_model="numpy")
def _is_occupied(nearness, rotated, front, back, to_pixels, clear, beyond):  # type: ignore[no-untyped-def]
    """Whether something that moves is at a point in one of n frames, given the rotated rays (n,3) through the point."""
    count, height, width = front.shape
    margin = max(height, width) // beyond
    for frame in range(count):
        matrix = to_pixels[frame]
        z = rotated[frame, 2] + nearness * matrix[2, 3]
        x = (rotated[frame, 0] + nearness * matrix[0, 3]) / z
        y = (rotated[frame, 1] + nearness * matrix[1, 3]) / z
        if z > 0 and -margin <= x < width + margin and -margin <= y < height + margin:
            row, column = min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)
            if front[frame, row, column] * nearness <= z * (1 + clear) and z < back[frame, row, column] * nearness:
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _rotate(matrix, rays, line, into):  # type: ignore[no-untyped-def]
    """Write `matrix[:, :3] @ rays[:, line]` into an array (3,)."""
    for row in range(3):
        into[row] = matrix[row, 0] * rays[0, line] + matrix[row, 1] * rays[1, line] + matrix[row, 2] * rays[2, line]
