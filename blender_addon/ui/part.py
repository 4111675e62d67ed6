"""The part of the clip in the Source panel: which frames stand, in which size, and opening others with one click."""

import bpy

from ..shot import estimates, part
from ..ui.clip_operators import EX4D_OT_open_again
from ..ui.estimate import draw_estimate
from ..words import count
from ..work import session


def draw_part(layout: bpy.types.UILayout, facts: bpy.types.PropertyGroup) -> None:
    """What is open of the clip, fields to change it, and the button that does so once they are changed."""
    column = layout.column(align=True)
    column.label(text=bpy.path.basename(facts.opened), icon="CHECKMARK")
    if not part.is_known(facts):  # which `checks.clip_trouble` tells
        return
    stands, wanted = part.opened(facts), part.asked(facts)
    told = part.told(stands, facts.clip_frames)
    column.label(text=f"{told[0].upper()}{told[1:]}, {facts.width}x{facts.height}", icon="BLANK1")
    column.label(text=f"{float(facts.fraction):.5g} frames a second", icon="BLANK1")
    column = layout.column(align=True)
    column.use_property_split, column.use_property_decorate = True, False
    for name in ("part_first", "part_frames", "part_side"):
        column.prop(facts, name)
    if wanted == stands or session.current().state.busy:
        return
    if wanted.longest_side != stands.longest_side:
        text = "Open at {}x{}".format(*part.size(facts, wanted))
    elif wanted.frames == facts.clip_frames:
        text = f"Open All {count(wanted.frames, 'Frame')}"
    else:
        told = part.told(wanted, facts.clip_frames)
        text = f"Open {told[0].upper()}{told[1:]}"
    layout.operator(EX4D_OT_open_again.bl_idname, text=text, icon="FILE_REFRESH")
    draw_estimate(layout, estimates.of_part(facts, wanted))
