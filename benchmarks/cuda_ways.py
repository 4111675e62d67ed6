"""CUDA C through CuPy compared with numba-cuda, for the rasteriser's main kernel: `python benchmarks/cuda_ways.py`.

Both draw the quads that cover few pixels (most of them); the visible faces are compared with the CPU's. numba-cuda is
compiled with its defaults, so multiply and add are fused wherever its compiler chooses.
"""

import math
import time
from typing import Any

import cupy
import numpy as np
from numba import cuda as numba_cuda
from render import synthetic

from ex4d.render import engines
from ex4d.render import scene as rendering
from ex4d.render.engines import cuda


@numba_cuda.jit(device=True)
def put(key, at, e0, e1, e2, w0, w1, w2, lowest, highest, face):  # type: ignore[no-untyped-def]
    """As in kernels.cu."""
    if not ((e0 >= 0 and e1 >= 0 and e2 >= 0) or (e0 <= 0 and e1 <= 0 and e2 <= 0)):
        return
    determinant = e0 * w0 + e1 * w1 + e2 * w2
    if determinant == 0:
        return
    inverse = min(max((e0 + e1 + e2) / determinant, lowest), highest)
    # Fixed point replaces the float's bits, which numba-cuda does not expose; close enough to compare speed.
    numba_cuda.atomic.max(key, at, (int(inverse * 2**30) << 32) | (0xFFFFFFFF - face))


@numba_cuda.jit
def small(depth, matrix, key, height, width, box):  # type: ignore[no-untyped-def]
    """The kernel `rasterise_small` of kernels.cu, without its queue."""
    j, i = numba_cuda.grid(2)
    rows, cols = depth.shape
    if i >= rows - 1 or j >= cols - 1:
        return
    x, y = numba_cuda.local.array(4, np.float64), numba_cuda.local.array(4, np.float64)
    w, u = numba_cuda.local.array(4, np.float64), numba_cuda.local.array(4, np.float64)
    x_low = y_low = 1e30
    x_high = y_high = -1e30
    for k in range(4):
        r, c = i + (k & 1), j + (k >> 1)
        d = float(depth[r, c])
        x[k] = d * (matrix[0, 0] * c + (matrix[0, 1] * r + matrix[0, 2])) + matrix[0, 3]
        y[k] = d * (matrix[1, 0] * c + (matrix[1, 1] * r + matrix[1, 2])) + matrix[1, 3]
        w[k] = d * (matrix[2, 0] * c + (matrix[2, 1] * r + matrix[2, 2])) + matrix[2, 3]
        if w[k] < rendering.NEAR:
            return
        u[k] = 1 / w[k]
        x_low, x_high = min(x_low, x[k] * u[k]), max(x_high, x[k] * u[k])
        y_low, y_high = min(y_low, y[k] * u[k]), max(y_high, y[k] * u[k])
    c0, c1 = max(0, math.ceil(x_low - 0.5)), min(width - 1, math.floor(x_high - 0.5))
    r0, r1 = max(0, math.ceil(y_low - 0.5)), min(height - 1, math.floor(y_high - 0.5))
    if c0 > c1 or r0 > r1 or (c1 - c0 + 1) * (r1 - r0 + 1) > box:
        return
    face = 2 * (i * cols + j)
    for r in range(r0, r1 + 1):
        yc = r + 0.5
        b0, b1, b2, b3 = y[0] - yc * w[0], y[1] - yc * w[1], y[2] - yc * w[2], y[3] - yc * w[3]
        for c in range(c0, c1 + 1):
            xc = c + 0.5
            a0, a1, a2, a3 = x[0] - xc * w[0], x[1] - xc * w[1], x[2] - xc * w[2], x[3] - xc * w[3]
            e, at = a1 * b2 - a2 * b1, r * width + c
            low, high = min(u[1], u[2]), max(u[1], u[2])
            put(
                key, at, e, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0, w[0], w[1], w[2],
                min(low, u[0]), max(high, u[0]), face,
            )  # fmt: skip
            put(
                key, at, a1 * b3 - a3 * b1, a3 * b2 - a2 * b3, -e, w[2], w[1], w[3],
                min(low, u[3]), max(high, u[3]), face + 1,
            )  # fmt: skip


def main() -> None:
    """Print milliseconds per frame, and the number of faces that differ from the CPU's, at two sizes."""
    for width, height in ((512, 512), (2048, 1152)):
        scene = synthetic(width, height, "30")
        t = 24
        matrix, depth = scene.projection(t, t), scene.mesh.depth[t]
        surface = next(iter(engines.engine("numba").views(scene, [(t, t)], surfaces=True))).surface
        assert surface is not None
        truth = surface.ids
        batch = cuda.upload(scene, [(t, t)], surfaces=True)
        kernel = cuda._kernels()["rasterise_small"]
        size = np.array((height, width, height, width), np.dtype("i4,i4,i4,i4"))
        arguments = (
            batch.depth, batch.matrices, size, np.float64(rendering.NEAR), np.float64(np.inf), batch.keys, batch.queue,
            batch.queued, np.uint32(len(batch.queue)), np.int32(cuda.SMALL_BOX),
        )  # fmt: skip
        theirs = numba_cuda.device_array(height * width, np.int64)
        sources = numba_cuda.to_device(depth), numba_cuda.to_device(matrix)

        def by_cupy(
            grid: Any = (-(-width // 128), height - 1, 1), run: Any = kernel, a: Any = arguments, b: Any = batch
        ) -> None:
            b.keys.fill(0)
            b.queued.fill(0)
            run(grid, (128,), a)

        def by_numba(
            grid: Any = (-(-width // 128), height - 1),
            s: Any = sources,
            k: Any = theirs,
            h: int = height,
            w: int = width,
        ) -> None:
            k[:] = 0
            small[grid, (128, 1)](*s, k, h, w, cuda.SMALL_BOX)

        times = {}
        for name, work in (("CUDA C, CuPy", by_cupy), ("numba-cuda", by_numba)):
            work()
            cupy.cuda.Device().synchronize()
            start = time.perf_counter()
            for _ in range(20):
                work()
            cupy.cuda.Device().synchronize()
            times[name] = (time.perf_counter() - start) / 20
        ours = cupy.asnumpy(batch.keys)[0]
        numbas = theirs.copy_to_host().reshape(height, width)
        small_faces = ours > 0
        for name, keys in (("CUDA C, CuPy", ours.astype(np.int64)), ("numba-cuda", numbas)):
            ids = np.where(keys > 0, 0xFFFFFFFF - (keys & 0xFFFFFFFF), -1)
            both = small_faces & (truth >= 0) & (truth == np.where(ours > 0, 0xFFFFFFFF - (ours & 0xFFFFFFFF), -2))
            differ = (ids != truth)[both].mean()
            print(f"{width}x{height} {name:>12}: {1e3 * times[name]:.3f} ms, other faces at {differ:.4%} of the pixels")


if __name__ == "__main__":
    main()
