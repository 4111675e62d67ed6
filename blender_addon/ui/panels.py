"""The sidebar of the 3D View and of the Sequencer, tab "EX-4D".

Each `draw_...` draws one panel's content into any layout; `PANELS` says which there are, and `CLASSES` are what
Blender registers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import bpy

from ..ui.camera_panel import draw_camera
from ..ui.cg import draw_after
from ..ui.disk import draw_disk
from ..ui.generate_panels import draw_check, draw_generate, draw_models
from ..ui.layout import Context, Layout, has_shot
from ..ui.server_panel import draw_backend
from ..ui.shots import draw_shots
from ..ui.source_panels import draw_depth, draw_elsewhere, draw_notes, draw_source, draw_source_camera, is_beside_a_shot
from ..ui.take_list import draw_settings, has_takes
from ..ui.take_panel import EX4D_UL_takes, draw_takes


@dataclass(frozen=True)
class Panel:
    """A panel of the sidebar.

    Attributes:
        label: its title.
        draw: draws its content.
        is_there: whether it is there in a scene; None where it always is.
        inside: label of the panel that it is a part of, closed at first; "" where it stands alone.
        in_sequencer: whether the Sequencer has it too.
    """

    label: str
    draw: Callable[[Layout, Context], None]
    is_there: Callable[[bpy.types.Scene], bool] | None = None
    inside: str = ""
    in_sequencer: bool = False


PANELS = (
    Panel("Shots in Other Scenes", draw_elsewhere, is_beside_a_shot, in_sequencer=True),
    Panel("Shots", draw_shots, has_shot, in_sequencer=True),
    Panel("Source", draw_source),
    Panel("Depth", draw_depth, inside="Source"),
    Panel("Source Camera", draw_source_camera, inside="Source"),
    Panel("Notes", draw_notes, has_shot, inside="Source"),
    Panel("Disk", draw_disk, has_shot, inside="Source"),
    Panel("Camera", draw_camera, has_shot),
    Panel("Check", draw_check, has_shot),
    Panel("Generate", draw_generate, has_shot, in_sequencer=True),
    Panel("Models", draw_models, has_shot, inside="Generate", in_sequencer=True),
    Panel("Takes", draw_takes, has_shot, in_sequencer=True),
    Panel("Settings of the Take", draw_settings, has_takes, inside="Takes", in_sequencer=True),
    Panel("CG and Export", draw_after, has_shot),
    Panel("Backend", draw_backend),
)


def _class_of(panel: Panel, space: str, prefix: str, order: int) -> type:
    """What Blender registers for a panel in one kind of editor."""

    def name_of(label: str) -> str:
        return prefix + label.replace(" ", "").lower()

    def poll(cls: type, context: Context) -> bool:
        return panel.is_there is None or panel.is_there(context.scene)

    members = {
        "bl_idname": name_of(panel.label),
        "bl_label": panel.label,
        "bl_space_type": space,
        "bl_region_type": "UI",
        "bl_category": "EX-4D",
        "bl_order": order,
        "poll": classmethod(poll),
        "draw": lambda self, context: panel.draw(self.layout, context),
    }
    if panel.inside:
        members |= {"bl_parent_id": name_of(panel.inside), "bl_options": {"DEFAULT_CLOSED"}}
    return type(members["bl_idname"], (bpy.types.Panel,), members)


CLASSES = (
    EX4D_UL_takes,
    *(_class_of(panel, "VIEW_3D", "EX4D_PT_", order) for order, panel in enumerate(PANELS)),
    *(
        _class_of(panel, "SEQUENCE_EDITOR", "EX4D_PT_sequencer_", order)
        for order, panel in enumerate(panel for panel in PANELS if panel.in_sequencer)
    ),
)
