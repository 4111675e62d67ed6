"""Time of the quick coverage estimate, `python benchmarks/live_coverage.py`: what a live read-out would cost."""

from dataclasses import replace
from pathlib import Path

from render import best

from ex4d.depth.files import read_depth
from ex4d.geometry import presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import read_clip
from ex4d.render import coverage
from ex4d.render.conditioning import render as render_conditioning
from ex4d.render.scene import Scene

SAMPLE = Path(__file__).resolve().parents[1] / "sample"


def main() -> None:
    """Print the time for the whole path and for one frame, beside the full picture's."""
    clip = read_clip(SAMPLE / "clip.mp4")
    depth = read_depth(SAMPLE / "clip.depth.npz", clip)
    mesh = DWMesh.from_depth(depth)
    radius = presets.pivot_distance(depth.depth[0])
    path = presets.preset("60", radius, depth.intrinsics, mesh.width, mesh.height, len(mesh))
    full = best(lambda: render_conditioning(Scene(mesh, clip.frames, path)))
    quick = best(lambda: coverage.estimate(mesh, path, 256))
    t = len(path) // 2
    at = slice(t, t + 1)
    one_mesh = replace(
        mesh, depth=mesh.depth[at], intrinsics=mesh.intrinsics[at], source_to_world=mesh.source_to_world[at]
    )
    one_path = CameraPath(path.camera_to_world[at], path.intrinsics[at], path.width, path.height)
    one = best(lambda: coverage.estimate(one_mesh, one_path, 512))
    print(f"{len(path)} frames at 512x288, colour and mask: {1e3 * full:6.1f} ms")
    print(f"{len(path)} frames at 256x144, coverage:        {1e3 * quick:6.1f} ms")
    print(f"one frame at 512x288, coverage:       {1e3 * one:6.1f} ms")


if __name__ == "__main__":
    main()
