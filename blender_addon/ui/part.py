"""The open part of the clip: its frames and size, and the button that opens another part."""

import bpy

from .. import translations
from ..shot import estimates, part
from ..ui.clip_operators import EX4D_OT_open_again
from ..ui.estimate import draw_estimate
from ..ui.layout import settings_column
from ..words import capitalised, count
from ..work import session


def draw_opened(layout: bpy.types.UILayout, facts: bpy.types.PropertyGroup) -> None:
    """Draw two lines about the clip and its open part."""
    column = layout.column(align=True)
    rate = translations.told("{rate:.5g} fps", rate=float(facts.fraction))
    column.label(text=f"{bpy.path.basename(facts.opened)}, {rate}", icon="CHECKMARK", translate=False)
    if part.is_known(facts):  # if not, `checks.clip_trouble` says so
        told = part.told(part.opened(facts), facts.clip_frames)
        text = f"{capitalised(told)}, {facts.width}x{facts.height} px"
        column.label(text=text, icon="BLANK1", translate=False)


def draw_part(layout: bpy.types.UILayout, facts: bpy.types.PropertyGroup) -> None:
    """Draw the fields for another part, and the button that opens it once they are changed."""
    if not part.is_known(facts):
        return
    stands, wanted = part.opened(facts), part.asked(facts)
    column = settings_column(layout, align=True)
    for name in ("part_first", "part_frames", "part_side"):
        column.prop(facts, name)
    if wanted == stands or session.current().state.busy:
        return
    if wanted.longest_side != stands.longest_side:
        text = translations.told(
            "Open at {width}x{height} px", **dict(zip(("width", "height"), part.size(facts, wanted), strict=True))
        )
    elif wanted.frames == facts.clip_frames:
        text = translations.told("Open All {frames}", frames=count(wanted.frames, "Frame"))
    else:
        told = part.told(wanted, facts.clip_frames)
        text = translations.told("Open {frames}", frames=capitalised(told))
    layout.operator(EX4D_OT_open_again.bl_idname, text=text, icon="FILE_REFRESH")
    draw_estimate(layout, estimates.of_part(facts, wanted))
