"""Render the moving sample: a clip from a walking camera, its true depth, and the true camera poses.

One command, in an environment with bpy, PyAV and ex4d:  python sample/moving/render_moving.py
"""

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
from mathutils import Euler, Vector
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import render_sample as still
from scene import FPS, HEIGHT, WIDTH, build_scene

from ex4d.media.movie import write_movie

FOLDER = Path(__file__).resolve().parent
FRAMES = 25
PERCENT = 50
"""Size of the picture as a percentage of the other sample's."""
START, END = Vector((-2.6, -0.4, 2.1)), Vector((1.8, 1.6, 2.6))
"""Positions of the camera at the first and the last frame, in metres: past the fence to the right, and nearer."""
TURN_DEGREES = (-9.0, 7.0)
"""Angle to the left of straight ahead at these two frames."""
TILT_DEGREES = -4.0


def main() -> None:
    """Render everything and write it beside this file."""
    scene, source, _ = build_scene()
    scene.render.resolution_percentage = PERCENT
    width, height = WIDTH * PERCENT // 100, HEIGHT * PERCENT // 100
    walk(source)
    shots = [(source, t) for t in range(FRAMES)]
    with tempfile.TemporaryDirectory() as folder:
        still.settings_for_colour(scene)
        frames = np.stack(
            [still.read_colour(f) for f in still.render_all(scene, shots, Path(folder), "colour", ".png")]
        )
        still.settings_for_depth(scene)
        depth = np.stack([still.read_depth(f) for f in still.render_all(scene, shots, Path(folder), "depth", ".exr")])
    k = still.camera_intrinsics(source, width, height)
    write_movie(FOLDER / "clip.mp4", frames, Fraction(FPS))
    np.savez_compressed(FOLDER / "clip.depth.npz", depth=depth.astype(np.float16), intrinsics=k)
    np.savez_compressed(
        FOLDER / "camera.npz", camera_to_world=poses(scene, source), intrinsics=k, width=width, height=height
    )
    for file in sorted(FOLDER.glob("c*.*")):
        print(f"  {file.stat().st_size / 1e6:6.3f} MB  {file.name}")


def walk(camera: bpy.types.Object) -> None:
    """Keyframe the camera: an even walk with a soft bob, turning slowly."""
    for frame in range(FRAMES):
        way = frame / (FRAMES - 1)
        camera.location = START.lerp(END, way) + Vector((0, 0, 0.05 * np.sin(4 * np.pi * way)))
        turn = np.radians(TURN_DEGREES[0] + way * (TURN_DEGREES[1] - TURN_DEGREES[0]))
        camera.rotation_euler = Euler((np.radians(90 + TILT_DEGREES), 0, turn))
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)


def poses(scene: bpy.types.Scene, camera: bpy.types.Object) -> NDArray[np.float64]:
    """Camera-to-world (T,4,4), OpenCV axes, world = the camera of frame 0."""
    found = []
    for t in range(FRAMES):
        scene.frame_set(t)
        found.append(np.array(camera.matrix_world) @ still.BLENDER_TO_OPENCV)
    return np.linalg.inv(found[0]) @ np.stack(found)


if __name__ == "__main__":
    main()
