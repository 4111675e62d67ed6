"""The material of the shot's mesh: the footage as it is, unlit, and a tint where the source saw nothing."""

from pathlib import Path

import bpy
import numpy as np

from ex4d.render import legend

from ..scene import axes, compat
from ..shot import files

INVENTED_COLOUR = (*(channel / 255 for channel in legend.INVENTED), 1.0)

SAME_VIEW = 2e-3
"""Radians. Where the view and the source see a point under a smaller angle, what lies between them is no hole: about
two pixels of a picture that is 1024 wide."""

SOURCE_EYE = "EX-4D Source Eye"
"""Name of the node that says where the source's camera is, in the mesh's own coordinates."""


class _Tree:
    """A node tree that is being made."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree

    def node(self, kind: str, x: int, y: int, *inputs: bpy.types.NodeSocket) -> bpy.types.Node:
        """A new node whose first inputs come from these outputs."""
        made = self.tree.nodes.new(kind)
        made.location = (x, y)
        for socket, output in zip(made.inputs, inputs, strict=False):
            self.tree.links.new(output, socket)
        return made

    def vector(self, operation: str, x: int, y: int, *inputs: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """The result of a Vector Math node."""
        made = self.node("ShaderNodeVectorMath", x, y, *inputs)
        made.operation = operation
        return made.outputs["Value" if operation == "DISTANCE" else "Vector"]

    def math(
        self, operation: str, x: int, y: int, *inputs: bpy.types.NodeSocket, second: float = 0.0
    ) -> bpy.types.NodeSocket:
        """The result of a Math node."""
        made = self.node("ShaderNodeMath", x, y, *inputs)
        made.operation = operation
        if len(inputs) == 1:
            made.inputs[1].default_value = second
        return made.outputs[0]


def make_material(facts: bpy.types.PropertyGroup, colour: Path, reliable: Path, solid: Path) -> bpy.types.Material:
    """The material, whose movies start with the shot.

    Args:
        facts: of the shot; they get to know the movie.
        colour: the footage.
        reliable: white where the mesh is a surface and not a bridge.
        solid: the footage with the tint, for Solid view, which shows one texture; left out where there is none.
    """
    material = bpy.data.materials.new("EX-4D Footage")
    material.use_backface_culling = False
    made = _Tree(compat.enable_nodes(material))

    def movie(path: Path, x: int, y: int) -> bpy.types.Node:
        texture = made.node("ShaderNodeTexImage", x, y)
        texture.image = bpy.data.images.load(str(path))
        texture.image.filepath = files.as_blender_writes(path)
        texture.interpolation, texture.extension = "Linear", "EXTEND"
        _play_with_shot(texture.image_user, facts)
        return texture

    footage, seen = movie(colour, -600, 200), movie(reliable, -600, -150)
    seen.image.colorspace_settings.name = "Non-Color"
    facts.image = footage.image
    is_surface = made.math("GREATER_THAN", -300, -150, seen.outputs["Color"], second=0.5)
    is_real = made.math("MAXIMUM", -150, -150, is_surface, _is_source_view(made))
    real = made.node("ShaderNodeEmission", -300, 200, footage.outputs["Color"])
    invented = made.node("ShaderNodeEmission", -300, 50)
    invented.inputs["Color"].default_value = INVENTED_COLOUR
    mix = made.node("ShaderNodeMixShader", 0, 100, is_real, invented.outputs[0], real.outputs[0])
    made.node("ShaderNodeOutputMaterial", 200, 100, mix.outputs[0])
    made.tree.nodes.active = movie(solid, -600, 550) if solid.is_file() else footage
    place_source(material, facts)
    return material


def _is_source_view(made: _Tree) -> bpy.types.NodeSocket:
    """1 where a point is seen from where the source's camera stands: from there nothing is missing."""
    eye = made.node("ShaderNodeCombineXYZ", -1400, -500)
    eye.name = eye.label = SOURCE_EYE
    point = made.node("ShaderNodeTexCoord", -1400, -700).outputs["Object"]
    to_source = made.vector("NORMALIZE", -1000, -500, made.vector("SUBTRACT", -1200, -500, eye.outputs[0], point))
    incoming = made.node("ShaderNodeNewGeometry", -1400, -1000).outputs["Incoming"]
    to_object = made.node("ShaderNodeVectorTransform", -1200, -800, incoming)
    to_object.vector_type, to_object.convert_from, to_object.convert_to = "VECTOR", "WORLD", "OBJECT"
    to_view = made.vector("NORMALIZE", -1000, -800, to_object.outputs[0])
    angle = made.vector("DISTANCE", -800, -600, to_source, to_view)
    return made.math("LESS_THAN", -600, -600, angle, second=SAME_VIEW)


def play(material: bpy.types.Material, folder: Path, facts: bpy.types.PropertyGroup) -> None:
    """Let a material's movies of `folder` play along with the shot's frames."""
    for node in material.node_tree.nodes if material.node_tree is not None else ():
        if node.type != "TEX_IMAGE" or node.image is None:
            continue
        if node.image.filepath and files.absolute(node.image.filepath).parent == folder:
            _play_with_shot(node.image_user, facts)


def _play_with_shot(user: bpy.types.ImageUser, facts: bpy.types.PropertyGroup) -> None:
    user.frame_duration, user.frame_start, user.use_auto_refresh = facts.frames, facts.start, True


def place_source(material: bpy.types.Material, facts: bpy.types.PropertyGroup) -> None:
    """Tell a shot's material where the source's camera is in every frame; one without the node is left alone."""
    tree = material.node_tree
    eye = tree.nodes.get(SOURCE_EYE) if tree is not None else None
    if eye is None:
        return
    places = [socket.path_from_id("default_value") for socket in eye.inputs]
    compat.remove_fcurves(tree, set(places))
    ways = axes.pose_to_blender(np.array(facts.poses))[:, :3, 3]
    for axis, socket in enumerate(eye.inputs):
        if facts.path:
            for t, way in enumerate(ways):
                socket.default_value = way[axis]
                socket.keyframe_insert("default_value", frame=facts.start + t)
        socket.default_value = ways[0, axis]
    for curve in compat.fcurves(tree):
        if curve.data_path in places:
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"
