"""Everything that differs between Blender 4.2 and 5.3, in one place."""

from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path

import bpy

from ex4d.storage import user_data

Strip = bpy.types.Strip if hasattr(bpy.types, "Strip") else bpy.types.Sequence
"""The type of strips; it got its name in 4.4."""


def strips(scene: bpy.types.Scene) -> bpy.types.bpy_prop_collection:
    """The top-level strips of `scene`, whose sequence editor is made where it is missing."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def all_strips(scene: bpy.types.Scene) -> list:
    """Every strip of `scene`, also those inside meta strips; nothing is made."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    return list(editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all)


def remove_strip(scene: bpy.types.Scene, strip: Strip) -> None:
    """Remove a strip, also from inside a meta strip."""
    metas = [each for each in all_strips(scene) if each.type == "META"]
    for holder in (scene.sequence_editor, *metas):
        inside = holder.strips if hasattr(holder, "strips") else holder.sequences
        if any(each == strip for each in inside):
            inside.remove(strip)
            return


def strip_range(strip: Strip) -> tuple[int, int]:
    """First scene frame of a strip and the frame after its last."""
    if "left_handle" in strip.bl_rna.properties:  # the old names are deprecated since 5.1
        return int(strip.left_handle), int(strip.right_handle)
    return int(strip.frame_final_start), int(strip.frame_final_end)


def trim(strip: Strip, first: int, end: int) -> None:
    """Let a strip show its scene frames [first, end) alone; what it shows in each of them stays."""
    if "left_handle" in strip.bl_rna.properties:
        strip.left_handle, strip.right_handle = first, end
    else:
        strip.frame_final_start, strip.frame_final_end = first, end


def is_topmost(scene: bpy.types.Scene, strip: Strip) -> bool:
    """Whether no other strip of `scene` covers `strip` in any of its frames."""
    first, end = strip_range(strip)
    above = [other for other in strips(scene) if other.channel > strip.channel and not other.mute]
    return all(strip_range(other)[1] <= first or end <= strip_range(other)[0] for other in above)


def select_only(scene: bpy.types.Scene, strip: Strip) -> None:
    """Make `strip` the active and only selected strip of `scene`."""
    for other in all_strips(scene):
        other.select = other == strip
    scene.sequence_editor.active_strip = strip


def new_movie_strip(scene: bpy.types.Scene, name: str, path: Path, channel: int, start: int) -> Strip:
    """Insert a movie through the data API (the operator crashes 5.0 when a timer calls it), as large as the scene.

    A take may have the clip's own size, and the scene that of the working picture.
    """
    return strips(scene).new_movie(name=name, filepath=str(path), channel=channel, frame_start=start, fit_method="FIT")


def new_sound_strip(scene: bpy.types.Scene, name: str, path: Path, channel: int, start: int) -> Strip:
    """Insert the sound of a file; Blender makes it as long as the file is at the scene's rate."""
    return strips(scene).new_sound(name=name, filepath=str(path), channel=channel, frame_start=start)


def show_in_sequencer(scene: bpy.types.Scene, workspaces: Iterable[bpy.types.WorkSpace]) -> None:
    """Since 5.0 each workspace says which scene its sequencer shows: let it be `scene`."""
    for workspace in workspaces:
        if hasattr(workspace, "sequencer_scene"):
            workspace.sequencer_scene = scene
            workspace["ex4d_filled"] = True


def empty_sequencers() -> list[bpy.types.WorkSpace]:
    """Workspaces whose sequencer shows no scene; none before 5.0."""
    return [w for w in bpy.data.workspaces if hasattr(w, "sequencer_scene") and w.sequencer_scene is None]


def is_filled(workspace: bpy.types.WorkSpace) -> bool:
    """Whether its sequencer was given a scene already: where it is empty now, the user wants it so."""
    return "ex4d_filled" in workspace


def fcurves(owner: bpy.types.ID) -> Iterator[bpy.types.FCurve]:
    """The F-curves of `owner` itself.

    Since 4.4 several owners share an action and have a slot each, with the curves in its channel bag: there
    `Action.fcurves`, as long as it exists, tells only those of the first slot.
    """
    for curves in _curve_lists(owner):
        yield from curves


def _curve_lists(owner: bpy.types.ID) -> Iterator[bpy.types.bpy_prop_collection]:
    data = owner.animation_data
    if data is None or data.action is None:
        return
    if not hasattr(data.action, "layers"):
        yield data.action.fcurves
        return
    for layer in data.action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(data.action_slot)
            if bag is not None:
                yield bag.fcurves


