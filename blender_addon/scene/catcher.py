"""The catcher: an invisible copy of the shot's mesh that hides what is behind it and catches shadows."""

import bpy

from ..scene import compat, footage, objects

SURFACE = "EX-4D Surface Only"
"""Name of the modifier that removes faces that only bridge a gap."""

_RAYS = ("visible_shadow", "visible_diffuse", "visible_glossy", "visible_transmission")


def make(scene: bpy.types.Scene, mesh: bpy.types.Object) -> bpy.types.Object:
    """Make the catcher, a copy of the shot's mesh that shares its data and moves with it.

    In Cycles it is a shadow catcher. EEVEE has none, so there it only hides what is behind it. It has no faces where
    the mesh only bridges a gap between near and far, because the generator puts something else there.

    It blocks no light and neither reflects nor lights anything: around the picture's edges it reaches far out and would
    put CG in its shade.
    """
    made = mesh.copy()
    made.name = "EX-4D Catcher"
    objects.mark(made, objects.CATCHER, scene.ex4d.shot)
    for collection in mesh.users_collection:
        collection.objects.link(made)
    made.animation_data_clear()
    made.hide_viewport = made.hide_render = False
    made.is_shadow_catcher = True
    for ray in _RAYS:
        setattr(made, ray, False)
    material, reliable = _material(), _reliable(mesh)
    for slot in made.material_slots:
        slot.link = "OBJECT"
        slot.material = material
    if reliable is not None:
        surface = made.modifiers.new(SURFACE, "NODES")
        group = _without_bridges(reliable, objects.find(scene, objects.SOURCE_CAMERA), scene.ex4d.mesh_step)
        surface.node_group, surface.show_viewport = group, False  # takes 0.3 s at 1024x576
    return made


def remove(scene: bpy.types.Scene) -> None:
    """Remove the catcher and its material."""
    found = objects.find(scene, objects.CATCHER)
    if found is None:
        return
    materials = {slot.material for slot in found.material_slots if slot.link == "OBJECT" and slot.material}
    groups = {m.node_group for m in found.modifiers if m.type == "NODES" and m.name == SURFACE and m.node_group}
    bpy.data.objects.remove(found)
    for owned, kind in ((materials, bpy.data.materials), (groups, bpy.data.node_groups)):
        for one in owned:
            if not one.users:
                kind.remove(one)


def is_stale(scene: bpy.types.Scene) -> bool:
    """Whether Open Again has replaced the mesh since the catcher was made."""
    found, mesh = objects.find(scene, objects.CATCHER), objects.find(scene, objects.MESH)
    return found is not None and mesh is not None and found.data != mesh.data


def _material() -> bpy.types.Material:
    """White diffuse in Cycles, to catch shadows; a holdout in EEVEE."""
    material = bpy.data.materials.new("EX-4D Catcher")
    material.use_backface_culling = False
    tree = compat.enable_nodes(material)
    for row, (target, kind) in enumerate((("CYCLES", "ShaderNodeBsdfDiffuse"), ("EEVEE", "ShaderNodeHoldout"))):
        surface, output = tree.nodes.new(kind), tree.nodes.new("ShaderNodeOutputMaterial")
        output.target = target
        surface.location, output.location = (0, -250 * row), (300, -250 * row)
        tree.links.new(output.inputs["Surface"], surface.outputs[0])
    return material


def _without_bridges(reliable: bpy.types.Node, source: bpy.types.Object | None, step: int) -> bpy.types.NodeTree:
    """Geometry nodes that remove, in each frame, faces whose centre is black in the movie of the image node `reliable`.

    If the mesh has only every `step`-th row and column, faces that the source camera sees at a grazing angle go, too,
    as in `footage.show_detail`. A transparent material would not do: Cycles takes anything seen through a shadow
    catcher for a shadow.
    """
    tree = bpy.data.node_groups.new("EX-4D Surface Only", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    new, link = tree.nodes.new, tree.links.new
    time, frame = new("GeometryNodeInputSceneTime"), new("ShaderNodeMath")
    frame.operation = "SUBTRACT"
    frame.inputs[1].default_value = reliable.image_user.frame_start - 1  # movies count from 1
    link(frame.inputs[0], time.outputs["Frame"])
    within = new("ShaderNodeClamp")
    within.inputs["Min"].default_value, within.inputs["Max"].default_value = 1, reliable.image_user.frame_duration
    link(within.inputs["Value"], frame.outputs[0])
    place = new("GeometryNodeInputNamedAttribute")
    place.data_type = "FLOAT_VECTOR"
    place.inputs["Name"].default_value = "UVMap"
    seen = new("GeometryNodeImageTexture")
    seen.interpolation, seen.extension = "Linear", "EXTEND"
    seen.inputs["Image"].default_value = reliable.image
    link(seen.inputs["Vector"], place.outputs["Attribute"])
    link(seen.inputs["Frame"], within.outputs[0])
    is_bridge = new("ShaderNodeMath")
    is_bridge.operation = "LESS_THAN"
    is_bridge.inputs[1].default_value = 0.5
    link(is_bridge.inputs[0], seen.outputs["Color"])
    gone = is_bridge.outputs[0]
    if source is not None and step > 1:
        either = new("ShaderNodeMath")
        either.operation = "MAXIMUM"
        link(either.inputs[0], is_bridge.outputs[0])
        link(either.inputs[1], _is_slanted(tree, source, step))
        gone = either.outputs[0]
    delete = new("GeometryNodeDeleteGeometry")
    delete.domain, delete.mode = "FACE", "ALL"
    link(delete.inputs["Geometry"], new("NodeGroupInput").outputs[0])
    link(delete.inputs["Selection"], gone)
    link(new("NodeGroupOutput").inputs[0], delete.outputs[0])
    return tree


def _is_slanted(tree: bpy.types.NodeTree, source: bpy.types.Object, step: int) -> bpy.types.NodeSocket:
    """1 on faces that the source camera sees at a smaller angle than real surfaces have, see `footage.slant_limit`."""
    new, link = tree.nodes.new, tree.links.new
    eye = new("GeometryNodeObjectInfo")
    eye.transform_space = "RELATIVE"
    eye.inputs["Object"].default_value = source
    way, direction, across, slant, limit = (new(f"ShaderNode{kind}") for kind in [*3 * ["VectorMath"], *2 * ["Math"]])
    way.operation, direction.operation, across.operation = "SUBTRACT", "NORMALIZE", "DOT_PRODUCT"
    link(way.inputs[0], eye.outputs["Location"])
    link(way.inputs[1], new("GeometryNodeInputPosition").outputs[0])
    link(direction.inputs[0], way.outputs["Vector"])
    link(across.inputs[0], direction.outputs["Vector"])
    link(across.inputs[1], new("GeometryNodeInputNormal").outputs[0])
    slant.operation, limit.operation = "ABSOLUTE", "LESS_THAN"
    link(slant.inputs[0], across.outputs["Value"])
    link(limit.inputs[0], slant.outputs[0])
    limit.inputs[1].default_value = footage.slant_limit(step)
    return limit.outputs[0]


def _reliable(mesh: bpy.types.Object) -> bpy.types.Node | None:
    """The image node in the mesh's material whose movie tells surfaces from bridges; None if it is gone."""
    for material in mesh.data.materials:
        for node in material.node_tree.nodes if material is not None and material.node_tree is not None else ():
            is_movie = node.type == "TEX_IMAGE" and node.image is not None
            if is_movie and bpy.path.basename(node.image.filepath) == footage.RELIABLE:
                return node
    return None
