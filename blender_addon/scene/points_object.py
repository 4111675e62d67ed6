"""Things to snap to once the source camera is found: static points and the camera's path."""

import bpy
import numpy as np
from numpy.typing import NDArray

from ..scene import axes, objects

NAME, PATH_NAME = "EX-4D Points", "EX-4D Source Path"


def stand(scene: bpy.types.Scene, root: bpy.types.Object, points: NDArray[np.float64]) -> None:
    """Show these points (M,3), in library axes and the shot's world, as an object; without points, remove it."""
    _stand(scene, root, objects.POINTS, NAME, points, np.zeros((0, 2), np.intp))


def stand_path(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Show the source camera's path as a line with a vertex for each frame; if it does not move, remove the line."""
    eyes = scene.ex4d.poses[:, :3, 3]
    if not np.ptp(eyes, axis=0).any():
        eyes = eyes[:0]
    steps = np.arange(max(0, len(eyes) - 1))
    _stand(scene, root, objects.SOURCE_PATH, PATH_NAME, eyes, np.stack([steps, steps + 1], axis=1))


def _stand(
    scene: bpy.types.Scene,
    root: bpy.types.Object,
    role: str,
    name: str,
    points: NDArray[np.float64],
    edges: NDArray[np.intp],
) -> None:
    thing = objects.find(scene, role)
    before = thing.data if thing is not None else None
    if not len(points):
        if thing is not None:
            bpy.data.objects.remove(thing)
    else:
        mesh = bpy.data.meshes.new(name)
        mesh.vertices.add(len(points))
        mesh.vertices.foreach_set("co", axes.points_to_blender(points).astype(np.float32).ravel())
        mesh.edges.add(len(edges))
        if len(edges):
            mesh.edges.foreach_set("vertices", edges.astype(np.int32).ravel())
        mesh.update()
        if thing is None:
            thing = objects.make(scene, role, name, mesh, root)
            thing.hide_render = True
        thing.data = mesh
    if before is not None and not before.users:
        bpy.data.meshes.remove(before)
