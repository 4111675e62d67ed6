"""Generated scenes as evaluation data: the clip, the true view along a sweep, and the ground truth of both.

They are written as a folder of pairs (`ex4d.metrics.datasets.pairs`), with true depth and moving masks beside them.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ex4d.errors import InputError
from ex4d.geometry import camera_path, transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo, save_depth
from ex4d.geometry.mesh import DWMesh
from ex4d.media.movie import write_movie, write_png_frames
from ex4d.metrics.ranges import RANGES, Range
from ex4d.progress import Progress, silent
from ex4d.render.conditioning import render
from ex4d.render.scene import Scene
from ex4d.synthetic import scenes
from ex4d.synthetic.footage import FPS, Footage, Recording, film
from ex4d.synthetic.motion import Beside
from ex4d.synthetic.world import World

SCENES = ("street", "tripod", "drone", "still", "telephoto")
"""The scenes in which a second camera is unobstructed up to 90 degrees on both sides."""

MOST_PIXELS = 500_000_000
"""Maximum number of pixels rendered for a shot, because its frames and ground truth are in memory together."""

DEPTH, MOVING = "depth.npz", "moving.mp4"


def write(
    folder: Path,
    names: Sequence[str] = SCENES,
    ranges: Sequence[Range] = RANGES,
    recording: Recording | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Write a shot for each scene and range, FOLDER/<scene>_<range>/, and return their folders.

    The mask is the part of the true view that the frame itself shows, according to its true depth. So all results are
    judged over the same visible and invented pixels, however much of them each fills from elsewhere.

    Raises:
        InputError: there is no such scene, its second camera cannot orbit, a shot is too large, or the folder cannot be
            written.
    """
    made, recording = [], recording or Recording()
    if (pixels := recording.frames * recording.width * recording.height) > MOST_PIXELS:
        raise InputError(
            f"{recording.frames} frames of {recording.width}x{recording.height} are {pixels / 1e9:.1f} billion pixels:"
            f" {MOST_PIXELS / 1e9:.1f} are the most of a shot; take fewer frames or smaller ones."
        )
    wrong = [name for name in names if name not in scenes.SCENES]
    if wrong:
        raise InputError(f"There is no scene {wrong[0]!r}: choose from {', '.join(scenes.SCENES)}.")
    progress("Rendering scenes", 0, len(names) * len(ranges))
    for number, name in enumerate(names):
        world = scenes.SCENES[name](recording.frames, recording.seed)
        source = film(world, recording)
        for n, each in enumerate(ranges):
            made.append(folder / f"{name}_{each.name}")
            _write_shot(made[-1], world, source, each, recording)
            progress("Rendering scenes", number * len(ranges) + n + 1, len(names) * len(ranges))
    return made


def _write_shot(place: Path, world: World, source: Footage, each: Range, recording: Recording) -> None:
    second = world.second_camera
    if not isinstance(second, Beside):
        raise InputError("The second camera of this scene cannot turn.")
    second = replace(second, degrees=float(each.high), begin=float(each.low))
    clean = replace(recording, shutter=0, noise=0, rolling=0, distortion=0)
    truth = film(replace(world, camera=second), clean)
    poses = transforms.inverse(world.camera(0.0)) @ np.stack([second(t) for t in range(recording.frames)])
    path = CameraPath(poses, source.cameras.intrinsics, recording.width, recording.height)
    depth = DepthVideo(source.depth, source.cameras.intrinsics, "truth")
    mesh = DWMesh.from_depth(depth, source.cameras.camera_to_world)
    place.mkdir(parents=True, exist_ok=True)
    write_png_frames(place / "source", source.frames)
    write_png_frames(place / "truth", truth.frames)
    white = np.uint8(255)
    write_movie(place / "mask.mp4", render(Scene(mesh, source.frames, path)).mask, Fraction(FPS), lossless=True)
    write_movie(place / MOVING, source.moving * white, Fraction(FPS), lossless=True)
    save_depth(place / DEPTH, depth)
    camera_path.save(place / "camera.npz", path)
    camera_path.save(place / "source_camera.npz", source.cameras)
