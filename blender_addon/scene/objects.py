"""Finding and making the shot's objects, which carry their role and shot, so no references have to be kept."""

import bpy
import numpy as np

from ex4d.errors import InputError

from ..translations import told
from ..work.requests import Request

ROOT, MESH, SOURCE_CAMERA, CAMERA, BAKED = "root", "mesh", "source_camera", "camera", "baked_camera"
ANOTHER, CATCHER, POINTS, SOURCE_PATH = "another_camera", "catcher", "points", "source_path"


def mark(thing: bpy.types.ID, role: str, shot: str) -> None:
    """Store the role and shot of `thing` in its custom properties."""
    thing["ex4d_role"], thing["ex4d_shot"] = role, shot


def find(scene: bpy.types.Scene, role: str) -> bpy.types.Object | None:
    """The object with `role` in the scene's shot; None if it was deleted or never made."""
    shot = scene.ex4d.shot
    for candidate in scene.objects:
        if shot and candidate.get("ex4d_role") == role and candidate.get("ex4d_shot") == shot:
            return candidate
    return None


def make(
    scene: bpy.types.Scene, role: str, name: str, data: bpy.types.ID | None, parent: bpy.types.Object | None
) -> bpy.types.Object:
    """Add an object to the shot's collection, which is made if missing."""
    shot = scene.ex4d.shot
    collection = next((c for c in scene.collection.children_recursive if c.get("ex4d_shot") == shot), None)
    if collection is None:
        collection = bpy.data.collections.new(f"EX-4D {shot}")
        mark(collection, "collection", shot)
        scene.collection.children.link(collection)
    made = bpy.data.objects.new(name, data)
    mark(made, role, shot)
    collection.objects.link(made)
    made.parent = parent
    return made


def adopt(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Make the shot's objects children of a new `root`; those that have been given another parent keep it."""
    for thing in scene.objects:
        ours = thing.get("ex4d_shot") == scene.ex4d.shot
        child = thing.get("ex4d_role") in (MESH, SOURCE_CAMERA, CAMERA, BAKED, ANOTHER, CATCHER, POINTS, SOURCE_PATH)
        if ours and child and thing.parent is None:
            thing.parent = root


def hide_other_shots(scene: bpy.types.Scene) -> None:
    """Hide the collections of earlier shots: they are kept, but two shots in one place would be illegible."""
    for collection in scene.collection.children_recursive:
        if collection.get("ex4d_role") == "collection" and collection.get("ex4d_shot") != scene.ex4d.shot:
            collection.hide_viewport = collection.hide_render = True


def hide_factory_cube(scene: bpy.types.Scene) -> str:
    """Hide the default cube if nobody has touched it; returns its name, or "" if nothing was hidden.

    It encloses the world's origin, where the source camera is, so everything would be black.
    """
    cube = scene.objects.get("Cube")
    if cube is None or cube.type != "MESH" or cube.hide_render or len(cube.data.vertices) != 8:
        return ""
    touched = cube.parent or cube.children or cube.modifiers or cube.constraints or cube.animation_data
    corners = np.array([vertex.co for vertex in cube.data.vertices])
    if (
        touched
        or not np.array_equal(np.array(cube.matrix_world), np.eye(4))
        or not np.array_equal(abs(corners), 0 * corners + 1)
    ):
        return ""
    cube.hide_viewport = cube.hide_render = True
    return cube.name


def is_around(thing: bpy.types.Object, camera: bpy.types.Object, distance: float) -> bool:
    """Whether `camera` is inside the bounding box of `thing` and looks at a side of it closer than `distance`.

    `distance` is in the camera's units.
    """
    corners = np.array(thing.bound_box)
    low, high = corners.min(axis=0), corners.max(axis=0)
    try:
        to_box = np.array(thing.matrix_world.inverted() @ camera.matrix_world)
    except ValueError:  # scaled to nothing
        return False
    eye, forward = to_box[:3, 3], -to_box[:3, 2]
    if not ((low < eye) & (eye < high)).all():
        return False
    with np.errstate(divide="ignore"):
        ends = np.where(forward > 0, high - eye, low - eye) / forward
    return bool(ends[forward != 0].min() < distance)


def find_scene(request: Request) -> bpy.types.Scene | None:
    """The scene that a request came from, even if renamed since; None if it was deleted."""
    if request.scene_uid:
        return next((scene for scene in bpy.data.scenes if scene.session_uid == request.scene_uid), None)
    return bpy.data.scenes.get(request.scene)


def scene_of(request: Request) -> bpy.types.Scene:
    """Like `find_scene`, for callers that need the scene.

    Raises:
        InputError: the scene was deleted.
    """
    scene = find_scene(request)
    if scene is None:
        raise InputError(told("The scene that this was for is gone: nothing was changed."))
    return scene
