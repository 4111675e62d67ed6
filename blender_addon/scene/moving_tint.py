"""A tint on the shot's mesh over moving things, which were left out of the search for the source camera."""

from pathlib import Path

import bpy
from mathutils import Color

from ex4d.render import legend

from ..scene import footage, objects
from ..shot import files

MOVING = "moving.mp4"
"""Movie of a shot: white where things move."""

MASK, STRENGTH, COLOUR, MIX = "EX-4D Moving", "EX-4D Moving Tint", "EX-4D Moving Colour", "EX-4D Moving Mix"
"""Names of the nodes: the movie, the strength of the tint, its colour, and the mix of tint and footage."""


def stand(scene: bpy.types.Scene, movie: Path | None) -> None:
    """Tint the mesh of a scene's shot according to this movie, or remove the tint if None; its strength is kept.

    The tint goes over whatever surface a material has; a material without a surface is left alone.
    """
    for material in _materials(scene):
        if movie is None:
            _remove(material)
            continue
        strength = strength_of(material)
        kept = strength.default_value if strength is not None else 0.0
        _remove(material)
        _add(material, movie, scene.ex4d)
        if (strength := strength_of(material)) is not None:
            strength.default_value = kept


def strength(scene: bpy.types.Scene) -> bpy.types.NodeSocket | None:
    """The socket that holds the strength of the tint, 0 to 1; None if it is not known what moves."""
    found = (strength_of(material) for material in _materials(scene))
    return next((socket for socket in found if socket is not None), None)


def strength_of(material: bpy.types.Material) -> bpy.types.NodeSocket | None:
    """The same for a single material."""
    node = material.node_tree.nodes.get(STRENGTH)
    return node.inputs[0] if node is not None else None


def _materials(scene: bpy.types.Scene) -> list[bpy.types.Material]:
    mesh = objects.find(scene, objects.MESH)
    found = mesh.data.materials if mesh is not None else ()
    return [material for material in found if material is not None and material.node_tree is not None]


def _add(material: bpy.types.Material, movie: Path, facts: bpy.types.PropertyGroup) -> None:
    tree = material.node_tree
    outputs = [node for node in tree.nodes if node.type == "OUTPUT_MATERIAL"]
    output = next((node for node in outputs if node.is_active_output), None)
    if output is None or not output.inputs["Surface"].links:
        return
    shown = output.inputs["Surface"].links[0].from_socket
    active = tree.nodes.active  # Solid view shows its texture

    def node(kind: str, name: str, x: int, y: int) -> bpy.types.Node:
        made = tree.nodes.new(kind)
        made.name = made.label = name
        made.location = output.location.x + x, output.location.y + y
        return made

    mask = node("ShaderNodeTexImage", MASK, -200, -350)
    mask.image = bpy.data.images.load(str(movie))
    mask.image.filepath = files.as_blender_writes(movie)
    mask.image.colorspace_settings.name = "Non-Color"
    mask.interpolation, mask.extension = "Linear", "EXTEND"
    footage.play_with_shot(mask.image_user, facts)
    strength = node("ShaderNodeMix", STRENGTH, 100, -350)
    strength.data_type = "FLOAT"
    strength.inputs[0].default_value = strength.inputs[2].default_value = 0.0
    tree.links.new(mask.outputs["Color"], strength.inputs[3])
    colour = node("ShaderNodeEmission", COLOUR, 100, -200)
    colour.inputs["Color"].default_value = (*Color(legend.as_floats(legend.MOVES)).from_srgb_to_scene_linear(), 1.0)
    mix = node("ShaderNodeMixShader", MIX, 300, 0)
    tree.links.new(strength.outputs[0], mix.inputs[0])
    tree.links.new(shown, mix.inputs[1])
    tree.links.new(colour.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], output.inputs["Surface"])
    output.location.x += 500
    tree.nodes.active = active


def _remove(material: bpy.types.Material) -> None:
    tree = material.node_tree
    mix, mask = tree.nodes.get(MIX), tree.nodes.get(MASK)
    if mix is not None and mix.inputs[1].links:
        shown = mix.inputs[1].links[0].from_socket
        for link in list(mix.outputs[0].links):
            link.to_node.location.x -= 500
            tree.links.new(shown, link.to_socket)
    image = mask.image if mask is not None else None
    for name in (MASK, STRENGTH, COLOUR, MIX):
        if name in tree.nodes:
            tree.nodes.remove(tree.nodes[name])
    if image is not None and not image.users:
        bpy.data.images.remove(image)
