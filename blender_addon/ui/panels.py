"""The sidebar of the 3D View and of the Sequencer, tab "EX-4D".

Each `draw_...` draws one panel's content into any layout; `PANELS` lists the panels, and `CLASSES` what Blender
registers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import bpy

from ..ui.camera_panel import draw_camera, draw_camera_tools, draw_move
from ..ui.cg import draw_cg_and_export
from ..ui.disk import draw_disk
from ..ui.generate_panels import draw_check, draw_generate, draw_generator, draw_models
from ..ui.layout import Context, Layout, draw_status, has_shot
from ..ui.server_panel import draw_server
from ..ui.shots import draw_shots
from ..ui.source_panels import (
    draw_depth,
    draw_elsewhere,
    draw_frames,
    draw_notes,
    draw_source,
    draw_source_camera,
    is_beside_a_shot,
)
from ..ui.take_list import draw_settings, has_takes
from ..ui.take_panel import EX4D_UL_takes, draw_takes


@dataclass(frozen=True)
class Panel:
    """A panel of the sidebar.

    Attributes:
        label: title.
        draw: function that draws the content.
        is_there: function that says whether a scene has the panel; None if every scene does.
        inside: label of the parent panel, in which it is closed at first; "" if there is none.
        in_sequencer: whether the Sequencer has it, too.
        closed: whether it is closed at first, as all child panels are.
        bare: whether it has no title and cannot be closed.
    """

    label: str
    draw: Callable[[Layout, Context], None]
    is_there: Callable[[bpy.types.Scene], bool] | None = None
    inside: str = ""
    in_sequencer: bool = False
    closed: bool = False
    bare: bool = False


PANELS = (
    Panel("Status", draw_status, in_sequencer=True, bare=True),
    Panel("Shots in Other Scenes", draw_elsewhere, is_beside_a_shot, in_sequencer=True),
    Panel("Shots", draw_shots, has_shot, in_sequencer=True, closed=True),
    Panel("Source", draw_source),
    Panel("Frames and Size", draw_frames, has_shot, inside="Source"),
    Panel("Depth", draw_depth, inside="Source"),
    Panel("Source Camera", draw_source_camera, inside="Source"),
    Panel("Camera", draw_camera, has_shot),
    Panel("Move", draw_move, has_shot, inside="Camera"),
    Panel("Tools", draw_camera_tools, has_shot, inside="Camera"),
    Panel("Generate", draw_generate, has_shot, in_sequencer=True),
    Panel("Generator", draw_generator, has_shot, inside="Generate", in_sequencer=True),
    Panel("Models", draw_models, has_shot, inside="Generate", in_sequencer=True),
    Panel("Check", draw_check, has_shot),  # varies in height, so it is below the buttons
    Panel("Takes", draw_takes, has_shot, in_sequencer=True),
    Panel("Take Settings", draw_settings, has_takes, inside="Takes", in_sequencer=True),
    Panel("CG and Export", draw_cg_and_export, has_shot, closed=True),
    Panel("Notes", draw_notes, has_shot, closed=True),
    Panel("Disk", draw_disk, has_shot, closed=True),
    Panel("Server", draw_server, closed=True),
)


def _class_of(panel: Panel, space: str, prefix: str, order: int) -> type:
    """The class that Blender registers for a panel in one type of editor."""

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
        members["bl_parent_id"] = name_of(panel.inside)
    if panel.inside or panel.closed:
        members["bl_options"] = {"DEFAULT_CLOSED"}
    elif panel.bare:
        members["bl_options"] = {"HIDE_HEADER"}
    return type(members["bl_idname"], (bpy.types.Panel,), members)


CLASSES = (
    EX4D_UL_takes,
    *(_class_of(panel, "VIEW_3D", "EX4D_PT_", order) for order, panel in enumerate(PANELS)),
    *(
        _class_of(panel, "SEQUENCE_EDITOR", "EX4D_PT_sequencer_", order)
        for order, panel in enumerate(panel for panel in PANELS if panel.in_sequencer)
    ),
)
