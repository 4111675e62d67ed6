"""Panels of the camera that takes are made with."""

from ex4d.geometry.presets import RISING

from ..scene import backdrop
from ..shot import checks
from ..ui import view
from ..ui.camera_operators import (
    EX4D_OT_camera_preset,
    EX4D_OT_export_path,
    EX4D_OT_import_path,
    EX4D_OT_new_camera,
    EX4D_OT_snap_to_source,
)
from ..ui.layout import Context, Layout, advise, settings_column
from ..ui.saved_moves import VALUES, draw_saved_moves

IN_DEGREES = RISING | {"arc"}
"""Presets whose amount is an angle; the amount of others is a fraction of the distance to their pivot."""


def draw_camera(layout: Layout, context: Context) -> None:
    """Draw the choice of the camera that takes are made with, and a preset for it."""
    facts = context.scene.ex4d
    row = layout.row(align=True)
    row.prop(facts, "camera", text="")
    row.operator(EX4D_OT_new_camera.bl_idname, text="", icon="ADD")
    column = layout.column(align=True)
    column.prop(facts, "preset", text="")
    amount = column.row(align=True)
    if trouble := checks.rig_trouble(context.scene):  # replaces a field that would not be used, so that nothing moves
        advise(amount, context, trouble)
    else:
        amount.active = facts.preset != "hold"
        amount.prop(facts, "amount", text="Amount (°)" if facts.preset in IN_DEGREES else "Amount (× distance)")
    keys = column.operator(EX4D_OT_camera_preset.bl_idname, icon="KEYINGSET")
    for name in VALUES:
        setattr(keys, name, getattr(facts, name))


def draw_move(layout: Layout, context: Context) -> None:
    """Draw the finer settings of a preset."""
    draw_saved_moves(layout)
    facts, column = context.scene.ex4d, settings_column(layout)
    column.prop(facts, "pivot")
    rise = column.row(align=True)
    rise.active = facts.preset in RISING
    rise.prop(facts, "rise")
    column.prop(facts, "easing")
    column.prop(facts, "shake")
    seed = column.row(align=True)
    seed.active = facts.shake > 0
    seed.prop(facts, "shake_seed")


def draw_camera_tools(layout: Layout, context: Context) -> None:
    """Draw further tools for the camera and the view."""
    facts = context.scene.ex4d
    layout.operator(EX4D_OT_snap_to_source.bl_idname, icon="SNAP_ON").at = "CURRENT"
    row = layout.row(align=True)
    row.operator(EX4D_OT_import_path.bl_idname, text="Import", icon="IMPORT")
    row.operator(EX4D_OT_export_path.bl_idname, text="Export", icon="EXPORT")
    looks = view.looks_through_source(context.scene, context.space_data)
    layout.operator(view.EX4D_OT_look_through_source.bl_idname, icon="VIEW_CAMERA", depress=looks)
    row = layout.row(align=True)
    row.operator(view.EX4D_OT_show_footage.bl_idname, text="Footage", icon="SHADING_TEXTURE").shading = "MATERIAL"
    row.operator(view.EX4D_OT_show_footage.bl_idname, text="Footage (Fast)", icon="SHADING_SOLID").shading = "SOLID"
    chosen = facts.camera
    if chosen is not None and backdrop.is_tinted(chosen.data):
        layout.prop(chosen.data, "show_background_images", text="Tint Outside the Mesh")
    else:
        layout.operator(view.EX4D_OT_tint_outside.bl_idname)
