"""Panel of takes."""
# ruff: noqa: N801

import json
from dataclasses import dataclass

import bpy

from ex4d.jobs.messages import GeneratorInfo

from ..shot import estimates
from ..translations import told
from ..ui import result
from ..ui.compare import draw_compare
from ..ui.estimate import draw_estimate_of
from ..ui.layout import Context, Layout
from ..ui.properties import EX4DTake
from ..ui.source_strip import EX4D_OT_source_strip
from ..ui.take_list import EX4D_OT_takes_list, draw_entry, draw_facts, draw_removing
from ..ui.take_operators import EX4D_OT_take_again, EX4D_OT_take_restore_camera, EX4D_OT_take_select
from ..work import capabilities, session


def draw_takes(layout: Layout, context: Context) -> None:
    """Draw the list of takes, and what can be done with the active one."""
    facts = context.scene.ex4d
    if not facts.takes:
        layout.label(text="No takes yet")
        layout.operator(EX4D_OT_takes_list.bl_idname, icon="FILE_FOLDER")
        return
    layout.template_list("EX4D_UL_takes", "", facts, "takes", facts, "take_index", rows=3)
    active = facts.active_take
    if active is not None:
        draw_facts(layout, context, active)
        draw_entry(layout, active)
    if active is not None and active.camera:
        layout.label(text=active.camera, icon="CAMERA_DATA")
    layout.operator(result.EX4D_OT_show_result.bl_idname, icon="PLAY").number = 0
    draw_compare(layout, context)
    layout.operator(EX4D_OT_source_strip.bl_idname, icon="SOUND")
    layout.operator(EX4D_OT_take_restore_camera.bl_idname, icon="CAMERA_DATA").number = 0
    row = layout.row(align=True)
    row.enabled = active is not None and not active.view
    row.operator(EX4D_OT_take_again.bl_idname, icon="FILE_REFRESH").number = 0
    better = better_than(active) if active is not None else None
    if better is not None:
        again = row.operator(EX4D_OT_take_again.bl_idname, text=better.label)
        again.number, again.generator, again.options = 0, better.generator, better.options
    if active is not None and active.generator and not session.current().state.busy:
        column = layout.column(align=True)
        same = estimates.of_again(facts, active, active.generator, active.quality)
        draw_estimate_of(column, EX4D_OT_take_again.bl_label, same)
        if better is not None:
            quality = json.loads(better.options or "{}").get("quality", "")
            draw_estimate_of(column, better.label, estimates.of_again(facts, active, better.generator, quality))
    draw_removing(layout)


@dataclass(frozen=True)
class Better:
    """A better way to remake a take: label of the button, and values of Take Again's properties."""

    label: str
    generator: str
    options: str


def better_than(take: EX4DTake) -> Better | None:
    """How to remake a take better: with its generator's best quality or, for a preview, the server's best generator.

    None if there is no better way.
    """
    server = session.current().capabilities
    if server is None or take.view:
        return None
    info = capabilities.find(take.generator, server.generators)
    if info is None or info.is_preview:
        info = capabilities.generator_for(capabilities.AUTO, server).info
    if info is None or info.is_preview or info.missing:
        return None
    best = _best_quality(info)
    if best is None:
        return None if info.name == take.generator else Better(told("With {title}", title=info.title), info.name, "")
    if info.name == take.generator and take.quality == best[0]:
        return None
    return Better(told("As {quality}", quality=best[1]), info.name, json.dumps({"quality": best[0]}))


def _best_quality(info: GeneratorInfo) -> tuple[str, str] | None:
    """Value and label of the first choice of a generator's setting "quality"; None if it has no such setting."""
    quality = next((setting for setting in info.settings if setting.name == "quality" and setting.choices), None)
    return None if quality is None else (quality.choices[0].value, quality.choices[0].label)


class EX4D_UL_takes(bpy.types.UIList):
    """Takes of the shot, one per row"""

    def draw_item(
        self,
        context: Context,
        layout: Layout,
        data: bpy.types.AnyType,
        item: bpy.types.AnyType,
        icon: int,
        active_data: bpy.types.AnyType,
        active_property: str,
    ) -> None:
        """Draw the star, the title, and a button that selects the strip."""
        row = layout.row(align=True)
        row.prop(item, "favourite", text="", icon="SOLO_ON" if item.favourite else "SOLO_OFF", emboss=False)
        row.prop(item, "title", text="", emboss=False)
        button = row.operator(EX4D_OT_take_select.bl_idname, text="", icon="RESTRICT_SELECT_OFF", emboss=False)
        button.number, button.view = item.number, item.view


CLASSES = (EX4D_UL_takes,)
