"""Every difference between Blender versions from 4.2 to 5.3, in one place."""

from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path

import bpy

from ex4d.storage import user_data

Strip = bpy.types.Strip if hasattr(bpy.types, "Strip") else bpy.types.Sequence
"""The type of strips, renamed from `Sequence` in 4.4."""


def strips(scene: bpy.types.Scene) -> bpy.types.bpy_prop_collection:
    """The top-level strips of `scene`; its sequence editor is created if missing."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def all_strips(scene: bpy.types.Scene) -> list:
    """Every strip of `scene`, including those inside meta strips; no sequence editor is created."""
    editor = scene.sequence_editor
    if editor is None:
        return []
    return list(editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all)


def remove_strip(scene: bpy.types.Scene, strip: Strip) -> None:
    """Remove a strip, even from inside a meta strip."""
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
    """Trim a strip to scene frames [first, end) without shifting its content."""
    if "left_handle" in strip.bl_rna.properties:
        strip.left_handle, strip.right_handle = first, end
    else:
        strip.frame_final_start, strip.frame_final_end = first, end


def is_topmost(scene: bpy.types.Scene, strip: Strip) -> bool:
    """Whether no unmuted strip of `scene` covers `strip` in any of its frames."""
    first, end = strip_range(strip)
    above = [other for other in strips(scene) if other.channel > strip.channel and not other.mute]
    return all(strip_range(other)[1] <= first or end <= strip_range(other)[0] for other in above)


def select_only(scene: bpy.types.Scene, strip: Strip) -> None:
    """Make `strip` the active and only selected strip of `scene`."""
    for other in all_strips(scene):
        other.select = other == strip
    scene.sequence_editor.active_strip = strip


def new_movie_strip(scene: bpy.types.Scene, name: str, path: Path, channel: int, start: int) -> Strip:
    """Insert a movie, fitted to the scene's size, through the data API: the operator crashes 5.0 if a timer calls it.

    Fitting matters because a take may have the clip's own size while the scene has the working size.
    """
    return strips(scene).new_movie(name=name, filepath=str(path), channel=channel, frame_start=start, fit_method="FIT")


def new_sound_strip(scene: bpy.types.Scene, name: str, path: Path, channel: int, start: int) -> Strip:
    """Insert the sound of a file; Blender makes the strip as long as the file lasts at the scene's frame rate."""
    return strips(scene).new_sound(name=name, filepath=str(path), channel=channel, frame_start=start)


def show_in_sequencer(scene: bpy.types.Scene, workspaces: Iterable[bpy.types.WorkSpace]) -> None:
    """Show `scene` in the sequencer of each workspace, which since 5.0 has a setting for it; before, do nothing."""
    for workspace in workspaces:
        if hasattr(workspace, "sequencer_scene"):
            workspace.sequencer_scene = scene
            workspace["ex4d_filled"] = True


def empty_sequencers() -> list[bpy.types.WorkSpace]:
    """Workspaces whose sequencer shows no scene; always empty before 5.0."""
    return [w for w in bpy.data.workspaces if hasattr(w, "sequencer_scene") and w.sequencer_scene is None]


def is_filled(workspace: bpy.types.WorkSpace) -> bool:
    """Whether we gave its sequencer a scene before. If it is empty now, the user emptied it on purpose."""
    return "ex4d_filled" in workspace


def fcurves(owner: bpy.types.ID) -> Iterator[bpy.types.FCurve]:
    """The F-curves of `owner` itself.

    Since 4.4, owners can share an action, each with its own slot, whose channel bag holds the curves. In those versions
    `Action.fcurves`, while it still exists, returns only the curves of the first slot.
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
    """Remove the F-curves of `owner` with these data paths; other owners that share them keep theirs."""
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
    """The node tree that composites renders of `scene`; None if there is none."""
    if _knows(scene, "compositor_effects"):
        effect = _effect(scene)
        return effect.node_group if effect is not None else None
    if _knows(scene, "compositing_node_group"):
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def begin_compositing(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """Switch on compositing for a `scene` without it; returns the node tree, which may contain old nodes before 5.0."""
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
    """Every compositing node tree of a scene, including disabled ones."""
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
    """Whether scenes have a property, without reading it: reading a deprecated one causes a warning."""
    return name in scene.bl_rna.properties


def _effect(scene: bpy.types.Scene) -> object | None:
    """The first compositor effect enabled for renders, in Blender 5.3 and later; None if there is none."""
    there = (each for each in scene.compositor_effects if each.node_group is not None and each.enable_for_render)
    return next(there, None)


def composite_output(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """The image input of a compositing tree's output node; made if missing."""
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
    """Set a Scale node of the compositor to scale images to the render size."""
    if hasattr(node, "space"):
        node.space = "RENDER_SIZE"
    else:
        node.inputs["Type"].default_value = "Render Size"


def path_options() -> set[str]:
    """Options of a path property: since 4.5 Blender has to be told that the path may begin with `//`."""
    return {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def enable_nodes(material: bpy.types.Material) -> bpy.types.NodeTree:
    """The node tree of `material`, emptied; since 5.0 every material has one."""
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material.node_tree


def user_folder(package: str) -> Path:
    """The folder that the add-on writes to while the .blend is unsaved; created if missing.

    Not `extension_path_user`, because since 5.2 Blender removes that folder along with the extension.
    """
    folder = user_data.folder() / "blender"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def former_user_folders(package: str) -> list[Path]:
    """The folders that earlier versions used as `user_folder`, if they exist."""
    found = [bpy.utils.user_resource("DATAFILES", path="ex4d")]
    with suppress(ValueError):  # run from a source tree, not installed as an extension
        found.append(bpy.utils.extension_path_user(package))
    return [Path(folder) for folder in found if folder and Path(folder).is_dir()]
