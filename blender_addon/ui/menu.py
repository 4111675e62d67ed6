"""The menu Render > EX-4D: all buttons by name, so that F3 finds them in every editor."""
# ruff: noqa: N801

import bpy

TOLD_BY_PANELS = frozenset({"hide", "show_scene", "own_objects_known"})
"""Operators that mean nothing without the panel that offers them, or need a name that it gives them."""


class EX4D_MT_operators(bpy.types.Menu):
    """Everything that EX-4D can do"""

    bl_idname = "EX4D_MT_operators"
    bl_label = "EX-4D"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        draw_operators(self.layout)


def draw_operators(layout: bpy.types.UILayout) -> None:
    """All operators, by their labels."""
    names = [name for name in dir(bpy.ops.ex4d) if name not in TOLD_BY_PANELS]
    for name in sorted(names, key=lambda name: getattr(bpy.ops.ex4d, name).get_rna_type().name):
        layout.operator(f"ex4d.{name}")


def _draw_entry(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(EX4D_MT_operators.bl_idname)


CLASSES = (EX4D_MT_operators,)


def register() -> None:
    """Put the menu into Blender's."""
    bpy.types.TOPBAR_MT_render.append(_draw_entry)


def unregister() -> None:
    """Take it out again."""
    bpy.types.TOPBAR_MT_render.remove(_draw_entry)
