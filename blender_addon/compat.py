"""Everything that differs between Blender 4.2 and 5.3, in one place."""

from collections.abc import Iterator
from pathlib import Path

import bpy

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


def strip_range(strip: Strip) -> tuple[int, int]:
    """First scene frame of a strip and the frame after its last."""
    if "left_handle" in strip.bl_rna.properties:  # the old names are deprecated since 5.1
        return int(strip.left_handle), int(strip.right_handle)
    return int(strip.frame_final_start), int(strip.frame_final_end)


def select_only(scene: bpy.types.Scene, strip: Strip) -> None:
    """Make `strip` the active and only selected strip of `scene`."""
    for other in all_strips(scene):
        other.select = other == strip
    scene.sequence_editor.active_strip = strip


def new_movie_strip(scene: bpy.types.Scene, name: str, path: Path, channel: int, start: int) -> Strip:
    """Insert a movie through the data API (the operator crashes 5.0 when a timer calls it)."""
    return strips(scene).new_movie(name=name, filepath=str(path), channel=channel, frame_start=start)


def show_in_sequencer(scene: bpy.types.Scene) -> None:
    """Since 5.0 a workspace says which scene its sequencer shows: choose `scene` where none is chosen."""
    workspace = bpy.context.workspace
    if workspace is not None and hasattr(workspace, "sequencer_scene") and workspace.sequencer_scene is None:
        workspace.sequencer_scene = scene


def fcurves(owner: bpy.types.ID) -> Iterator[bpy.types.FCurve]:
    """The F-curves of `owner`'s action; since 5.0 they live in the channel bag of the owner's slot."""
    data = owner.animation_data
    if data is None or data.action is None:
        return
    if hasattr(data.action, "fcurves"):
        yield from data.action.fcurves
        return
    for layer in data.action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(data.action_slot)
            if bag is not None:
                yield from bag.fcurves


def enable_nodes(material: bpy.types.Material) -> bpy.types.NodeTree:
    """The node tree of `material`, emptied; from 5.0 on every material has one."""
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material.node_tree


def user_folder(package: str) -> Path:
    """Where the add-on may write as long as the .blend has no place on disk."""
    try:
        return Path(bpy.utils.extension_path_user(package, create=True))
    except ValueError:  # run from a source tree, not installed as an extension
        return Path(bpy.utils.user_resource("DATAFILES", path="ex4d", create=True))
