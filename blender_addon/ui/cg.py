"""Panel and operators for the steps after a take: rendering CG into it, and exporting to other programs."""
# ruff: noqa: N801

import bpy

from ..scene import catcher, cg
from ..shot import cg as cg_in_take
from ..translations import told
from ..ui.export_shot import EX4D_OT_export_shot
from ..ui.layout import Context, Layout, say_briefly
from ..ui.operator import Safe
from ..ui.take_operators import OnTake


class EX4D_OT_cg_set_up(OnTake):
    """Set up the scene to render your own objects into the take: the mesh occludes them and catches their shadows"""

    bl_idname = "ex4d.cg_set_up"
    bl_label = "Set Up CG"

    def act(self, context: bpy.types.Context) -> None:
        """Set it up, replacing the setup for another take."""
        taken = self.chosen(context)
        said = cg_in_take.set_up(context.scene, taken)
        self.tell(" ".join([told("CG is set up. Renders show your own objects over {take}.", take=taken.title), *said]))


class EX4D_OT_cg_remove(Safe):
    """Revert everything that Set Up CG changed; your own objects stay"""

    bl_idname = "ex4d.cg_remove"
    bl_label = "Remove CG Setup"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a CG setup."""
        return cg.is_set_up(context.scene)

    def act(self, context: bpy.types.Context) -> None:
        """Remove it."""
        cg.remove(context.scene)


def draw_cg_and_export(layout: Layout, context: Context) -> None:
    """Draw the buttons for CG and for export."""
    scene = context.scene
    if cg.is_set_up(scene):
        if catcher.is_stale(scene):
            text = told("The mesh has changed. CG was set up with the earlier one: press Set Up CG again.")
            say_briefly(layout, context, text, "ERROR")
        row = layout.row(align=True)
        row.operator(EX4D_OT_cg_set_up.bl_idname, icon="FILE_REFRESH").number = 0
        row.operator(EX4D_OT_cg_remove.bl_idname, text="Remove", icon="X")
    else:
        layout.operator(EX4D_OT_cg_set_up.bl_idname, icon="CUBE").number = 0
    layout.operator(EX4D_OT_export_shot.bl_idname, icon="EXPORT")


CLASSES = (EX4D_OT_cg_set_up, EX4D_OT_cg_remove)
