"""Reading the motion of the clip's own camera from a scene camera, such as one solved by Blender's tracker."""

import secrets
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ex4d.cameras import registry
from ex4d.errors import InputError
from ex4d.source_camera import pose_files

from ..scene import axes, camera
from ..shot import files, part
from ..translations import told

DRIFT = 1e-3
"""Bundles that drift by more than this fraction of their extent while the camera moves do not belong to it."""


@dataclass(frozen=True)
class Recorded:
    """A camera of the scene in the frames of the clip.

    Attributes:
        poses: (T,4,4) camera-to-world, library axes, in the world of the shot's root.
        points: (M,3) static points from the tracker, in the same world; M may be 0.
        intrinsics: (3,3) of the first frame, in pixels of the requested picture.
        zooms: whether the lens changes in later frames.
    """

    poses: NDArray[np.float64]
    points: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    zooms: bool


def tracked_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    """The camera chosen as the one that moves as the clip's own did.

    Raises:
        InputError: none is chosen, or it was deleted.
    """
    chosen = scene.ex4d.tracked_camera
    if chosen is None or chosen.name not in scene.objects or chosen.type != "CAMERA":
        raise InputError(
            told(
                "No tracked camera is chosen: choose one that moves as the clip's own did, or set Camera"
                " Motion to Still."
            )
        )
    return chosen


def record(
    scene: bpy.types.Scene, start: int, frames: int, picture: axes.Picture, again: bool = False, step: int = 1
) -> Recorded:
    """The tracked camera in `frames` frames of the clip, from `start` on.

    If the camera follows a solved movie clip, frames are counted from the beginning of that. Otherwise they are the
    scene frames that show them, from the shot's first frame on, or from the scene's if there is no shot yet.

    Args:
        scene: with the camera.
        start, frames: which frames of the clip.
        picture: displayed size of the clip, for the intrinsics.
        again: whether this is for the existing shot, whose root may have been moved and scaled.
        step: distance between the frames of a solved movie clip that belong to the clip.

    Raises:
        InputError: see `tracked_camera`; the camera or root is scaled unevenly, or the camera is not perspective.
    """
    chosen = tracked_camera(scene)
    clip = _movie_clip(scene, chosen)
    shown = part.scene_frame(scene.ex4d, start) if again else scene.frame_start
    first = clip.frame_start + start if clip else shown
    step = step if clip else 1
    numbers = range(first, first + frames * step, step)
    matrices, lenses = [], []
    with camera.free_to_play(scene, chosen):
        for number in numbers:
            scene.frame_set(number)
            depsgraph = bpy.context.evaluated_depsgraph_get()
            evaluated = chosen.evaluated_get(depsgraph)
            origin = camera.origin_of(scene, depsgraph) if again else np.eye(4)
            matrices.append(np.linalg.inv(origin) @ camera.matrix_of(evaluated))
            lenses.append(axes.intrinsics_from_lens(camera.lens_of(evaluated.data), picture))
    whose = told("{camera} or EX-4D Source", camera=chosen.name) if again else chosen.name
    poses = np.stack([camera.rigid(matrix, whose) for matrix in matrices])
    points = axes.points_from_blender(_bundles(clip or scene.active_clip, numbers, matrices))
    return Recorded(poses, points, lenses[0], not np.allclose(lenses, lenses[0], rtol=1e-4))


def save(recorded: Recorded) -> Path:
    """Write the camera file for the server into the user folder."""
    file = files.recordings() / f"tracked_{secrets.token_hex(8)}.npz"
    pose_files.save(file, pose_files.SourceCamera(recorded.poses, recorded.points))
    return file


def one_file(path: Path) -> Path:
    """The camera file for the server: `path` itself, or for a COLMAP model a single file made in the user folder.

    Raises:
        InputError: the file does not exist, or the model cannot be read.
    """
    if not registry.needs_several_files(path):
        return path
    return registry.packed(path, files.recordings() / f"tracked_{secrets.token_hex(8)}.npz")


def is_recording(path: str) -> bool:
    """Whether a camera file is one that we made, which we may move, and remove when no longer needed."""
    return files.lies_in(path, files.recordings())


def _movie_clip(scene: bpy.types.Scene, chosen: bpy.types.Object) -> bpy.types.MovieClip | None:
    """The movie clip whose solution moves a camera through a Camera Solver constraint; None if there is none."""
    for constraint in chosen.constraints:
        if constraint.type == "CAMERA_SOLVER" and not constraint.mute:
            return scene.active_clip if constraint.use_active_clip else constraint.clip
    return None


def _bundles(clip: bpy.types.MovieClip | None, numbers: range, matrices: list[NDArray]) -> NDArray[np.float64]:
    """Solved points (M,3), in the world of `matrices`; empty unless the camera really follows the clip's solution."""
    nothing = np.zeros((0, 3))
    solved = next((o for o in clip.tracking.objects if o.is_camera), None) if clip else None
    if solved is None or not solved.reconstruction.is_valid:
        return nothing
    bundles = np.array([track.bundle for track in solved.tracks if track.has_bundle], np.float64).reshape(-1, 3)
    placed = []
    for number, matrix in zip(numbers, matrices, strict=True):
        camera_in_solution = solved.reconstruction.cameras.matrix_from_frame(frame=number - clip.frame_start + 1)
        to_world = matrix @ np.linalg.inv(np.array(camera_in_solution, np.float64))
        placed.append(bundles @ to_world[:3, :3].T + to_world[:3, 3])
    extent = np.ptp(placed[0], axis=0).max(initial=0)
    if np.abs(np.array(placed) - placed[0]).max(initial=0) > DRIFT * extent:
        return nothing
    return placed[0][: pose_files.MOST_POINTS]
