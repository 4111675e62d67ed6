"""The CPU rasteriser: exact, grid-aware, compiled by numba.

Vertices and faces are never built. A row of the depth becomes a row of clip coordinates by one multiply-add,
`clip = depth * (A column + B row + C) + T`, two such rows stay in cache, and each quad between them is two faces.
Coordinates are float64.

Coverage is tested in homogeneous coordinates (Olano and Greer 1997): for a pixel centre p and a vertex
(x, y, w) let a = x - p_x w, b = y - p_y w. A face covers p if its three cross products a_i b_j - a_j b_i
have the same sign or are 0. Nothing is divided by w, so a face that extends behind the camera needs no
special case, and the product of an edge is bitwise the negative of that of the same edge seen from the
neighbouring face, so shared edges never crack. Numba does not contract to fused multiply-add here
(that would break the negation). The products are also the perspective-correct barycentric weights.

The nearest face wins by 1/w in float32, and among equals the lowest id: id = 2 * (row * width + column) + k for
the quad whose top left vertex is (row, column); the two closing faces follow with 2 * height * width + k.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ex4d.geometry.mesh import DWMesh

_SMALL_BOX = 12
"""Maximum number of pixels for which testing the whole bounding box of a quad is cheaper than row spans."""

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _occlusion_row(before, now, cos_limit, extent_limit, max_slope, first, second):  # type: ignore[no-untyped-def]
    """Which faces between two rows of vertices (3,W) bridge an occlusion; see ex4d.geometry.occlusion.

    An angle is sharp if dot > cos(limit) (|p||q| + 1e-12). Squares are compared first, which needs no root
    and which the compiler vectorises; only the few that pass are compared exactly.
    """
    x0, y0, z0 = before[0], before[1], before[2]
    x1, y1, z1 = now[0], now[1], now[2]
    cos2 = cos_limit * cos_limit
    for j in range(len(first)):
        # Edges of the quad: top, left, diagonal from bottom left to top right, right, bottom.
        tx, ty, tz = x0[j + 1] - x0[j], y0[j + 1] - y0[j], z0[j + 1] - z0[j]
        lx, ly, lz = x1[j] - x0[j], y1[j] - y0[j], z1[j] - z0[j]
        dx, dy, dz = x0[j + 1] - x1[j], y0[j + 1] - y1[j], z0[j + 1] - z1[j]
        rx, ry, rz = x1[j + 1] - x0[j + 1], y1[j + 1] - y0[j + 1], z1[j + 1] - z0[j + 1]
        bx, by, bz = x1[j + 1] - x1[j], y1[j + 1] - y1[j], z1[j + 1] - z1[j]
        tt, ll = tx * tx + ty * ty + tz * tz, lx * lx + ly * ly + lz * lz
        dd = dx * dx + dy * dy + dz * dz
        rr, bb = rx * rx + ry * ry + rz * rz, bx * bx + by * by + bz * bz
        tl = tx * lx + ty * ly + tz * lz
        ld = -(lx * dx + ly * dy + lz * dz)
        td = tx * dx + ty * dy + tz * dz
        rd = -(rx * dx + ry * dy + rz * dz)
        bd = bx * dx + by * dy + bz * dz
        rb = rx * bx + ry * by + rz * bz
        first[j] = (
            (tl > 0 and tl * tl > cos2 * tt * ll)
            | (ld > 0 and ld * ld > cos2 * ll * dd)
            | (td > 0 and td * td > cos2 * tt * dd)
        )
        second[j] = (
            (rd > 0 and rd * rd > cos2 * rr * dd)
            | (bd > 0 and bd * bd > cos2 * dd * bb)
            | (rb > 0 and rb * rb > cos2 * rr * bb)
        )
        # The 1e-12 only matters where edges are shorter than about a millionth.
        if first[j] and min(tt * ll, ll * dd, tt * dd) < 1e-14:
            first[j] = (
                tl > cos_limit * (math.sqrt(tt * ll) + 1e-12)
                or ld > cos_limit * (math.sqrt(ll * dd) + 1e-12)
                or td > cos_limit * (math.sqrt(tt * dd) + 1e-12)
            )
        if second[j] and min(rr * dd, bb * dd, rr * bb) < 1e-14:
            second[j] = (
                rd > cos_limit * (math.sqrt(rr * dd) + 1e-12)
                or bd > cos_limit * (math.sqrt(bb * dd) + 1e-12)
                or rb > cos_limit * (math.sqrt(rr * bb) + 1e-12)
            )
    if extent_limit < np.inf or max_slope < np.inf:
        for j in range(len(first)):
            ex, ey = _extent(x0[j], x1[j], x0[j + 1]), _extent(y0[j], y1[j], y0[j + 1])
            ez = _extent(z0[j], z1[j], z0[j + 1])
            first[j] |= max(ex, ey, ez) >= extent_limit or ez > max_slope * (max(ex, ey) + 1e-8)
            ex, ey = _extent(x0[j + 1], x1[j], x1[j + 1]), _extent(y0[j + 1], y1[j], y1[j + 1])
            ez = _extent(z0[j + 1], z1[j], z1[j + 1])
            second[j] |= max(ex, ey, ez) >= extent_limit or ez > max_slope * (max(ex, ey) + 1e-8)


@_jit
def _extent(a, b, c):  # type: ignore[no-untyped-def]
    return max(a, b, c) - min(a, b, c)


@_jit
def reliable_vertices(depth, k, cos_limit, max_extent, max_slope, border_is_real):  # type: ignore[no-untyped-def]
    """DWMesh.reliable_vertices, compiled: depth (H,W) f32, k (3,3) -> (H,W) uint8 in {0,1}."""
    height, width = depth.shape
    extent_limit = np.inf
    if max_extent < np.inf:
        extent_limit = max_extent * (float(depth.max()) - float(depth.min()))
    reliable = np.ones((height, width), np.uint8)
    rows = np.empty((2, 3, width))
    first, second = np.zeros(width - 1, np.bool_), np.zeros(width - 1, np.bool_)
    ray_x = (np.arange(width) + 0.5 - k[0, 2]) / k[0, 0]
    for i in range(height):
        now, before = i % 2, (i + 1) % 2
        ray_y = (i + 0.5 - k[1, 2]) / k[1, 1]
        for j in range(width):
            d = float(depth[i, j])
            rows[now, 0, j], rows[now, 1, j], rows[now, 2, j] = d * ray_x[j], d * ray_y, d
        if i == 0:
            continue
        _occlusion_row(rows[before], rows[now], cos_limit, extent_limit, max_slope, first, second)
        for j in range(width - 1):
            if first[j]:
                reliable[i - 1, j] = 0
                reliable[i, j] = 0
                reliable[i - 1, j + 1] = 0
            if second[j]:
                reliable[i, j] = 0
                reliable[i - 1, j + 1] = 0
                reliable[i, j + 1] = 0
    if not border_is_real:
        reliable[0, :] = 0
        reliable[height - 1, :] = 0
        reliable[:, 0] = 0
        reliable[:, width - 1] = 0
    return reliable


@_jit
def _put(inv_w, ids, row, col, e0, e1, e2, w0, w1, w2, lowest, highest, crossing, farthest, face):  # type: ignore[no-untyped-def]
    """Keep the face at one pixel if it covers the centre and is nearer than the face that is there.

    e: products of the edges opposite to the corners; w: distances of the corners; lowest and highest: range of 1/w on
    the visible part of the face; crossing: whether it extends behind the near plane.
    """
    if not ((e0 >= 0 and e1 >= 0 and e2 >= 0) or (e0 <= 0 and e1 <= 0 and e2 <= 0)):
        return
    determinant = e0 * w0 + e1 * w1 + e2 * w2
    if determinant == 0:
        return
    inverse = (e0 + e1 + e2) / determinant
    if crossing and not 0 < inverse <= highest:
        return
    # On a sliver the quotient loses precision, but it cannot leave the range of the corners.
    inverse = min(max(inverse, lowest), highest)
    if inverse < farthest:
        return
    inverse = np.float32(inverse)
    if inverse > inv_w[row, col]:
        inv_w[row, col] = inverse
        ids[row, col] = face


@_jit
def _face(inv_w, ids, v0, v1, v2, near, far, face):  # type: ignore[no-untyped-def]
    """Rasterise one face of any size and position: v = (x, y, w), pixels = (x/w, y/w)."""
    height, width = inv_w.shape
    corners = (v0, v1, v2)
    # The part in front of the near plane, as a polygon on the screen, only to know which pixels to test.
    px, py = np.empty(4), np.empty(4)
    n = 0
    for i in range(3):
        p, q = corners[i], corners[(i + 1) % 3]
        if p[2] >= near:
            px[n], py[n] = p[0] / p[2], p[1] / p[2]
            n += 1
        if (p[2] >= near) != (q[2] >= near):
            s = (near - p[2]) / (q[2] - p[2])
            px[n], py[n] = (p[0] + s * (q[0] - p[0])) / near, (p[1] + s * (q[1] - p[1])) / near
            n += 1
    if n < 3:
        return
    low, high = py[0], py[0]
    for i in range(1, n):
        low, high = min(low, py[i]), max(high, py[i])
    if not (high >= 0 and low <= height):
        return
    row_from = max(0, math.floor(max(low, 0.0) - 0.5))
    row_to = min(height - 1, math.ceil(min(high, float(height)) - 0.5))
    least = min(v0[2], v1[2], v2[2])
    crossing = least < near
    highest, lowest, farthest = 1 / max(least, near), 1 / max(v0[2], v1[2], v2[2]), 1 / far
    for row in range(row_from, row_to + 1):
        yc = row + 0.5
        left, right = np.inf, -np.inf
        for i in range(n):
            j = i + 1 if i + 1 < n else 0
            ya, yb = py[i], py[j]
            if (ya < yc - 1e-3 and yb < yc - 1e-3) or (ya > yc + 1e-3 and yb > yc + 1e-3):
                continue
            if abs(yb - ya) < 1e-2:
                left, right = min(left, px[i], px[j]), max(right, px[i], px[j])
                continue
            # A thousandth of a pixel of slack on either side, because the exact test decides.
            for side in (yc - 1e-3, yc + 1e-3):
                s = min(max((side - ya) / (yb - ya), 0.0), 1.0)
                x = px[i] + s * (px[j] - px[i])
                left, right = min(left, x), max(right, x)
        if not (right >= 0 and left <= width):
            continue
        col_from = max(0, math.floor(max(left, 0.0) - 0.502))
        col_to = min(width - 1, math.ceil(min(right, float(width)) - 0.498))
        b0, b1, b2 = v0[1] - yc * v0[2], v1[1] - yc * v1[2], v2[1] - yc * v2[2]
        for col in range(col_from, col_to + 1):
            xc = col + 0.5
            a0, a1, a2 = v0[0] - xc * v0[2], v1[0] - xc * v1[2], v2[0] - xc * v2[2]
            e0, e1, e2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
            _put(
                inv_w, ids, row, col, e0, e1, e2, v0[2], v1[2], v2[2],
                lowest, highest, crossing, farthest, face,
            )  # fmt: skip


@_jit
def rasterise(depth, matrix, height, width, near, far, needed=None):  # type: ignore[no-untyped-def]
    """Nearest face at every pixel centre.

    Args:
        depth: (H,W) float32, the border at the shell.
        matrix: (3,4) float64; clip = matrix[:, :3] @ (column, row, 1) * depth + matrix[:, 3], with
            pixels = clip[:2] / clip[2] and clip[2] the distance along the optical axis.
        height, width: size of the picture.
        near, far: distances of the clipping planes.
        needed: (H,W) uint8; faces with 0 at all corners do not exist. None draws all.

    Returns:
        inv_w (height,width) float32, 1 / distance, 0 where there is no face; ids (height,width) int32, -1 there.
    """
    rows, cols = depth.shape
    inv_w = np.zeros((height, width), np.float32)
    ids = np.full((height, width), -1, np.int32)
    x, y, w = np.empty((2, cols)), np.empty((2, cols)), np.empty((2, cols))
    px, py, inv = np.empty((2, cols)), np.empty((2, cols)), np.empty((2, cols))
    farthest = 1 / far
    for i in range(rows):
        now, before = i % 2, (i + 1) % 2
        cx = matrix[0, 1] * i + matrix[0, 2]
        cy = matrix[1, 1] * i + matrix[1, 2]
        cw = matrix[2, 1] * i + matrix[2, 2]
        for j in range(cols):
            d = float(depth[i, j])
            x[now, j] = d * (matrix[0, 0] * j + cx) + matrix[0, 3]
            y[now, j] = d * (matrix[1, 0] * j + cy) + matrix[1, 3]
            w[now, j] = d * (matrix[2, 0] * j + cw) + matrix[2, 3]
        for j in range(cols):
            inv[now, j] = 1 / w[now, j]
            px[now, j], py[now, j] = x[now, j] * inv[now, j], y[now, j] * inv[now, j]
        if i == 0:
            continue
        for j in range(cols - 1):
            w0, w1, w2, w3 = w[before, j], w[now, j], w[before, j + 1], w[now, j + 1]
            base = 2 * ((i - 1) * cols + j)
            first, second = True, True
            if needed is not None:
                across = needed[i, j] | needed[i - 1, j + 1]
                first, second = (across | needed[i - 1, j]) > 0, (across | needed[i, j + 1]) > 0
                if not first and not second:
                    continue
            least = min(min(w0, w1), min(w2, w3))
            if least >= near:
                p0, p1, p2, p3 = px[before, j], px[now, j], px[before, j + 1], px[now, j + 1]
                x_low = min(min(p0, p1), min(p2, p3)) - 1e-6
                x_high = max(max(p0, p1), max(p2, p3)) + 1e-6
                if not (x_high >= 0.5 and x_low <= width - 0.5):
                    continue
                c0, c1 = math.ceil(max(x_low, 0.5) - 0.5), math.floor(min(x_high, width - 0.5) - 0.5)
                if c0 > c1:
                    continue
                q0, q1, q2, q3 = py[before, j], py[now, j], py[before, j + 1], py[now, j + 1]
                y_low = min(min(q0, q1), min(q2, q3)) - 1e-6
                y_high = max(max(q0, q1), max(q2, q3)) + 1e-6
                if not (y_high >= 0.5 and y_low <= height - 0.5):
                    continue
                r0, r1 = math.ceil(max(y_low, 0.5) - 0.5), math.floor(min(y_high, height - 0.5) - 0.5)
                if r0 > r1:
                    continue
                if (c1 - c0 + 1) * (r1 - r0 + 1) <= _SMALL_BOX:
                    x0, x1, x2, x3 = x[before, j], x[now, j], x[before, j + 1], x[now, j + 1]
                    y0, y1, y2, y3 = y[before, j], y[now, j], y[before, j + 1], y[now, j + 1]
                    u0, u1, u2, u3 = inv[before, j], inv[now, j], inv[before, j + 1], inv[now, j + 1]
                    low, high = min(u1, u2), max(u1, u2)
                    for r in range(r0, r1 + 1):
                        yc = r + 0.5
                        b0, b1, b2, b3 = y0 - yc * w0, y1 - yc * w1, y2 - yc * w2, y3 - yc * w3
                        for c in range(c0, c1 + 1):
                            xc = c + 0.5
                            a0, a1, a2, a3 = x0 - xc * w0, x1 - xc * w1, x2 - xc * w2, x3 - xc * w3
                            diagonal = a1 * b2 - a2 * b1
                            if first:
                                _put(
                                    inv_w, ids, r, c,
                                    diagonal, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0,
                                    w0, w1, w2, min(low, u0), max(high, u0), False, farthest, base,
                                )  # fmt: skip
                            if second:
                                _put(
                                    inv_w, ids, r, c,
                                    a1 * b3 - a3 * b1, a3 * b2 - a2 * b3, -diagonal,
                                    w2, w1, w3, min(low, u3), max(high, u3), False, farthest, base + 1,
                                )  # fmt: skip
                    continue
            elif max(max(w0, w1), max(w2, w3)) < near:
                continue
            v0 = (x[before, j], y[before, j], w0)
            v1 = (x[now, j], y[now, j], w1)
            v2 = (x[before, j + 1], y[before, j + 1], w2)
            v3 = (x[now, j + 1], y[now, j + 1], w3)
            if first:
                _face(inv_w, ids, v0, v1, v2, near, far, base)
            if second:
                _face(inv_w, ids, v2, v1, v3, near, far, base + 1)
    if needed is not None and not (needed[0, 0] | needed[0, -1] | needed[-1, 0] | needed[-1, -1]):
        return inv_w, ids
    # The two faces that close the shell: top right, top left, bottom right; bottom right, top left, bottom left.
    top_left, top_right = _vertex(depth, matrix, 0, 0), _vertex(depth, matrix, 0, cols - 1)
    bottom_left, bottom_right = (
        _vertex(depth, matrix, rows - 1, 0),
        _vertex(depth, matrix, rows - 1, cols - 1),
    )
    _face(inv_w, ids, top_right, top_left, bottom_right, near, far, 2 * rows * cols)
    _face(inv_w, ids, bottom_right, top_left, bottom_left, near, far, 2 * rows * cols + 1)
    return inv_w, ids


@_jit
def _vertex(depth, matrix, i, j):  # type: ignore[no-untyped-def]
    """Clip coordinates of one vertex, rounded exactly as `rasterise` does for a row."""
    d = float(depth[i, j])
    return (
        d * (matrix[0, 0] * j + (matrix[0, 1] * i + matrix[0, 2])) + matrix[0, 3],
        d * (matrix[1, 0] * j + (matrix[1, 1] * i + matrix[1, 2])) + matrix[1, 3],
        d * (matrix[2, 0] * j + (matrix[2, 1] * i + matrix[2, 2])) + matrix[2, 3],
    )


@_jit
def shade(depth, matrix, ids, reliable, picture, release_compat, colour, mask):  # type: ignore[no-untyped-def]
    """Write colour and mask of the visible faces into `colour` (h,w,3) uint8 and `mask` (h,w) uint8.

    Colour and alpha (1 at reliable vertices, else 0) are interpolated perspective-correctly; a pixel is
    real where alpha is above 125/255 (recon.py). With `release_compat`, colour fades towards unreliable vertices and
    is truncated; ours divides by alpha to undo the fading, and rounds.
    """
    rows, cols = depth.shape
    height, width = ids.shape
    for r in range(height):
        yc = r + 0.5
        for c in range(width):
            face = ids[r, c]
            colour[r, c, 0] = 0
            colour[r, c, 1] = 0
            colour[r, c, 2] = 0
            mask[r, c] = 0
            if face < 0:
                continue
            corner = face >> 1
            if corner < rows * cols:
                i = corner // cols
                j = corner - i * cols
                if face & 1:
                    i0, j0, i1, j1, i2, j2 = i, j + 1, i + 1, j, i + 1, j + 1
                else:
                    i0, j0, i1, j1, i2, j2 = i, j, i + 1, j, i, j + 1
            elif face & 1:
                i0, j0, i1, j1, i2, j2 = rows - 1, cols - 1, 0, 0, rows - 1, 0
            else:
                i0, j0, i1, j1, i2, j2 = 0, cols - 1, 0, 0, rows - 1, cols - 1
            s0, s1, s2 = reliable[i0, j0], reliable[i1, j1], reliable[i2, j2]
            if s0 + s1 + s2 == 0:
                continue
            xc = c + 0.5
            v0, v1, v2 = (
                _vertex(depth, matrix, i0, j0),
                _vertex(depth, matrix, i1, j1),
                _vertex(depth, matrix, i2, j2),
            )
            a0, a1, a2 = v0[0] - xc * v0[2], v1[0] - xc * v1[2], v2[0] - xc * v2[2]
            b0, b1, b2 = v0[1] - yc * v0[2], v1[1] - yc * v1[2], v2[1] - yc * v2[2]
            e0, e1, e2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
            total = e0 + e1 + e2
            e0, e1, e2 = s0 * e0 / total, s1 * e1 / total, s2 * e2 / total
            alpha = e0 + e1 + e2
            if not alpha * 255 > 125:
                continue
            mask[r, c] = 255
            scale, rounding = (1.0, 1e-9) if release_compat else (1 / alpha, 0.5)
            for channel in range(3):
                value = e0 * picture[i0, j0, channel] + e1 * picture[i1, j1, channel] + e2 * picture[i2, j2, channel]
                colour[r, c, channel] = np.uint8(min(value * scale + rounding, 255.0))


def reliable_vertices_of(mesh: DWMesh, t: int) -> NDArray[np.uint8]:
    """`DWMesh.reliable_vertices`, compiled: (H,W) uint8 in {0,1}."""
    limits = mesh.occlusion.cos_limit, mesh.occlusion.max_extent, mesh.occlusion.max_slope
    reliable: NDArray[np.uint8] = reliable_vertices(mesh.depth[t], mesh.intrinsics[t], *limits, mesh.border_is_real)
    if mesh.left_out is not None:
        reliable[mesh.left_out[t]] = 0
    return reliable
