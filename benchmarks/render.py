"""Time of colour and mask with every engine that can run here: `python benchmarks/render.py`.

The clip is synthetic: a slanted, wavy wall with boxes moving in front of it. "on the device" is filter, rasteriser and
shading with everything in GPU memory; nvdiffrast's is transform, rasterise, interpolate and antialias, as in the
release, without a filter. "host to host" is from depth and pictures in host memory to colour and mask there. The
figures are the best of three after a warm-up (the first run of an installation compiles).
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import typer

from ex4d.geometry import intrinsics, presets
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render import engines
from ex4d.render import scene as rendering
from ex4d.render.scene import Scene

FRAMES = 49
SIZES = ((512, 512), (1024, 576), (2048, 1152))
PRESETS = ("30", "90", "180")


def synthetic(width: int, height: int, preset: str) -> Scene:
    """A scene with several occluding edges, and a preset around it."""
    rows, cols = np.mgrid[:height, :width] / height
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = np.empty((FRAMES, height, width), np.float32)
    for t in range(FRAMES):
        depth[t] = 9 + 2 * cols + 0.2 * np.sin(20 * cols + 9 * rows + 0.3 * t)
        for box in range(5):
            left = int((0.1 + 0.15 * box + 0.002 * t) * width)
            depth[t, height // 6 : height * 5 // 6, left : left + width // 12] = 3 + box
    k = intrinsics.per_frame(intrinsics.from_focal(500 * width / 512, width, height), FRAMES)
    mesh = DWMesh.from_depth(DepthVideo(depth, k, "synthetic"))
    path = presets.preset(preset, presets.pivot_distance(depth[0]), k, width, height, FRAMES)
    return Scene(mesh, np.ascontiguousarray(np.broadcast_to(picture, (FRAMES, *picture.shape))), path)


def draw(engine: rendering.Engine, scene: Scene, pairs: Sequence[tuple[int, int]]) -> None:
    """Draw all pairs and discard the pictures."""
    for _ in engine.views(scene, pairs):
        pass


def best(work: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest of several runs, after one that does not count."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def cuda_on_device(scene: Scene, pairs: Sequence[tuple[int, int]]) -> float:
    """Seconds per frame with everything in GPU memory."""
    import cupy

    from ex4d.render.engines import cuda

    batch = cuda.upload(scene, pairs[: cuda.MOST_AT_ONCE], surfaces=False)

    def work() -> None:
        cuda.launch(batch)
        cupy.cuda.Device().synchronize()

    return best(work, 10) / len(batch.mask)


def nvdiffrast_on_device(scene: Scene, pairs: Sequence[tuple[int, int]]) -> float:
    """Seconds per frame of the release's calls with everything in GPU memory."""
    import nvdiffrast.torch as dr
    import torch

    context, size = dr.RasterizeCudaContext(), (scene.path.height, scene.path.width)
    faces = torch.from_numpy(scene.mesh.faces).cuda()
    t, view = pairs[len(pairs) // 2]
    matrix = scene.projection(t, view)
    to_gl = np.array([[2 / size[1], 0, -1], [0, 2 / size[0], -1], [0, 0, 1], [0, 0, 1]], np.float64)
    full = to_gl @ matrix
    full[2, 3] -= 2 * rendering.NEAR
    vertices = np.ones((scene.mesh.depth[t].size, 4), np.float32)
    rows, cols = np.indices(scene.mesh.depth[t].shape)
    vertices[:, :3] = (np.stack([cols, rows, np.ones_like(rows)], -1) * scene.mesh.depth[t][..., None]).reshape(-1, 3)
    points, transform = torch.from_numpy(vertices).cuda(), torch.from_numpy(full.astype(np.float32)).cuda()
    rgba = torch.full((1, len(points), 4), 255.0, device="cuda")

    def work() -> None:
        clip = (points @ transform.T)[None]
        raster, _ = dr.rasterize(context, clip, faces, resolution=size)
        colour, _ = dr.interpolate(rgba, raster, faces)
        dr.antialias(colour, raster, clip, faces)
        torch.cuda.synchronize()

    return best(work, 10)


ON_DEVICE = {"cuda": cuda_on_device, "nvdiffrast": nvdiffrast_on_device}


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Engines to measure. Default: all that can run here.")
    ] = None,
) -> None:
    """Print a line for each size, preset and engine."""
    chosen = names or [name for name in engines.ENGINES if not engines.missing(name)]
    for name in set(engines.ENGINES) - set(chosen):
        print(f"left out: {name}: {engines.missing(name) or 'not asked for'}")
    print(f"{FRAMES} frames, {os.cpu_count()} cores, best of 3 after warm-up")
    for width, height in SIZES:
        for preset in PRESETS:
            scene = synthetic(width, height, preset)
            pairs = [(t, t) for t in range(FRAMES)]
            triangles = len(scene.mesh.faces)
            moved = (scene.mesh.depth[0].nbytes + scene.pictures[0].nbytes + width * height * 4) / 1e6
            device = {name: ON_DEVICE[name](scene, pairs) for name in chosen if name in ON_DEVICE}
            for name in chosen:
                line = f"{width}x{height} {preset:>3} {name:>10}:"
                if name != "nvdiffrast":  # its plug-in is for comparing pictures; the release's calls are timed
                    is_slow = name == "numpy"  # it draws one frame, once
                    drawn = pairs[24:25] if is_slow else pairs
                    engine = engines.engine(name)
                    seconds = best(partial(draw, engine, scene, drawn), 1 if is_slow else 3)
                    seconds /= len(drawn)
                    line += f" host to host {1e3 * seconds:7.2f} ms a frame ({FRAMES * 1e3 * seconds:5.0f} ms in all)"
                    line += f" {moved:5.1f} MB {triangles / seconds / 1e6:5.0f} Mtri/s"
                if name in device:
                    line += (
                        f" | on the device {1e3 * device[name]:6.3f} ms {triangles / device[name] / 1e6:5.0f} Mtri/s"
                    )
                    if "nvdiffrast" in device and name != "nvdiffrast":
                        line += f", {device['nvdiffrast'] / device[name]:.1f} times as fast as nvdiffrast"
                print(line, flush=True)


if __name__ == "__main__":
    typer.run(main)
