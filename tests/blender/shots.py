"""A small shot made from real files, as a `reconstruct` job delivers them, without a server."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from blender_addon.shot import asking, source
from blender_addon.work.requests import OpenRequest
from ex4d.geometry.depth_video import DepthVideo, save_depth
from ex4d.geometry.mesh import DWMesh
from ex4d.jobs.client import JobUpdate
from ex4d.media.movie import write_movie
from ex4d.pipeline.requests import Blob, Source
from ex4d.pipeline.settings import SourceSettings
from ex4d.plain import to_plain
from ex4d.source_camera import pose_files

WIDTH, HEIGHT, FRAMES, FPS = 96, 64, 13, Fraction(24)


def source_of(name: str, start: int = 0, frames: int = FRAMES, longest_side: int | None = 1024) -> str:
    """A job's source, in JSON, whose clip has this name."""
    settings = SourceSettings(start, frames, longest_side=longest_side)
    return json.dumps(to_plain(Source((Blob("1" * 64, 1, name),), settings=settings)))


def small_depth(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> DepthVideo:
    """A wavy wall and, in front of it, a box that moves to the right."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    depth = np.empty((frames, height, width), np.float32)
    for t in range(frames):
        depth[t] = 8 + np.sin(x / 9 + t / 5) + y / height
        left = width // 4 + t
        depth[t, height // 3 : 2 * height // 3, left : left + width // 4] = 4 + 0.02 * t
    k = np.array([[width * 1.1, 0, width / 2], [0, width * 1.1, height / 2], [0, 0, 1]], np.float64)
    return DepthVideo(depth, k, "test")


def small_frames(depth: DepthVideo) -> np.ndarray:
    """Frames without any colour close to magenta."""
    near = np.clip(depth.depth / 10, 0, 1)
    frames = np.stack([0.2 * near, 0.3 + 0.6 * near, 0.9 - 0.6 * near], axis=-1)
    return (frames * 255).astype(np.uint8)


def deliver(
    folder: Path,
    depth: DepthVideo,
    fps: Fraction = FPS,
    poses: np.ndarray | None = None,
    caution: str = "",
    of: int = 0,
    packed: bool = False,
) -> JobUpdate:
    """The files of a `reconstruct` job for a clip with `of` frames (0 if the server does not report the number).

    The depth is stored exactly, unless it is to be `packed` as by a server.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mesh = DWMesh.from_depth(depth, poses)
    reliable = np.stack([mesh.reliable_vertices(t) for t in range(len(mesh))]).astype(np.uint8) * 255
    write_movie(folder / "source.mp4", small_frames(depth), fps)
    write_movie(folder / "reliable.mp4", reliable, fps, lossless=True)
    save_depth(folder / "depth.npz", depth, packed=packed)
    names = ["source.mp4", "reliable.mp4", "depth.npz"]
    if poses is not None:
        pose_files.save(folder / "source_camera.npz", pose_files.SourceCamera(poses, np.zeros((0, 3))))
        names.append("source_camera.npz")
    about = {"provider": depth.provider, "scale": "The distances have no unit.", "licence": "", "caution": caution}
    facts = {"fps": str(fps), "depth": about, "notes": list(depth.notes)}
    facts |= {"clip_frames": of, "clip_width": 2 * depth.depth.shape[2], "clip_height": 2 * depth.depth.shape[1]}
    return JobUpdate("job", "done", facts=facts, files={name: folder / name for name in names})


def walk(frames: int = FRAMES) -> np.ndarray:
    """Poses (T,4,4) of a source camera that walks to the right and forward, and turns; the first is the identity."""
    poses = np.repeat(np.eye(4)[None], frames, 0)
    for t in range(frames):
        a = 0.02 * t
        poses[t, :3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
        poses[t, :3, 3] = 0.05 * t, -0.01 * t, 0.08 * t
    return poses


def open_small(
    tmp_path: Path,
    match_scene: bool = True,
    fps: Fraction = FPS,
    poses: np.ndarray | None = None,
    depth: DepthVideo | None = None,
    of: int = 0,
) -> DepthVideo:
    """Open the small shot, the beginning of a clip with `of` frames, in the current scene."""
    depth = depth or small_depth()
    said_when_opened(tmp_path, match_scene, fps, poses, depth, of)
    return depth


def said_when_opened(
    tmp_path: Path,
    match_scene: bool = True,
    fps: Fraction = FPS,
    poses: np.ndarray | None = None,
    depth: DepthVideo | None = None,
    of: int = 0,
) -> str:
    """Open the small shot in the current scene; returns the message for the artist."""
    scene, clip = bpy.context.scene, tmp_path / "small.mp4"
    clip.parent.mkdir(exist_ok=True)
    clip.touch()  # its content does not matter here
    request = OpenRequest(
        scene.name,
        source.new_shot(clip),
        str(clip),
        "",
        "",
        {},
        asking.asked(scene.ex4d),
        match_scene=match_scene,
        source=source_of("small.mp4"),
    )
    return bring_in(request, deliver(tmp_path / "job", depth or small_depth(), fps, poses, of=of))


def open_again(tmp_path: Path, depth: DepthVideo, poses: np.ndarray | None = None, **more) -> str:
    """Open the shot again with other depth; returns the message for the artist."""
    facts = bpy.context.scene.ex4d
    scene, asked = bpy.context.scene.name, asking.asked(facts)
    request = OpenRequest(
        scene, facts.shot, facts.opened, "", "", {}, asked, source=source_of("again.mp4"), files={"1": "one"}
    )
    return bring_in(request, deliver(tmp_path / "again", depth, poses=poses, **more))


def bring_in(request: OpenRequest, update: JobUpdate) -> str:
    """Run all steps of bringing in a result."""
    known = replace(request, source=request.source or source_of("small.mp4"))  # as after hashing the files
    return outcome(source.bring_in(known, update))


def outcome(work: source.Steps) -> Any:
    """Run work in steps to its end and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
