"""Compositor nodes that put renders over a take."""

import bpy

from ..scene import compat

TAKE, SIZE, OVER, LAYERS = "EX-4D Take", "EX-4D Take in Render Size", "EX-4D Over Take", "EX-4D Render Layers"


def put(scene: bpy.types.Scene, movie: bpy.types.Image, first: int, frames: int) -> dict[str, object]:
    """Put the scene's composite, or else its render, over a movie of `frames` frames that begins at frame `first`.

    Returns what `remove` needs to know.
    """
    tree = compat.compositor(scene)
    known: dict[str, object] = {"had_compositor": tree is not None}
    tree = tree or compat.begin_compositing(scene)
    output = compat.composite_output(tree)
    before = output.links[0].from_socket if output.links else None
    if before is not None:
        known |= {"node": before.node.name, "socket": before.identifier}
    if before is None or not known["had_compositor"]:  # leave out nodes that were switched off
        layers = _new(tree, "CompositorNodeRLayers", LAYERS, -400, -200)
        layers.scene = scene
        before = layers.outputs["Image"]
    taken = _new(tree, "CompositorNodeImage", TAKE, -400, 200)
    taken.image = movie
    taken.frame_start, taken.frame_duration, taken.use_auto_refresh = first, frames, True
    size = _new(tree, "CompositorNodeScale", SIZE, -150, 200)
    compat.scale_to_render_size(size)
    tree.links.new(size.inputs[0], taken.outputs["Image"])
    over = _new(tree, "CompositorNodeAlphaOver", OVER, 100, 100)
    below, above = (socket for socket in over.inputs if socket.type == "RGBA")
    tree.links.new(below, size.outputs[0])
    tree.links.new(above, before)
    tree.links.new(output, over.outputs[0])
    return known


def remove(scene: bpy.types.Scene, known: dict[str, object]) -> None:
    """Remove the nodes and link what was over the take to the output again."""
    tree = next((tree for tree in compat.compositors(scene) if OVER in tree.nodes), None) or compat.compositor(scene)
    if tree is None:
        return
    over = tree.nodes.get(OVER)
    if over is not None:
        above = [socket for socket in over.inputs if socket.type == "RGBA"][1]
        source = above.links[0].from_socket if above.links else None
        if source is None or source.node.name == LAYERS:
            node = tree.nodes.get(str(known.get("node")))
            source = next((s for s in node.outputs if s.identifier == known["socket"]), None) if node else None
        targets = [link.to_socket for link in over.outputs[0].links]
        for target in targets:
            if source is not None:
                tree.links.new(target, source)
    for name in (TAKE, SIZE, OVER, LAYERS):
        if name in tree.nodes:
            tree.nodes.remove(tree.nodes[name])
    if not known.get("had_compositor"):
        compat.end_compositing(scene, tree)


def _new(tree: bpy.types.NodeTree, kind: str, name: str, x: int, y: int) -> bpy.types.Node:
    made = tree.nodes.new(kind)
    made.name = made.label = name
    made.location = (x, y)
    return made
