"""The points that the source camera was found with: they stand still, and other things can be snapped to them."""

import bpy
import numpy as np
from numpy.typing import NDArray

from ..scene import axes, objects

NAME = "EX-4D Points"


def stand(scene: bpy.types.Scene, root: bpy.types.Object, points: NDArray[np.float64]) -> None:
    """Let the shot's points be these (M,3), library axes, in the world of the shot; with none, there is no object."""
    thing = objects.find(scene, objects.POINTS)
    before = thing.data if thing is not None else None
    if not len(points):
        if thing is not None:
            bpy.data.objects.remove(thing)
    else:
        mesh = bpy.data.meshes.new(NAME)
        mesh.vertices.add(len(points))
        mesh.vertices.foreach_set("co", axes.points_to_blender(points).astype(np.float32).ravel())
        mesh.update()
        if thing is None:
            thing = objects.make(scene, objects.POINTS, NAME, mesh, root)
            thing.hide_render = True
        thing.data = mesh
    if before is not None and not before.users:
        bpy.data.meshes.remove(before)
