"""The material of the shot's mesh: the footage, unlit, and a tint where the source saw nothing."""

from collections import Counter
from pathlib import Path

import bpy
import numpy as np
from mathutils import Color

from ex4d.geometry.occlusion import FILTERS
from ex4d.render import legend

from ..scene import axes, compat
from ..shot import files

INVENTED_COLOUR = (*legend.as_floats(legend.INVENTED), 1.0)
STRIPE_COLOUR = (*Color(legend.as_floats(legend.STRIPE)).from_srgb_to_scene_linear(), 1.0)

STRIPES_HIGH = 60
"""Number of tint stripes over the height of a view or render, whatever its size."""

USUAL_STRENGTH = 0.6
"""Default strength of the tint: it lets the mesh that bridges two surfaces show through."""

SAME_VIEW = 2e-3
"""In radians, about two pixels of a picture 1024 pixels wide. If the directions from a point to the view and to the
source differ by less, the point is not tinted."""

SOURCE_EYE = "EX-4D Source Eye"
"""Name of the node with the position of the source camera, in the mesh's own coordinates."""

TINT = "EX-4D Tint"
"""Name of the node whose factor is the strength of the tint, 0 to 1."""

BRIDGE = "EX-4D Bridge"
"""Name of the node that finds the faces of a coarse mesh that bridge an occlusion: the source camera sees them at a
smaller angle than the node's limit."""

NO_BRIDGES = -1.0
"""A limit that no face falls below."""

FOOTAGE, RELIABLE, SOLID = "source.mp4", "reliable.mp4", "solid.mp4"
"""Movies of a shot: the footage; where the mesh is a surface, not a bridge; and, in shots of earlier versions, both
combined for Solid view, which therefore showed the tint even from the source view, where nothing is missing."""

EARLIER_NODES = [
    Counter(ShaderNodeTexImage=2, ShaderNodeEmission=2, ShaderNodeOutputMaterial=1, **counts)
    for counts in (
        {"ShaderNodeMath": 1, "ShaderNodeMixShader": 1},
        {
            "ShaderNodeMath": 3,
            "ShaderNodeMixShader": 1,
            "ShaderNodeVectorMath": 4,
            "ShaderNodeCombineXYZ": 1,
            "ShaderNodeTexCoord": 1,
            "ShaderNodeNewGeometry": 1,
            "ShaderNodeVectorTransform": 1,
        },
    )
]
"""Number of nodes of each kind in the materials of earlier versions, without the node for `SOLID`."""


