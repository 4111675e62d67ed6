"""Another shot: a scene of its own, with the settings of the present one.

A shot is a scene because all that belongs to one is Blender's scene already: frame range and rate, picture size, view
transform, camera, and the strips of its takes.
"""

import bpy

from ..scene import cg
from ..ui import properties


def make_scene(name: str) -> bpy.types.Scene:
    """A new scene with the settings of the window's scene, render settings included, and without a shot.

    The window shows it afterwards.
    """
    bpy.ops.scene.new(type="EMPTY")  # copies everything of the scene, also what is ours, but for objects and strips
    scene = bpy.context.scene
    scene.name = name
    forget_shot(scene)
    return scene


def forget_shot(scene: bpy.types.Scene) -> None:
    """Let a scene have no shot any more; what the artist has chosen that is not about one clip stays."""
    facts, of_clips = scene.ex4d, {"camera", "plate_path"}
    kept = {*properties.TakeChoices.__annotations__, "match_scene", "estimator_name"} - of_clips
    facts.takes.clear()
    for known in facts.bl_rna.properties:
        if known.identifier not in kept and not known.is_readonly:
            facts.property_unset(known.identifier)
    cg.remove(scene)  # what was copied of it: without a shot it touches nothing of the other scene


def with_shots() -> list[bpy.types.Scene]:
    """All scenes in which a clip is open, in Blender's order."""
    return [scene for scene in bpy.data.scenes if scene.ex4d.shot]
