"""The same renderer with numpy alone, for machines without numba: much slower, with the same result.

It follows `ex4d.render.engines.numba_kernels` step by step, with arrays of faces instead of loops: faces are split
into rows of pixels, rows into pixels, and each pixel keeps the greatest key made of 1/distance and face id. The
formulas round identically, so the visible faces are the same bit for bit.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_PAIRS = 1 << 21
"""Number of pixels of faces that are tested at once; limits memory to about 200 MB."""


def rasterise(
    depth: NDArray[np.float32],
    matrix: NDArray[np.float64],
    height: int,
    width: int,
    near: float,
    far: float,
    needed: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Nearest face at every pixel centre; arguments and results as in `numba_kernels.rasterise`."""
    corners, ids = _faces(depth.shape)
    if needed is not None:
        there = needed.ravel()[corners].any(axis=1)
        corners, ids = corners[there], ids[there]
    vertices = clip_coordinates(depth, matrix)
    keys = np.zeros(height * width, np.uint64)
    for part in _parts(np.full(len(ids), 8), _PAIRS):
        face_vertices = vertices[corners[part]]
        w = face_vertices[..., 2]
        in_front = (w >= near).all(axis=1)
        crossing = ~in_front & (w >= near).any(axis=1)
        for chosen, points in (
            (in_front, _projected(face_vertices[in_front])),
            (crossing, _clipped(face_vertices[crossing], near)),
        ):
            if chosen.any():
                _draw(keys, face_vertices[chosen], ids[part][chosen], points, height, width, near, far)
    found = keys > 0
    inv_w = (keys >> np.uint64(32)).astype(np.uint32).view(np.float32).reshape(height, width)
    lowest_id = (np.uint64(0xFFFFFFFF) - (keys & np.uint64(0xFFFFFFFF))).astype(np.int64)
    return inv_w, np.where(found, lowest_id, -1).astype(np.int32).reshape(height, width)


