"""Scenes that Blender has copied (*New > Full Copy* and others), along with everything they know about a shot.

A full copy has its own objects. It remains a shot that shares the folder on disk, and gets its own images, because
Blender does not copy those. Other kinds of copies have no objects of their own, so they end up without a shot.
"""

import bpy

from .. import translations
from ..scene import objects
from ..shot import files, new_shot


def claim(scene: bpy.types.Scene) -> None:
    """Mark the scene as the owner of what it knows about its shot."""
    if scene.library is None and scene.ex4d.shot and scene.ex4d.owner != (own := str(scene.session_uid)):
        scene.ex4d.owner = own


def claim_all() -> None:
    """Claim all scenes after a file was loaded, because scenes get new numbers in each session."""
    for scene in bpy.data.scenes:
        claim(scene)


def settle() -> str:
    """Find new copies and make them independent; returns a message for the artist."""
    told = []
    for scene in bpy.data.scenes:
        facts = scene.ex4d
        if scene.library is not None or not facts.shot or facts.owner in ("", str(scene.session_uid)):
            claim(scene)
            continue
        original = next((each for each in bpy.data.scenes if str(each.session_uid) == facts.owner), None)
        if original is not None and original.ex4d.shot == facts.shot:
            told.append(_stand_alone(scene, original))
        claim(scene)
    return " ".join(sentence for sentence in told if sentence)


def sharing(scene: bpy.types.Scene) -> list[bpy.types.Scene]:
    """All scenes whose shot is in the folder of the scene's shot, starting with the scene."""
    folder = scene.ex4d.folder
    others = [each for each in bpy.data.scenes if each != scene and each.ex4d.shot]
    return [scene, *(each for each in others if folder is not None and each.ex4d.folder == folder)]


def _stand_alone(scene: bpy.types.Scene, original: bpy.types.Scene) -> str:
    """Make a copy independent of its original; returns a message for the artist."""
    scene.ex4d.forget()
    scene.ex4d.waiting = scene.ex4d.elsewhere = ""
    mesh, theirs = objects.find(scene, objects.MESH), objects.find(original, objects.MESH)
    if mesh is None or mesh == theirs:
        new_shot.forget_shot(scene)
        return translations.told(
            "{scene} is a copy of {original} without objects of its own, so it has no shot: open a clip in it.",
            scene=scene.name,
            original=original.name,
        )
    _own_pictures(scene, mesh)
    return ""


def _own_pictures(scene: bpy.types.Scene, mesh: bpy.types.Object) -> None:
    """Give the mesh its own movie images, because Open Again changes their paths."""
    facts = scene.ex4d
    if facts.image is None:
        return
    place, made = files.absolute(facts.image.filepath).parent, {}
    if mesh.data.users > 1:
        mesh.data = mesh.data.copy()
    for slot, material in enumerate(mesh.data.materials):
        if material is None or material.node_tree is None:
            continue
        if material.users > 1:
            material = mesh.data.materials[slot] = material.copy()
        for node in material.node_tree.nodes:
            image = node.image if node.type == "TEX_IMAGE" else None
            if image is not None and files.absolute(image.filepath).parent == place:
                node.image = made[image] = made.get(image) or image.copy()
    facts.image = made.get(facts.image) or facts.image.copy()
