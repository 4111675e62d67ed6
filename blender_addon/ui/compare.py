"""Compare: a take with the source, a path preview or another take, in the sequencer's preview."""
# ruff: noqa: N801

import bpy
from bpy.props import EnumProperty

from ..scene import comparison, compat
from ..shot import compare, takes
from ..translations import told
from ..ui.layout import Context, Layout, settings_column
from ..ui.take_operators import OnTake


class EX4D_OT_compare(OnTake):
    """Compare the take with the choice under Compare With; Single ends the comparison. Other strips stay as they are"""

    bl_idname = "ex4d.compare"
    bl_label = "Compare"

    mode: EnumProperty(
        name="Mode",
        description="How to show the two videos",
        items=(
            (comparison.SINGLE, "Single", "Only the take; the comparison strips are removed"),
            (
                compare.WIPE,
                "Wipe",
                "The other video to the left of a line and the take to its right; the Wipe setting moves the line",
            ),
            (compare.SIDE_BY_SIDE, "Side by Side", "Both next to each other, each as large as fits"),
        ),
        default=compare.WIPE,
    )

    def act(self, context: bpy.types.Context) -> None:
        """Arrange the strips."""
        scene = context.scene
        if self.mode == comparison.SINGLE:
            comparison.clear(scene)
        else:
            pictures = compare.sides(scene, self.chosen(context), scene.ex4d.compare_with)
            rendered = takes.keep_rendering_the_scene(scene)
            compare.arrange(scene, self.mode, pictures)
            names = " | ".join(side.name for side in pictures)
            said = told("Side by Side is on. The sequencer shows {names}.", names=names)
            if self.mode == compare.WIPE:
                said = told("Wipe is on. The sequencer shows {names}.", names=names)
            self.tell(f"{said} {rendered}".rstrip())
        if context.window is not None:
            compat.show_in_sequencer(scene, [context.window.workspace])
            for area in context.window.screen.areas:
                if area.type == "SEQUENCE_EDITOR":
                    area.spaces.active.display_channel = 0


def draw_compare(layout: Layout, context: Context) -> None:
    """Draw the mode, what to compare with, and the position of the wipe."""
    facts, mode = context.scene.ex4d, comparison.mode_of(context.scene)
    row = layout.row(align=True)
    for value, label in ((comparison.SINGLE, "Single"), (compare.WIPE, "Wipe"), (compare.SIDE_BY_SIDE, "Side by Side")):
        row.operator(EX4D_OT_compare.bl_idname, text=label, depress=mode == value).mode = value
    column = settings_column(layout)
    column.prop(facts, "compare_with")
    if mode == compare.WIPE:
        column.prop(facts, "wipe")


CLASSES = (EX4D_OT_compare,)
