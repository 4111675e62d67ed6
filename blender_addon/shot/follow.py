"""What stays where it is when another part of the clip is opened: pictures on the timeline, cameras, takes."""

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
    """The shot as it stood until now.

    Attributes:
        part: of the clip.
        start, last: scene frames of its first and last frame.
        size, take_size: width and height of the working picture, and of takes.
        lens: (3,3) of the first frame.
        poses: (T,4,4) of the clip's own camera.
        radius, unit: of its distances, see `ShotFacts`.
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
    """The shot of a scene as it stands."""
    sizes = (facts.width, facts.height), part.take_size(facts)
    times, known = (facts.start, facts.last), (facts.intrinsics, facts.poses, facts.radius)
    return Before(part.opened(facts), *times, *sizes, *known, facts.depth.get("scale"))


def takes_stay(facts: bpy.types.PropertyGroup, was: Before) -> None:
    """Let takes that were as long as the shot keep their length and place."""
    for entry in facts.takes:
        if not entry.frames:
            entry.start, entry.frames = was.part.start, was.part.frames


def scene_follows(scene: bpy.types.Scene, was: Before) -> None:
    """Give the scene the new range and size where it had those of the shot; what the artist has set stays."""
    facts, render = scene.ex4d, scene.render
    if (scene.frame_start, scene.frame_end) == (was.start, was.last):
        scene.frame_start, scene.frame_end = facts.start, facts.last
    if (render.resolution_x, render.resolution_y) == was.take_size:
        render.resolution_x, render.resolution_y = part.take_size(facts)
    elif (render.resolution_x, render.resolution_y) == was.size:
        render.resolution_x, render.resolution_y = facts.width, facts.height


def old_world(facts: bpy.types.PropertyGroup, was: Before) -> NDArray[np.float64] | None:
    """Where the world of the shot as it stood lies (4,4) in today's, library axes, by a frame that both have.

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
    """Move the root so that the world stays where it is, though its origin is the source camera of another frame now.

    Cameras and takes stay where they are in that world. `old` is where it is in today's, see `old_world`. Returns
    what has to be told, "" where all is well.
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
    """Let a take that came into the list know where the world that it was made in lies in today's.

    That world's origin is the source camera of the first frame of the take. Returns whether that is known: it is where
    the source camera stands still, where that frame is open, or where the list has another take of it.
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
    """Where the world that a take was made in lies (4,4) in the world of the shot, library axes."""
    return np.array(json.loads(entry.moved), np.float64) if entry.moved else np.eye(4)
