"""The artist's own objects that a camera sees. They do not appear in takes, which are made from the clip alone."""

from collections.abc import Iterator
from itertools import islice

import bpy
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.camera_path import CameraPath

from .. import translations
from ..scene import axes, camera, objects
from ..words import listed

SOLID_TYPES = frozenset(
    ("MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD", "VOLUME", "GPENCIL", "GREASEPENCIL")
)


MOST_NAMES = 3
"""How many objects are named at most: a scene may hold thousands."""


def told(scene: bpy.types.Scene, path: CameraPath | None = None) -> str:
    """A warning that names the objects seen and says that takes will not show them; "" if none is needed.

    Args:
        scene: with the shot.
        path: as `camera.sample` reads it; None for the chosen camera where it is now.

    Raises:
        InputError: no camera is chosen, or a take cannot be made with it.
    """
    if scene.ex4d.own_objects_told or scene.ex4d.cg:
        return ""
    seen = list(islice(_seen(scene, _now(scene) if path is None else path), MOST_NAMES + 1))
    if not seen:
        return ""
    them = (
        listed(seen)
        if len(seen) <= MOST_NAMES
        else translations.told("{names} and others", names=", ".join(seen[:MOST_NAMES]))
    )
    return translations.told("Takes are made from the clip alone: {them} will not be in them.", them=them)


def _seen(scene: bpy.types.Scene, path: CameraPath) -> Iterator[str]:
    """Names of rendered objects whose bounding box, as it is now, is in view in a frame of `path`, even if occluded."""
    root = objects.find(scene, objects.ROOT)
    try:
        to_shot = np.linalg.inv(camera.matrix_of(root) if root else np.eye(4))
    except np.linalg.LinAlgError:
        return
    for thing in scene.objects:
        if thing.type in SOLID_TYPES and is_own(thing) and is_rendered(thing):
            corners = np.array([[*corner, 1.0] for corner in thing.bound_box]) @ camera.matrix_of(thing).T
            if _sees(path, axes.points_from_blender((corners @ to_shot.T)[:, :3])):
                yield thing.name


def _now(scene: bpy.types.Scene) -> CameraPath:
    """The chosen camera in the current frame, as a path of one frame; evaluates nothing."""
    chosen, root, facts = camera.path_camera(scene), objects.find(scene, objects.ROOT), scene.ex4d
    origin = camera.with_size(root) if root else np.eye(4)
    pose = camera.rigid(np.linalg.solve(origin, camera.matrix_of(chosen)), chosen.name)
    k = axes.intrinsics_from_lens(camera.lens_of(chosen.data), axes.Picture(facts.width, facts.height))
    return CameraPath(pose[None], k[None], facts.width, facts.height)


def is_own(thing: bpy.types.Object) -> bool:
    """Whether an object is the artist's own, not made by EX-4D."""
    return "ex4d_role" not in thing


def is_rendered(thing: bpy.types.Object) -> bool:
    """Whether an object shows in renders, according to its own and its collections' settings."""
    return not thing.hide_render and any(not collection.hide_render for collection in thing.users_collection)


def _sees(path: CameraPath, corners: NDArray[np.float64]) -> bool:
    """Whether any camera of the path sees part of the box with these corners (8,3).

    A camera does not if all corners are beyond the same side of the picture, or behind the camera.
    """
    points = np.concatenate([corners, np.ones((len(corners), 1))], axis=1)
    seen = np.einsum("tij,nj->tni", path.intrinsics @ path.extrinsics[:, :3], points)
    x, y, z = np.moveaxis(seen, -1, 0)
    beyond = [x < 0, x > path.width * z, y < 0, y > path.height * z, z <= 0]
    return bool(np.any(~np.any([side.all(axis=1) for side in beyond], axis=0)))
