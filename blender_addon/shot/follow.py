"""Keeping things in place when another part of the clip is opened: frames on the timeline, cameras, takes."""

import json
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ex4d.geometry.transforms import inverse

from ..scene import axes, objects
from ..shot import part
from ..translations import told


@dataclass(frozen=True)
class Before:
    """The shot before it is opened again.

    Attributes:
        part: the open part of the clip.
        start, last: scene frames of its first and last frame.
        size, take_size: width and height of the working picture, and of takes, in pixels.
        lens: (3,3) intrinsics of the first frame, in pixels of the working picture.
        poses: (T,4,4) of the clip's own camera, camera-to-world in library axes.
        radius, unit: distance to the presets' pivot, and the scale of the depth, see `ShotFacts`.
    """

    part: part.Part
    start: int
    last: int
    size: tuple[int, int]
    take_size: tuple[int, int]
    lens: NDArray[np.float64]
    poses: NDArray[np.float64]
    radius: float
    unit: Any


def before(facts: bpy.types.PropertyGroup) -> Before:
    """Record the current state of a scene's shot."""
    sizes = (facts.width, facts.height), part.take_size(facts)
    times, known = (facts.start, facts.last), (facts.intrinsics, facts.poses, facts.radius)
    return Before(part.opened(facts), *times, *sizes, *known, facts.depth.get("scale"))


def takes_stay(facts: bpy.types.PropertyGroup, was: Before) -> None:
    """Make takes that were as long as the shot keep their length and place."""
    for entry in facts.takes:
        if not entry.frames:
            entry.start, entry.frames = was.part.start, was.part.frames


def scene_follows(scene: bpy.types.Scene, was: Before) -> None:
    """Give the scene the new range and size if it had those of the shot; other values set by the artist are kept."""
    facts, render = scene.ex4d, scene.render
    if (scene.frame_start, scene.frame_end) == (was.start, was.last):
        scene.frame_start, scene.frame_end = facts.start, facts.last
    if (render.resolution_x, render.resolution_y) == was.take_size:
        render.resolution_x, render.resolution_y = part.take_size(facts)
    elif (render.resolution_x, render.resolution_y) == was.size:
        render.resolution_x, render.resolution_y = facts.width, facts.height


def old_world(facts: bpy.types.PropertyGroup, was: Before) -> NDArray[np.float64] | None:
    """Transform (4,4) from the shot's previous world to its current one, library axes, by a frame that both have.

    None if the source camera moves and they have no frame in common.
    """
    now = part.opened(facts)
    shift, between = divmod(now.start - was.part.start, now.step)
    is_still = np.array_equal(facts.poses[0], facts.poses[-1]) and np.array_equal(was.poses[0], was.poses[-1])
    if is_still or not (shift or between):
        return np.eye(4)
    theirs, ours = max(0, shift), max(0, -shift)
    if between or theirs >= was.part.frames or ours >= now.frames:
        return None
    return np.asarray(facts.poses[ours] @ inverse(was.poses[theirs]), np.float64)


def world_stays(scene: bpy.types.Scene, old: NDArray[np.float64] | None, root: bpy.types.Object) -> str:
    """Move the root so that the world stays in place, although its origin is now another frame's source camera.

    Cameras and takes keep their places in that world. `old` is its transform to the current one, see `old_world`.
    Returns a warning for the artist, "" if all is well.
    """
    if old is None:
        return " " + told(
            "The source camera moves, and none of these frames was open before: check that your camera"
            " is where you want it."
        )
    if np.array_equal(old, np.eye(4)):
        return ""
    turned = axes.WORLD @ inverse(old) @ axes.WORLD.T
    root.matrix_basis = root.matrix_basis @ Matrix(turned.tolist())
    for child in root.children:
        if child.get("ex4d_role") not in (objects.MESH, objects.SOURCE_CAMERA, objects.POINTS, objects.SOURCE_PATH):
            child.matrix_parent_inverse = Matrix(inverse(turned).tolist()) @ child.matrix_parent_inverse
    for entry in scene.ex4d.takes:
        entry.moved = json.dumps((old @ placed(entry)).tolist())
    return ""


def place(facts: bpy.types.PropertyGroup, entry: bpy.types.PropertyGroup) -> bool:
    """Store, for a newly listed take, the transform from the world that it was made in to the current one.

    The origin of that world is the source camera of the take's first frame. Returns whether the transform is known,
    which it is if the source camera is still, if that frame is open, or if another listed take starts with it.
    """
    stands = part.opened(facts)
    at, between = divmod(entry.start - stands.start, stands.step)
    if not facts.path or at == between == 0:
        return True
    if not between and 0 <= at < facts.frames:
        entry.moved = json.dumps(facts.poses[at].tolist())
        return True
    like = next((each for each in facts.takes if each.start == entry.start and each.moved), None)
    if like is None:
        return False
    entry.moved = like.moved
    return True


def placed(entry: bpy.types.PropertyGroup) -> NDArray[np.float64]:
    """Transform (4,4) from the world that a take was made in to the shot's world, library axes."""
    return np.array(json.loads(entry.moved), np.float64) if entry.moved else np.eye(4)
