"""Open a clip: what to send to the server, and what to make of its answer."""

import json
import math
import re
import secrets
import shutil
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ex4d.arrays import open_arrays
from ex4d.camera_path import pivot_distance
from ex4d.client import Hasher
from ex4d.clip import natural_order
from ex4d.depth import DepthVideo
from ex4d.errors import InputError
from ex4d.mesh import DWMesh
from ex4d.protocol import Reconstruct, Source, to_plain

from . import axes, camera, files, mesh_object, objects
from .state import OpenRequest

Steps = Generator[tuple[str, int, int], None, Any]
"""Work cut into steps of some milliseconds: yields stage, step and steps; returns its result."""

CLIP_PICTURES, DEPTH_PICTURES = {".png", ".jpg", ".jpeg"}, {".png", ".exr"}


def no_depth(clip: Path) -> str:
    """What to tell when a clip has no depth."""
    return (
        f"There is no depth beside {clip.name}: put {clip.stem}.depth.npz or a folder {clip.stem}_depth of"
        " PNG or EXR pictures there, or choose one as Depth."
    )


def new_shot(clip: Path) -> str:
    """A name for the shot's folder that no other shot has."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', clip.stem)[:40] or 'clip'}_{secrets.token_hex(4)}"


def count_frames(clip: Path) -> int | None:
    """How many frames Blender sees in a clip; None where it sees no movie (the server will say what is wrong)."""
    if clip.is_dir():
        return len(_input_files(clip, "clip", CLIP_PICTURES))
    image = bpy.data.images.load(str(clip))
    try:
        return image.frame_duration if image.source == "MOVIE" else None
    finally:
        bpy.data.images.remove(image)


def _input_files(path: Path, what: str, pictures: set[str]) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"There is no {what} {path}: choose another file.")
    found = sorted((p for p in path.iterdir() if p.suffix.lower() in pictures), key=natural_order)
    if not found:
        raise InputError(f"The folder {path} holds no pictures: choose another {what}.")
    return found


def hash_files(paths: list[Path]) -> Steps:
    """Blobs of files, a chunk at a time."""
    blobs = []
    for number, path in enumerate(paths):
        hasher = Hasher(path)
        while not hasher.step():
            yield ("Reading Files", number, len(paths))
        blobs.append(hasher.blob)
    return blobs


def prepare(request: OpenRequest) -> Steps:
    """Hash the files of a clip; returns the request that knows them, and the job."""
    clips = _input_files(Path(request.clip), "clip", CLIP_PICTURES)
    depths = _input_files(Path(request.depth), "depth", DEPTH_PICTURES)
    paths = [*clips, *depths]
    blobs = yield from hash_files(paths)
    source = Source(
        clip=tuple(blobs[: len(clips)]),
        depth=tuple(blobs[len(clips) :]),
        start=request.start,
        frames=request.frames,
        longest_side=request.longest_side,
        focal_px=request.focal_px,
        fps=request.fps,
    )
    known = {blob.sha256: str(path) for blob, path in zip(blobs, paths, strict=True)}
    return replace(request, source=json.dumps(to_plain(source)), files=known), Reconstruct(source)


def bring_in(request: OpenRequest, update: Any) -> Steps:
    """Make the shot from a finished `reconstruct` job: files, caches, then all objects in one go.

    When it is stopped before the end, the shot's folder is removed again and the scene is as it was. The scene is
    looked up after the last step: an undo between two steps would free one that is held.
    """
    folder = files.shots_folder(bpy.data.filepath) / request.shot
    folder.mkdir(parents=True, exist_ok=True)
    try:
        placed = files.bring(update.files, folder)
        depth = yield from _load_depth(placed["depth.npz"])
        mesh, cache = DWMesh.from_depth(depth), folder / "mesh.pc2"
        for done in mesh_object.write_pc2(cache, mesh):
            yield ("Writing Mesh", done, len(mesh))
        scene = objects.scene_of(request)
        _make_shot(scene, request, update.facts, mesh, pivot_distance(mesh.depth[0]))
        root = objects.find(scene, objects.ROOT)
        mesh_object.make_object(scene, mesh, cache, placed["source.mp4"], placed["reliable.mp4"], root)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    cube, facts = objects.hide_factory_cube(scene), scene.ex4d
    return (
        f"{Path(request.clip).name} is open: {facts.frames} frames of {facts.width}x{facts.height}."
        " The view transform is Standard now, so that the footage keeps its colours."
    ) + (f" {cube} stood around the camera and is hidden now." if cube else "")


def _load_depth(path: Path) -> Steps:
    """`ex4d.depth.load_depth_npz`, a frame at a time."""
    with open_arrays(path, "depth file") as arrays:
        frames, height, width = arrays.headers["depth"].shape
        depth = np.empty((frames, height, width), np.float32)
        for t, frame in enumerate(arrays.rows("depth", 0, frames)):
            depth[t] = frame
            yield ("Reading Depth", t + 1, frames)
        return DepthVideo(depth, arrays.read("intrinsics"), str(arrays.read("provider")))


def _make_shot(scene: bpy.types.Scene, request: OpenRequest, job: dict, mesh: DWMesh, radius: float) -> None:
    facts = scene.ex4d
    facts.source, facts.inputs = request.source, json.dumps(dict(request.files))
    facts.shot, facts.clip_path, facts.depth_path = request.shot, request.clip, request.depth
    facts.width, facts.height, facts.frames = mesh.width, mesh.height, len(mesh)
    facts.rate, facts.start = str(Fraction(job["fps"])), scene.frame_start
    facts.lens, facts.radius = json.dumps(mesh.intrinsics[0].tolist()), radius
    facts.notes = "\n".join(job.get("notes", ()))
    facts.takes.clear()
    root = objects.make(scene, objects.ROOT, "EX-4D Source", None, None)
    root.empty_display_size = radius / 10
    camera.make_cameras(scene, root, mesh.shell, radius)
    objects.hide_other_shots(scene)
    scene.view_settings.view_transform = "Standard"
    if request.match_scene:
        match_scene(scene)
    _show_in_views(mesh.shell)


def match_scene(scene: bpy.types.Scene) -> None:
    """Give the scene the clip's range, rate, picture size and camera."""
    facts, render = scene.ex4d, scene.render
    scene.frame_start, scene.frame_end = facts.start, facts.last
    scene.frame_set(facts.start)
    set_rate(scene, facts.fraction)
    render.resolution_x, render.resolution_y, render.resolution_percentage = facts.width, facts.height, 100
    _lens, aspect = axes.lens_from_intrinsics(facts.intrinsics, facts.width, facts.height)
    render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, 1 / aspect), max(1.0, aspect)
    if facts.camera is not None:
        scene.camera = facts.camera


def rate_of(scene: bpy.types.Scene) -> Fraction:
    """Frames a second of the scene: the simplest fraction that Blender's float32 divisor can stand for."""
    divisor = np.float32(scene.render.fps_base)
    for limit in (1, 10, 100, 1001, 10_000, 1_000_000):
        fraction = Fraction(float(divisor)).limit_denominator(limit)
        if np.float32(float(fraction)) == divisor:
            break
    return Fraction(scene.render.fps) / fraction


def set_rate(scene: bpy.types.Scene, rate: Fraction) -> None:
    """Give the scene exactly `rate` frames a second."""
    scene.render.fps = max(1, math.ceil(rate))
    scene.render.fps_base = float(scene.render.fps / rate)


def _show_in_views(shell: float) -> None:
    """Let the 3D views show textures, and as far as the shell."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                space = area.spaces.active
                space.clip_end = max(space.clip_end, shell * 4)
                if space.shading.type in ("WIREFRAME", "SOLID"):
                    space.shading.type = "MATERIAL"
