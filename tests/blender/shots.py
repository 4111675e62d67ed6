"""A small shot made from true files, as a `reconstruct` job delivers them, without a server."""

import json
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np

from blender_addon import source
from blender_addon.state import OpenRequest
from ex4d.client import JobUpdate
from ex4d.depth import DepthVideo, save_depth
from ex4d.mesh import DWMesh
from ex4d.movie import write_movie

WIDTH, HEIGHT, FRAMES, FPS = 96, 64, 13, Fraction(24)


def small_depth(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> DepthVideo:
    """A wavy wall with a box before it that moves to the right."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    depth = np.empty((frames, height, width), np.float32)
    for t in range(frames):
        depth[t] = 8 + np.sin(x / 9 + t / 5) + y / height
        left = width // 4 + t
        depth[t, height // 3 : 2 * height // 3, left : left + width // 4] = 4 + 0.02 * t
    k = np.array([[width * 1.1, 0, width / 2], [0, width * 1.1, height / 2], [0, 0, 1]], np.float64)
    return DepthVideo(depth, k, "test")


def small_frames(depth: DepthVideo) -> np.ndarray:
    """Colours that never come near magenta."""
    near = np.clip(depth.depth / 10, 0, 1)
    frames = np.stack([0.2 * near, 0.3 + 0.6 * near, 0.9 - 0.6 * near], axis=-1)
    return (frames * 255).astype(np.uint8)


def deliver(folder: Path, depth: DepthVideo, fps: Fraction = FPS) -> JobUpdate:
    """The files of a `reconstruct` job."""
    folder.mkdir(parents=True, exist_ok=True)
    mesh = DWMesh.from_depth(depth)
    reliable = np.stack([mesh.reliable_vertices(t) for t in range(len(mesh))]).astype(np.uint8) * 255
    write_movie(folder / "source.mp4", small_frames(depth), fps)
    write_movie(folder / "reliable.mp4", reliable, fps, lossless=True)
    save_depth(folder / "depth.npz", depth)
    names = ("source.mp4", "reliable.mp4", "depth.npz")
    return JobUpdate("job", "done", facts={"fps": str(fps)}, files={name: folder / name for name in names})


def open_small(tmp_path: Path, match_scene: bool = True, fps: Fraction = FPS) -> DepthVideo:
    """Put the small shot into the current scene."""
    depth, scene = small_depth(), bpy.context.scene
    clip = tmp_path / "small.mp4"
    request = OpenRequest(
        scene.name, source.new_shot(clip), str(clip), "", 0, FRAMES, None, None, match_scene, None, json.dumps({}), {}
    )
    for _step in source.bring_in(request, deliver(tmp_path / "job", depth, fps)):
        pass
    return depth
