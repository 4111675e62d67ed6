"""Adding another shot: a separate scene with the settings of the current one.

A shot is a scene because everything that belongs to a shot is already part of a Blender scene: frame range and rate,
picture size, view transform, camera, and the strips of its takes.
"""

import bpy

from ..scene import cg
from ..ui import properties


def make_scene(name: str) -> bpy.types.Scene:
    """Make a scene with the settings of the window's scene, render settings included, but without a shot.

    The window shows it afterwards.
    """
    bpy.ops.scene.new(type="EMPTY")  # copies the scene with our properties, but not objects and strips
    scene = bpy.context.scene
    scene.name = name
    forget_shot(scene)
    return scene


def forget_shot(scene: bpy.types.Scene) -> None:
    """Remove the shot from a scene; the artist's settings that do not concern one clip are kept."""
    facts, of_clips = scene.ex4d, {"camera", "plate_path"}
    kept = {*properties.TakeChoices.__annotations__, "match_scene", "estimator_name"} - of_clips
    facts.takes.clear()
    for known in facts.bl_rna.properties:
        if known.identifier not in kept and not known.is_readonly:
            facts.property_unset(known.identifier)
    cg.remove(scene)  # the copied setup; without a shot this touches nothing in the other scene


def with_shots() -> list[bpy.types.Scene]:
    """All scenes in which a clip is open, in Blender's order."""
    return [scene for scene in bpy.data.scenes if scene.ex4d.shot]
