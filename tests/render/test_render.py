"""The rasteriser compared with a simple one that tests every face at every pixel, and with the release's pictures."""

import numpy as np
import pytest

from ex4d.geometry import intrinsics
from ex4d.geometry.transforms import inverse, look_at
from ex4d.render.engines import numba_kernels
from ex4d.render.scene import NEAR, projection


def plain_rasterise(depth, matrix, height, width, near, far):
    """Nearest face and 1/distance at each pixel, by exact homogeneous tests of all faces in float64."""
    rows, cols = depth.shape
    i, j = np.mgrid[:rows, :cols].astype(np.float64)
    clip = np.stack([depth * (m[0] * j + (m[1] * i + m[2])) + m[3] for m in matrix], axis=-1).reshape(-1, 3)
    tl = (np.arange(rows - 1)[:, None] * cols + np.arange(cols - 1)).ravel()
    quads = np.stack([[tl, tl + cols, tl + 1], [tl + 1, tl + cols, tl + cols + 1]])
    faces = quads.transpose(2, 0, 1).reshape(-1, 3)
    ids = (2 * tl[:, None] + (0, 1)).ravel()
    last = rows * cols - 1
    faces = np.concatenate([faces, [[cols - 1, 0, last], [last, 0, last - cols + 1]]])
    ids = np.concatenate([ids, [2 * rows * cols, 2 * rows * cols + 1]])
    best, seen = np.zeros((height, width), np.float32), np.full((height, width), -1, np.int32)
    v = clip[faces]
    w = v[..., 2]
    for r in range(height):
        for c in range(width):
            a, b = v[..., 0] - (c + 0.5) * w, v[..., 1] - (r + 0.5) * w
            e = np.stack([a[:, k] * b[:, m] - a[:, m] * b[:, k] for k, m in ((1, 2), (2, 0), (0, 1))], axis=-1)
            covers = (e >= 0).all(1) | (e <= 0).all(1)
            determinant = (e * w).sum(1)
            covers &= determinant != 0
            inv = np.where(covers, e.sum(1) / np.where(covers, determinant, 1), 0)
            crossing = (w < near).any(1)
            covers &= ~crossing | ((inv > 0) & (inv <= 1 / near))
            with np.errstate(divide="ignore"):
                low, high = 1 / w.max(1), np.where(crossing, 1 / near, 1 / w.min(1))
            inv = np.clip(inv, low, high)
            covers &= (w.max(1) >= near) & (inv >= 1 / far)
            inv = np.where(covers, inv, 0).astype(np.float32)
            k = inv.argmax()
            if inv[k] > 0:
                best[r, c], seen[r, c] = inv[k], ids[k]
    return best, seen


def grid(kind: str, rows: int = 14, cols: int = 18) -> np.ndarray:
    rng = np.random.default_rng(7)
    depth = {
        "flat": np.full((rows, cols), 4.0),
        "slanted": 3 + np.arange(cols) * 0.1 + np.arange(rows)[:, None] * 0.05,
        "noisy": 2 + 6 * rng.random((rows, cols)),
        "spikes": np.where(rng.random((rows, cols)) < 0.05, 0.3, 6.0),
        "checkerboard": np.where(np.indices((rows, cols)).sum(0) % 2, 2.6, 50.0),
        "huge": np.where(rng.random((rows, cols)) < 0.3, 9e3, 3.0),
        "tiny": np.full((rows, cols), 2e-3) * (1 + rng.random((rows, cols))),
    }[kind].astype(np.float32)
    depth[[0, -1], :] = depth[:, [0, -1]] = depth.max() * 1.05
    return depth


K_SOURCE = intrinsics.from_focal(16, 18, 14)
K_TARGET = intrinsics.from_focal(22, 26, 20)
VIEWS = {
    "source": np.eye(4),
    "orbit": look_at(np.array([2.5, -0.5, 1.0]), np.array([0, 0, 4.0])),
    "inside": look_at(np.array([0.4, 0.1, 4.5]), np.array([1.5, 0.5, 0.0])),
    "behind": look_at(np.array([0.5, -1.0, 9.0]), np.array([0, 0, 3.0])),
    "sideways": look_at(np.array([0.0, 0.0, 3.0]), np.array([5.0, 0.3, 3.2])),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", ["flat", "slanted", "noisy", "spikes", "checkerboard", "huge", "tiny"])
def test_the_same_faces_are_seen_as_by_testing_every_face_at_every_pixel(kind, view):
    depth = grid(kind)
    matrix = projection(K_TARGET, inverse(VIEWS[view]), K_SOURCE)
    inv_w, ids = numba_kernels.rasterise(depth, matrix, 20, 26, NEAR, np.inf)
    plain_inv_w, plain_ids = plain_rasterise(depth, matrix, 20, 26, NEAR, np.inf)
    assert (ids == plain_ids).all()
    assert (inv_w == plain_inv_w).all()


@pytest.mark.parametrize("view", ["orbit", "inside"])
def test_the_far_plane_takes_away_what_is_beyond_it(view):
    depth = grid("noisy")
    matrix = projection(K_TARGET, inverse(VIEWS[view]), K_SOURCE)
    inv_w, ids = numba_kernels.rasterise(depth, matrix, 20, 26, NEAR, 5.0)
    _, plain_ids = plain_rasterise(depth, matrix, 20, 26, NEAR, 5.0)
    assert (ids == plain_ids).all()
    assert (inv_w[ids >= 0] >= np.float32(1 / 5)).all()
    assert (ids < 0).any()


def test_a_watertight_mesh_fills_the_picture_from_anywhere_in_front():
    for kind in ("noisy", "spikes", "checkerboard"):
        matrix = projection(K_SOURCE, np.eye(4), K_SOURCE)
        _, ids = numba_kernels.rasterise(grid(kind), matrix, 14, 18, NEAR, np.inf)
        assert (ids[1:-1, 1:-1] >= 0).all()


def test_distances_are_those_of_the_surface():
    depth = grid("slanted")
    inv_w, _ = numba_kernels.rasterise(depth, projection(K_SOURCE, np.eye(4), K_SOURCE), 14, 18, NEAR, np.inf)
    assert np.allclose(1 / inv_w[2:-2, 2:-2], depth[2:-2, 2:-2], rtol=1e-5)


def test_pictures_come_back_exactly_from_the_source_view():
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (14, 18, 3), dtype=np.uint8)
    depth, matrix = grid("slanted"), projection(K_SOURCE, np.eye(4), K_SOURCE)
    _, ids = numba_kernels.rasterise(depth, matrix, 14, 18, NEAR, np.inf)
    reliable = np.ones((14, 18), np.uint8)
    colour, mask = np.empty_like(picture), np.empty((14, 18), np.uint8)
    numba_kernels.shade(depth, matrix, ids, reliable, picture, False, colour, mask)
    assert (mask[1:-1, 1:-1] == 255).all()
    assert (colour[1:-1, 1:-1] == picture[1:-1, 1:-1]).all()


@pytest.mark.parametrize("value", [1e-38, 1e38, 3.4e38])
def test_extreme_depth_neither_crashes_nor_hangs(value):
    depth = grid("noisy")
    depth[5:9, 6:12] = value
    for pose in VIEWS.values():
        matrix = projection(K_TARGET, inverse(pose), K_SOURCE)
        _, ids = numba_kernels.rasterise(depth, matrix, 20, 26, NEAR, np.inf)
        assert ids.max() <= 2 * depth.size + 1
