"""The user's own camera moves, stored by Blender's preset system in `scripts/presets/ex4d/camera_move`."""
# ruff: noqa: N801

import bpy
from bl_operators.presets import AddPresetBase

from ..translations import told, word

LABEL = "Saved Moves"

VALUES = ("preset", "amount", "rise", "easing", "shake", "shake_seed", "pivot")
"""Properties of `scene.ex4d` that make up a move. The preset is first, because setting it resets the amount."""


class EX4D_MT_saved_moves(bpy.types.Menu):
    """Load a saved camera move into the settings; Add Keys applies it"""

    bl_idname = "EX4D_MT_saved_moves"
    bl_label = LABEL
    preset_subdir = "ex4d/camera_move"
    preset_operator = "script.execute_preset"
    draw = bpy.types.Menu.draw_preset


class EX4D_OT_save_move(AddPresetBase, bpy.types.Operator):
    """Save these camera move settings under a name, for use in any file"""

    bl_idname = "ex4d.save_move"
    bl_label = "Save Camera Move"
    preset_menu = EX4D_MT_saved_moves.bl_idname
    preset_subdir = EX4D_MT_saved_moves.preset_subdir
    preset_defines = ("facts = bpy.context.scene.ex4d",)
    preset_values = tuple(f"facts.{name}" for name in VALUES)

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip, which depends on what the button does."""
        return (
            told("Remove the saved camera move whose name is shown")
            if properties.remove_active
            else word(cls.__doc__ or "")
        )

    def post_cb(self, context: bpy.types.Context, filepath: str) -> None:
        """Restore the menu's label, which Blender changes to "Presets" after a removal."""
        if self.remove_active or self.remove_name:
            EX4D_MT_saved_moves.bl_label = LABEL


def draw_saved_moves(layout: bpy.types.UILayout) -> None:
    """Draw the menu, and the buttons that add and remove."""
    row = layout.row(align=True)
    row.menu(EX4D_MT_saved_moves.bl_idname, text=EX4D_MT_saved_moves.bl_label)
    row.operator(EX4D_OT_save_move.bl_idname, text="", icon="ADD")
    row.operator(EX4D_OT_save_move.bl_idname, text="", icon="REMOVE").remove_active = True


CLASSES = (EX4D_MT_saved_moves, EX4D_OT_save_move)
