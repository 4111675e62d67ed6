"""Time of colour and mask for 49 frames on the CPU; run with `python benchmarks/render.py`.

The clip is synthetic: a slanted wall, waves, and boxes that move in front. Times are after one warm-up
run (the first run of an installation compiles for some seconds), the best of three.
"""

import os
import time

import numpy as np

from ex4d import camera_path, intrinsics
from ex4d.conditioning import render
from ex4d.depth import DepthVideo
from ex4d.mesh import DWMesh
from ex4d.render import Scene

FRAMES = 49
SIZES = ((512, 512), (1024, 576))


def scene(width: int, height: int) -> tuple[np.ndarray, DepthVideo]:
    """Frames (T,H,W,3) and depth with several occluding edges."""
    rows, cols = np.mgrid[:height, :width] / (height, width)[0]
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = np.empty((FRAMES, height, width), np.float32)
    for t in range(FRAMES):
        depth[t] = 9 + 2 * cols + 0.2 * np.sin(20 * cols + 9 * rows + 0.3 * t)
        for box in range(5):
            left = int((0.1 + 0.15 * box + 0.002 * t) * width)
            depth[t, height // 6 : height * 5 // 6, left : left + width // 12] = 3 + box
    k = intrinsics.per_frame(intrinsics.from_focal(500 * width / 512, width, height), FRAMES)
    return np.broadcast_to(picture, (FRAMES, *picture.shape)), DepthVideo(depth, k, "synthetic")


def main() -> None:
    """Print a line a size and preset."""
    print(f"{FRAMES} frames, {os.cpu_count()} cores, filter + rasteriser + shading, best of 3 after warm-up")
    for width, height in SIZES:
        frames, depth = scene(width, height)
        mesh = DWMesh.from_depth(depth)
        radius = camera_path.pivot_distance(depth.depth[0])
        for name in ("30", "90", "180"):
            path = camera_path.preset(name, radius, depth.intrinsics, width, height, FRAMES)
            times = []
            for _ in range(4):
                start = time.perf_counter()
                conditioning = render(Scene(mesh, frames, path))
                times.append(time.perf_counter() - start)
            best = min(times[1:])
            triangles = FRAMES * len(mesh.faces)
            print(
                f"{width}x{height} preset {name:>3}: {best:.3f} s, {1e3 * best / FRAMES:.1f} ms a frame,"
                f" {triangles / best / 1e6:.0f} Mtri/s, coverage {conditioning.coverage.mean():.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
