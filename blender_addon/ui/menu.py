"""Menu entries: Render > EX-4D with all operators, so that F3 finds them in every editor, and File > Import."""
# ruff: noqa: N801

import bpy

from ..ui import drop

TOLD_BY_PANELS = frozenset(
    {
        *("hide", "show_scene", "own_objects_known", "drop_footage", "details", "use_server", "forget_server"),
        *("queue_first", "other_fetch", "other_cancel"),
    }
)
"""Operators that need properties passed by a panel, or by a drop."""


class EX4D_MT_operators(bpy.types.Menu):
    """All EX-4D operators"""

    bl_idname = "EX4D_MT_operators"
    bl_label = "EX-4D"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the operators."""
        draw_operators(self.layout)


def draw_operators(layout: bpy.types.UILayout) -> None:
    """Draw all operators, sorted by label."""
    names = [name for name in dir(bpy.ops.ex4d) if name not in TOLD_BY_PANELS]
    for name in sorted(names, key=lambda name: getattr(bpy.ops.ex4d, name).get_rna_type().name):
        layout.operator(f"ex4d.{name}")


def _draw_entry(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(EX4D_MT_operators.bl_idname)


def _draw_import(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator_context = "INVOKE_DEFAULT"
    self.layout.operator("ex4d.open_clip", text=drop.LABEL)


CLASSES = (EX4D_MT_operators,)


def register() -> None:
    """Add the entries to Blender's menus."""
    bpy.types.TOPBAR_MT_file_import.append(_draw_import)
    bpy.types.TOPBAR_MT_render.append(_draw_entry)


def unregister() -> None:
    """Remove them."""
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import)
    bpy.types.TOPBAR_MT_render.remove(_draw_entry)
