"""Adding another camera to the same shot."""

import bpy
import numpy as np
from mathutils import Matrix

from ex4d.errors import InputError

from ..scene import axes, backdrop, camera, objects
from ..translations import told

NAME = "EX-4D Camera"


def make(scene: bpy.types.Scene, at_source: bool) -> bpy.types.Object:
    """Add a camera without keys as a child of the shot's root and make it the chosen one.

    It starts where the chosen camera is in the current frame, with the same lens and other settings. With `at_source`,
    or if no camera is chosen, it starts at the source view of that frame, with the source's lens.

    Raises:
        InputError: there is no shot, or the chosen camera is not perspective or is scaled unevenly.
    """
    camera.frame_facts(scene)
    facts, root, like = scene.ex4d, objects.find(scene, objects.ROOT), None
    try:
        like = camera.path_camera(scene)
    except InputError:
        at_source = True
    number = facts.frame_of(scene.frame_current)
    if at_source or like is None:
        pose = facts.poses[number]
        lens = axes.lens_from_intrinsics(facts.every_intrinsics[number], facts.width, facts.height)[0]
    else:
        depsgraph = bpy.context.evaluated_depsgraph_get()
        evaluated = like.evaluated_get(depsgraph)
        to_shot = np.linalg.inv(camera.origin_of(scene, depsgraph))
        pose = camera.rigid(to_shot @ camera.matrix_of(evaluated), told("{camera} or EX-4D Source", camera=like.name))
        lens = camera.lens_of(evaluated.data)
    data = like.data.copy() if like is not None else bpy.data.cameras.new(NAME)
    data.animation_data_clear()
    data.name = NAME
    camera.apply_lens(data, lens)
    camera.see_all(data, facts, max(abs(value) for value in root.scale) if root else 1.0)
    data.display_size = facts.radius / 8
    backdrop.tint(data)
    made = objects.make(scene, objects.ANOTHER, NAME, data, root)
    made.matrix_basis = Matrix(axes.pose_to_blender(pose).tolist())
    camera.choose(scene, made)
    return made