class _Tree:
    """A node tree under construction."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree

    def node(self, kind: str, x: int, y: int, *inputs: bpy.types.NodeSocket) -> bpy.types.Node:
        """Add a node and link these outputs to its first enabled inputs."""
        made = self.tree.nodes.new(kind)
        made.location = (x, y)
        for socket, output in zip((each for each in made.inputs if each.enabled), inputs, strict=False):
            self.tree.links.new(output, socket)
        return made

    def vector(self, operation: str, x: int, y: int, *inputs: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """Add a Vector Math node and return its output."""
        made = self.node("ShaderNodeVectorMath", x, y, *inputs)
        made.operation = operation
        return made.outputs["Value" if operation in ("DISTANCE", "DOT_PRODUCT") else "Vector"]

    def math(
        self, operation: str, x: int, y: int, *inputs: bpy.types.NodeSocket, second: float = 0.0
    ) -> bpy.types.NodeSocket:
        """Add a Math node and return its output."""
        made = self.node("ShaderNodeMath", x, y, *inputs)
        made.operation = operation
        if len(inputs) == 1:
            made.inputs[1].default_value = second
        return made.outputs[0]


def make_material(facts: bpy.types.PropertyGroup, colour: Path, reliable: Path) -> bpy.types.Material:
    """Make the material, whose movies start with the shot. Solid view shows the footage without a tint.

    Args:
        facts: of the shot; their `image` is set to the footage.
        colour: the footage.
        reliable: white where the mesh is a surface, not a bridge.
    """
    material = bpy.data.materials.new("EX-4D Footage")
    material.use_backface_culling = False
    compat.enable_nodes(material)

    def movie(path: Path) -> bpy.types.Image:
        image = bpy.data.images.load(str(path))
        image.filepath = files.as_blender_writes(path)
        return image

    facts.image = movie(colour)
    _make_nodes(material, facts, facts.image, movie(reliable))
    return material


def renew(material: bpy.types.Material, facts: bpy.types.PropertyGroup) -> None:
    """Rebuild the nodes of a material that an earlier version made, if nobody has changed them."""
    tree = material.node_tree
    if tree is None or Counter(node.bl_idname for node in tree.nodes) not in EARLIER_NODES:
        return
    images = {Path(n.image.filepath).name: n.image for n in tree.nodes if n.type == "TEX_IMAGE" and n.image is not None}
    if not {FOOTAGE, RELIABLE} <= set(images):
        return
    tree.nodes.clear()
    _make_nodes(material, facts, images[FOOTAGE], images[RELIABLE])


def _make_nodes(
    material: bpy.types.Material, facts: bpy.types.PropertyGroup, colour: bpy.types.Image, reliable: bpy.types.Image
) -> None:
    made = _Tree(material.node_tree)

    def movie(image: bpy.types.Image, x: int, y: int) -> bpy.types.Node:
        texture = made.node("ShaderNodeTexImage", x, y)
        texture.image = image
        texture.interpolation, texture.extension = "Linear", "EXTEND"
        play_with_shot(texture.image_user, facts)
        return texture

    footage, seen = movie(colour, -600, 200), movie(reliable, -600, -150)
    reliable.colorspace_settings.name = "Non-Color"
    to_source = _to_source(made)
    is_surface = made.math("GREATER_THAN", -300, -150, seen.outputs["Color"], second=0.5)
    is_surface = made.math("MINIMUM", -150, -300, is_surface, _is_no_bridge(made, to_source))
    is_real = made.math("MAXIMUM", 0, -150, is_surface, _is_source_view(made, to_source))
    strength = made.node("ShaderNodeMix", 150, -150)
    strength.name = strength.label = TINT
    strength.data_type = "FLOAT"
    factor, untinted, tinted = strength.inputs[0], strength.inputs[2], strength.inputs[3]
    factor.default_value, untinted.default_value = USUAL_STRENGTH, 1.0
    made.tree.links.new(is_real, tinted)
    real = made.node("ShaderNodeEmission", -300, 200, footage.outputs["Color"])
    invented = made.node("ShaderNodeEmission", -150, 50, _legend_colour(made))
    mix = made.node("ShaderNodeMixShader", 350, 100, strength.outputs[0], invented.outputs[0], real.outputs[0])
    made.node("ShaderNodeOutputMaterial", 550, 100, mix.outputs[0])
    made.tree.nodes.active = footage
    place_source(material, facts)


def _legend_colour(made: _Tree) -> bpy.types.NodeSocket:
    """The striped colour of the legend; the stripes rise to the right and are fixed to the screen."""
    window = made.node("ShaderNodeTexCoord", -1400, 500).outputs["Window"]
    across = made.node("ShaderNodeSeparateXYZ", -1200, 500, window)
    wide = made.math("MULTIPLY", -1000, 600, across.outputs["X"], second=STRIPES_HIGH * 16 / 9)
    high = made.math("MULTIPLY", -1000, 450, across.outputs["Y"], second=STRIPES_HIGH)
    along = made.math("FRACT", -700, 500, made.math("SUBTRACT", -850, 500, wide, high))
    mix = made.node("ShaderNodeMix", -450, 450)
    mix.data_type = "RGBA"
    made.tree.links.new(made.math("LESS_THAN", -600, 500, along, second=legend.STRIPE_PART), mix.inputs[0])
    mix.inputs[6].default_value, mix.inputs[7].default_value = INVENTED_COLOUR, STRIPE_COLOUR
    return mix.outputs[2]


def _to_source(made: _Tree) -> bpy.types.NodeSocket:
    """The direction from the shaded point to the source camera, in the mesh's own coordinates."""
    eye = made.node("ShaderNodeCombineXYZ", -1400, -500)
    eye.name = eye.label = SOURCE_EYE
    point = made.node("ShaderNodeTexCoord", -1400, -700).outputs["Object"]
    return made.vector("NORMALIZE", -1000, -500, made.vector("SUBTRACT", -1200, -500, eye.outputs[0], point))