def shade(
    depth: NDArray[np.float32],
    matrix: NDArray[np.float64],
    ids: NDArray[np.int32],
    reliable: NDArray[np.uint8],
    picture: NDArray[np.uint8],
    release_compat: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colour (h,w,3) and mask (h,w) of the visible faces; see `numba_kernels.shade`."""
    rows, cols = np.nonzero(ids >= 0)
    corners = _corners_of(ids[rows, cols], depth.shape)
    seen = reliable.ravel()[corners]
    some = seen.any(axis=1)
    rows, cols, corners, seen = rows[some], cols[some], corners[some], seen[some]
    vertices = clip_coordinates(depth, matrix)[corners]
    e0, e1, e2 = _edge_products(vertices, rows, cols)
    weights = np.stack([e0, e1, e2], axis=-1)
    weights = seen * weights / ((e0 + e1) + e2)[:, None]
    alpha = (weights[:, 0] + weights[:, 1]) + weights[:, 2]
    real = alpha * 255 > 125
    rows, cols, weights, alpha = rows[real], cols[real], weights[real], alpha[real]
    texels = picture.reshape(-1, 3)[corners[real]]
    value = weights[:, 0, None] * texels[:, 0] + weights[:, 1, None] * texels[:, 1] + weights[:, 2, None] * texels[:, 2]
    value = value + 1e-9 if release_compat else value * (1 / alpha)[:, None] + 0.5
    colour, mask = np.zeros((*ids.shape, 3), np.uint8), np.zeros(ids.shape, np.uint8)
    colour[rows, cols] = np.minimum(value, 255).astype(np.uint8)
    mask[rows, cols] = 255
    return colour, mask


def inverse_distance(
    depth: NDArray[np.float32], matrix: NDArray[np.float64], ids: NDArray[np.int32]
) -> NDArray[np.float32]:
    """1 / distance (h,w) of the faces with these ids at the pixel centres; 0 where there is none."""
    rows, cols = np.nonzero(ids >= 0)
    vertices = clip_coordinates(depth, matrix)[_corners_of(ids[rows, cols], depth.shape)]
    e0, e1, e2 = _edge_products(vertices, rows, cols)
    w = vertices[..., 2]
    determinant = e0 * w[:, 0] + e1 * w[:, 1] + e2 * w[:, 2]
    result = np.zeros(ids.shape, np.float32)
    result[rows, cols] = (e0 + e1 + e2) / np.where(determinant == 0, np.inf, determinant)
    return result


def clip_coordinates(depth: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x, y, w) of every vertex (H*W,3), rounded as in the compiled renderer."""
    i, j = np.arange(depth.shape[0])[:, None], np.arange(depth.shape[1])
    d = depth.astype(np.float64)
    return np.stack([d * (m[0] * j + (m[1] * i + m[2])) + m[3] for m in matrix], axis=-1).reshape(-1, 3)


def _faces(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertex numbers (F,3) and ids (F,) of all faces."""
    rows, cols = shape
    top_left = (np.arange(rows - 1)[:, None] * cols + np.arange(cols - 1)).ravel()
    ids = np.concatenate([(2 * top_left[:, None] + (0, 1)).ravel(), 2 * rows * cols + np.arange(2)])
    return _corners_of(ids, shape), ids


def _corners_of(ids: NDArray, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Vertex numbers (F,3) of the faces with these ids (F,)."""
    rows, cols = shape
    base, second = ids.astype(np.int64) >> 1, (ids & 1).astype(bool)
    corners = np.stack([base + second, base + cols, base + 1 + second * cols], axis=-1)
    closing = base == rows * cols
    last = rows * cols - 1
    corners[closing & ~second] = (cols - 1, 0, last)
    corners[closing & second] = (last, 0, last - cols + 1)
    return corners


def _projected(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels (F,3,2) of the corners (F,3,3) of faces in front of the camera."""
    return vertices[..., :2] / vertices[..., 2:]


def _clipped(vertices: NDArray[np.float64], near: float) -> NDArray[np.float64]:
    """Pixels (F,6,2) that span the part in front of the near plane: corners, and intersections of edges.

    If a corner is behind the plane, or an edge does not cross it, another point of the same face is used instead.
    """
    following = np.roll(vertices, -1, axis=1)
    w, w_next = vertices[..., 2], following[..., 2]
    is_cut = (w >= near) != (w_next >= near)
    s = (near - w) / np.where(is_cut, w_next - w, 1)
    cuts = (vertices[..., :2] + s[..., None] * (following[..., :2] - vertices[..., :2])) / near
    inside = w >= near
    corners = vertices[..., :2] / np.where(inside, w, 1)[..., None]
    points, valid = np.concatenate([corners, cuts], axis=1), np.concatenate([inside, is_cut], axis=1)
    some = np.take_along_axis(points, valid.argmax(axis=1)[:, None, None], axis=1)
    return np.where(valid[..., None], points, some)


def _draw(
    keys: NDArray[np.uint64],
    vertices: NDArray[np.float64],
    ids: NDArray[np.int64],
    points: NDArray[np.float64],
    height: int,
    width: int,
    near: float,
    far: float,
) -> None:
    """Draw the faces (F,3,3) into the picture's keys (height*width), testing the pixels that `points` span."""
    low, high = points[..., 1].min(axis=1), points[..., 1].max(axis=1)
    first = np.floor(np.clip(low, 0, height) - 0.5).clip(0).astype(np.int64)
    last = np.ceil(np.clip(high, 0, height) - 0.5).clip(None, height - 1).astype(np.int64)
    count = np.where((high >= 0) & (low <= height), last - first + 1, 0).clip(0)
    for part in _parts(count, _PAIRS // 8):
        face, row = _expand(first[part], count[part])
        left, right = _span(points[part][face], row.astype(np.float64) + 0.5)
        col_first = np.floor(np.clip(left, 0, width) - 0.502).clip(0).astype(np.int64)
        col_last = np.ceil(np.clip(right, 0, width) - 0.498).clip(None, width - 1).astype(np.int64)
        width_of = np.where((right >= 0) & (left <= width), col_last - col_first + 1, 0).clip(0)
        for piece in _parts(width_of, _PAIRS):
            span, col = _expand(col_first[piece], width_of[piece])
            which, r = face[piece][span], row[piece][span]
            _test(keys, vertices[part][which], ids[part][which], r, col, width, near, far)


def _test(
    keys: NDArray[np.uint64],
    vertices: NDArray[np.float64],
    ids: NDArray[np.int64],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    width: int,
    near: float,
    far: float,
) -> None:
    """Keep each face (N,3,3) at its pixel (N,) if it covers the centre and is nearer than the face that is there."""
    e0, e1, e2 = _edge_products(vertices, rows, cols)
    w = vertices[..., 2]
    determinant = e0 * w[:, 0] + e1 * w[:, 1] + e2 * w[:, 2]
    covers = ((e0 >= 0) & (e1 >= 0) & (e2 >= 0)) | ((e0 <= 0) & (e1 <= 0) & (e2 <= 0))
    kept = np.flatnonzero(covers & (determinant != 0))
    w, inverse = w[kept], (e0[kept] + e1[kept] + e2[kept]) / determinant[kept]
    crossing = (w < near).any(axis=1)
    lowest, highest = 1 / w.max(axis=1), np.where(crossing, 1 / near, 1 / w.min(axis=1))
    visible = ~crossing | ((inverse > 0) & (inverse <= highest))
    inverse = np.minimum(np.maximum(inverse, lowest), highest)
    visible &= inverse >= 1 / far
    kept, inverse = kept[visible], inverse[visible].astype(np.float32)
    key = (inverse.view(np.uint32).astype(np.uint64) << np.uint64(32)) | (0xFFFFFFFF - ids[kept]).astype(np.uint64)
    np.maximum.at(keys, rows[kept] * width + cols[kept], key)


def _edge_products(vertices: NDArray[np.float64], rows: NDArray, cols: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Cross products (N,) of the edges opposite to the three corners (N,3,3), relative to the pixel centres."""
    a = vertices[..., 0] - (cols + 0.5)[:, None] * vertices[..., 2]
    b = vertices[..., 1] - (rows + 0.5)[:, None] * vertices[..., 2]
    return (
        a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
        a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
        a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
    )


def _span(points: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Leftmost and rightmost x (N,), with slack, of the convex hulls of the points (N,k,2) at the heights y (N,)."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for i in range(points.shape[1]):
        for j in range(i):
            (xa, ya), (xb, yb) = points[:, i].T, points[:, j].T
            meets = (np.minimum(ya, yb) <= y + 1e-3) & (np.maximum(ya, yb) >= y - 1e-3)
            flat = np.abs(yb - ya) < 1e-2
            rise = np.where(flat, 1, yb - ya)
            for side in (y - 1e-3, y + 1e-3):
                s = np.clip((side - ya) / rise, 0, 1)
                x = xa + s * (xb - xa)
                left = np.where(meets, np.minimum(left, np.where(flat, np.minimum(xa, xb), x)), left)
                right = np.where(meets, np.maximum(right, np.where(flat, np.maximum(xa, xb), x)), right)
    return left, right


def _expand(first: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For ranges of `count` numbers from `first`: which range each number belongs to, and the number."""
    which = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return which, first[which] + np.arange(len(which)) - before[which]


def _parts(count: NDArray, most: int) -> list[slice]:
    """Consecutive slices of `count` whose sums stay near `most`."""
    ends = np.cumsum(count)
    if len(ends) == 0 or ends[-1] == 0:
        return []
    cuts = np.searchsorted(ends, np.arange(most, ends[-1] + most, most), side="right")
    cuts = np.unique(np.concatenate([[0], np.clip(cuts, 1, len(count)), [len(count)]]))
    return [slice(a, b) for a, b in pairwise(cuts)]
