"""The point of the scene that camera presets turn around."""

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from ex4d.errors import InputError

from ..scene import axes, camera, objects
from ..translations import told

NEAREST, CURSOR, SELECTION = "NEAREST", "CURSOR", "SELECTION"
ITEMS = (
    (NEAREST, "Nearest Surface", "A point on the source camera's axis, as far away as the nearest surface"),
    (CURSOR, "3D Cursor", "The 3D cursor"),
    (SELECTION, "Selected Objects", "The middle of the selected objects"),
)


def chosen(scene: bpy.types.Scene, which: str) -> NDArray[np.float64] | None:
    """The point (3,) in library axes, in the world of the shot's root; None for the nearest surface.

    Raises:
        InputError: nothing that can be a pivot is selected, the pivot is not in front of the source camera, or the root
            is scaled to zero.
    """
    if which == NEAREST:
        return None
    point = np.array(scene.cursor.location) if which == CURSOR else _middle(scene)
    root = objects.find(scene, objects.ROOT)
    origin = camera.with_size(root) if root else np.eye(4)
    seen = axes.points_from_blender((np.linalg.inv(origin) @ [*point, 1.0])[:3])
    if seen[2] <= 1e-3 * scene.ex4d.radius:
        if which == CURSOR:
            raise InputError(
                told(
                    "The 3D cursor is not in front of the source camera: put it on the point that the camera"
                    " should turn around."
                )
            )
        raise InputError(
            told(
                "The selected objects are not in front of the source camera: move them to the point that the"
                " camera should turn around."
            )
        )
    return seen


def _middle(scene: bpy.types.Scene) -> NDArray[np.float64]:
    """Centre (3,), in the world, of the box around the selected objects except the shot's own and the chosen camera.

    Raises:
        InputError: no such object is selected.
    """
    depsgraph, corners = bpy.context.evaluated_depsgraph_get(), []
    for thing in bpy.context.view_layer.objects.selected:
        if "ex4d_role" in thing or thing == scene.ex4d.camera:
            continue
        evaluated = thing.evaluated_get(depsgraph)
        box = evaluated.bound_box if thing.type not in ("EMPTY", "CAMERA", "LIGHT") else [(0, 0, 0)]
        corners += [np.array(evaluated.matrix_world @ Vector(corner)) for corner in box]
    if not corners:
        raise InputError(
            told(
                "No object is selected that the camera could turn around: select one (those of the shot itself do"
                " not count), or choose another pivot."
            )
        )
    return (np.min(corners, axis=0) + np.max(corners, axis=0)) / 2