def _in_object(made: _Tree, direction: bpy.types.NodeSocket, kind: str, y: int) -> bpy.types.NodeSocket:
    """Convert a direction or normal from world space to the mesh's own coordinates."""
    node = made.node("ShaderNodeVectorTransform", -1200, y, direction)
    node.vector_type, node.convert_from, node.convert_to = kind, "WORLD", "OBJECT"
    return made.vector("NORMALIZE", -1000, y, node.outputs[0])


def _is_source_view(made: _Tree, to_source: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """1 where a point is seen from the position of the source camera, from where nothing is missing."""
    incoming = made.node("ShaderNodeNewGeometry", -1400, -1000).outputs["Incoming"]
    to_view = _in_object(made, incoming, "VECTOR", -800)
    angle = made.vector("DISTANCE", -800, -600, to_source, to_view)
    return made.math("LESS_THAN", -600, -600, angle, second=SAME_VIEW)


def _is_no_bridge(made: _Tree, to_source: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """0 on faces that stretch from something near to something far behind it, see `show_detail`."""
    normal = _in_object(made, made.node("ShaderNodeNewGeometry", -1400, -1250).outputs["True Normal"], "NORMAL", -1100)
    slant = made.math("ABSOLUTE", -600, -900, made.vector("DOT_PRODUCT", -800, -900, to_source, normal))
    node = made.node("ShaderNodeMath", -400, -900, slant)
    node.operation, node.name, node.label = "GREATER_THAN", BRIDGE, BRIDGE
    node.inputs[1].default_value = NO_BRIDGES
    return node.outputs[0]


def slant_limit(step: int) -> float:
    """Sine of the angle below which a face counts as a bridge, in a mesh with every `step`-th row and column.

    See `show_detail`.
    """
    return NO_BRIDGES if step == 1 else float(np.sin(np.radians(FILTERS["default"].min_angle)))


def show_detail(material: bpy.types.Material, step: int) -> None:
    """Set up a shot's material for a mesh with every `step`-th row and column.

    The movie of reliable pixels marks the bridges of the full mesh, which are a pixel wide. Those of a coarser mesh
    are as wide as its faces, so the faces themselves are tested there, with the renderer's own limit.
    """
    node = _node(material, BRIDGE)
    if node is not None:
        node.inputs[1].default_value = slant_limit(step)


def tint_strength(material: bpy.types.Material) -> bpy.types.NodeSocket | None:
    """The socket with the strength of the tint, 0 to 1; None if the material has none, as in earlier versions."""
    node = _node(material, TINT)
    return node.inputs[0] if node is not None else None


def drop_solid(material: bpy.types.Material) -> None:
    """Remove the Solid view movie from the material of an earlier version's shot: Solid view shows the footage now."""
    tree = material.node_tree
    for node in list(tree.nodes) if tree is not None else ():
        if node.type != "TEX_IMAGE" or node.image is None or Path(node.image.filepath).name != SOLID:
            continue
        image = node.image
        tree.nodes.remove(node)
        if not image.users:
            bpy.data.images.remove(image)
        left = [node for node in tree.nodes if node.type == "TEX_IMAGE" and node.image is not None]
        tree.nodes.active = next((node for node in left if Path(node.image.filepath).name == FOOTAGE), None)


def _node(material: bpy.types.Material, name: str) -> bpy.types.Node | None:
    return material.node_tree.nodes.get(name) if material.node_tree is not None else None


def play(material: bpy.types.Material, folder: Path, facts: bpy.types.PropertyGroup) -> None:
    """Play a material's movies from `folder` in sync with the shot's frames."""
    for node in material.node_tree.nodes if material.node_tree is not None else ():
        if node.type != "TEX_IMAGE" or node.image is None:
            continue
        if node.image.filepath and files.absolute(node.image.filepath).parent == folder:
            play_with_shot(node.image_user, facts)


def play_with_shot(user: bpy.types.ImageUser, facts: bpy.types.PropertyGroup) -> None:
    """Play a movie in sync with the shot's frames."""
    user.frame_duration, user.frame_start, user.use_auto_refresh = facts.frames, facts.start, True


def place_source(material: bpy.types.Material, facts: bpy.types.PropertyGroup) -> None:
    """Write the source camera's position in every frame into a shot's material, if it has the node for it."""
    tree, eye = material.node_tree, _node(material, SOURCE_EYE)
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