def remove_fcurves(owner: bpy.types.ID, paths: Set[str]) -> None:
    """Remove the F-curves of `owner` with these data paths; another owner that shares them keeps its own."""
    if not any(curve.data_path in paths for curve in fcurves(owner)):
        return
    data = owner.animation_data
    slot = getattr(data, "action_slot", None)
    shared = len(slot.users()) > 1 if slot is not None else data.action.users - data.action.use_fake_user > 1
    if shared:
        identifier = slot.identifier if slot is not None else ""
        data.action = data.action.copy()
        if slot is not None:
            data.action_slot = data.action.slots[identifier]
    for curves in _curve_lists(owner):
        for curve in [c for c in curves if c.data_path in paths]:
            curves.remove(curve)
    if not any(True for _curve in fcurves(owner)):
        data.action = None


def compositor(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    """The node tree that composites what `scene` renders; None if none does."""
    if _knows(scene, "compositor_effects"):
        effect = _effect(scene)
        return effect.node_group if effect is not None else None
    if _knows(scene, "compositing_node_group"):
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def begin_compositing(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """Let a node tree composite what `scene` renders, where none does; before 5.0 it may hold nodes from earlier."""
    name = "EX-4D Compositing"
    if _knows(scene, "compositor_effects"):
        effect = scene.compositor_effects.new(name)
        effect.node_group = bpy.data.node_groups.new(name, "CompositorNodeTree")
        return effect.node_group
    if _knows(scene, "compositing_node_group"):
        scene.compositing_node_group = bpy.data.node_groups.new(name, "CompositorNodeTree")
        return scene.compositing_node_group
    scene.use_nodes = True
    return scene.node_tree


def compositors(scene: bpy.types.Scene) -> list[bpy.types.NodeTree]:
    """Every node tree of a scene that composites, or could."""
    if _knows(scene, "compositor_effects"):
        return [each.node_group for each in scene.compositor_effects if each.node_group is not None]
    tree = scene.compositing_node_group if _knows(scene, "compositing_node_group") else scene.node_tree
    return [tree] if tree is not None else []


def end_compositing(scene: bpy.types.Scene, tree: bpy.types.NodeTree) -> None:
    """Undo `begin_compositing`, which made this tree or switched it on."""
    if not _knows(scene, "compositor_effects") and not _knows(scene, "compositing_node_group"):
        scene.use_nodes = False
        return
    if _knows(scene, "compositor_effects"):
        for effect in [each for each in scene.compositor_effects if each.node_group == tree]:
            scene.compositor_effects.remove(effect)
    bpy.data.node_groups.remove(tree)


def _knows(scene: bpy.types.Scene, name: str) -> bool:
    """Whether scenes have a property, without reading it: what Blender will remove warns when it is read."""
    return name in scene.bl_rna.properties


def _effect(scene: bpy.types.Scene) -> object | None:
    """The first effect that composites renders, as Blender has them from 5.3 on; None without one."""
    there = (each for each in scene.compositor_effects if each.node_group is not None and each.enable_for_render)
    return next(there, None)


def composite_output(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """The socket of a compositing tree that takes the picture; made where it is missing."""
    if not hasattr(bpy.types, "CompositorNodeComposite"):
        if not any(item.in_out == "OUTPUT" for item in tree.interface.items_tree if item.item_type == "SOCKET"):
            tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        found = [node for node in tree.nodes if node.type == "GROUP_OUTPUT"]
        node = next((n for n in found if n.is_active_output), None) or tree.nodes.new("NodeGroupOutput")
    else:
        found = [node for node in tree.nodes if node.type == "COMPOSITE" and not node.mute]
        node = found[0] if found else tree.nodes.new("CompositorNodeComposite")
    return node.inputs[0]


def scale_to_render_size(node: bpy.types.Node) -> None:
    """Let a Scale node of the compositor give pictures the size that is rendered."""
    if hasattr(node, "space"):
        node.space = "RENDER_SIZE"
    else:
        node.inputs["Type"].default_value = "Render Size"


def path_options() -> set[str]:
    """Options of a property that holds a path: from 4.5 on Blender wants to be told that it may begin with `//`."""
    return {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def enable_nodes(material: bpy.types.Material) -> bpy.types.NodeTree:
    """The node tree of `material`, emptied; from 5.0 on every material has one."""
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material.node_tree


def user_folder(package: str) -> Path:
    """Where the add-on may write as long as the .blend has no place on disk.

    Not `extension_path_user`: from 5.2 on Blender removes that folder with the extension.
    """
    folder = user_data.folder() / "blender"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def former_user_folders(package: str) -> list[Path]:
    """What `user_folder` was in earlier versions, as far as it is there."""
    found = [bpy.utils.user_resource("DATAFILES", path="ex4d")]
    with suppress(ValueError):  # run from a source tree, not installed as an extension
        found.append(bpy.utils.extension_path_user(package))
    return [Path(folder) for folder in found if folder and Path(folder).is_dir()]
