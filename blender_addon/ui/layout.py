"""Pieces that several panels draw."""

import textwrap

import bpy

from ..shot import checks
from ..ui.generate_operators import EX4D_OT_cancel
from ..words import pace, seconds
from ..work import session

Layout, Context = bpy.types.UILayout, bpy.types.Context


def has_shot(scene: bpy.types.Scene) -> bool:
    """Whether a clip is open in the scene."""
    return bool(scene.ex4d.shot)


def say(layout: Layout, context: Context, text: str, icon: str = "NONE") -> None:
    """A sentence over as many lines as the sidebar's width needs."""
    scale = context.preferences.system.ui_scale
    characters = max(18, int(context.region.width / (6.6 * scale)) - 9)
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, characters)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def advise(layout: Layout, context: Context, advice: checks.Advice) -> None:
    """A warning and its button."""
    box = layout.box()
    say(box, context, advice.text, "ERROR" if advice.operator else "INFO")
    if advice.operator:
        button = box.operator(advice.operator, text=advice.label)
        for name, value in advice.settings:
            setattr(button, name, value)


def settings_column(layout: Layout) -> Layout:
    """A column of properties with their names beside them."""
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    return column


def draw_progress(layout: Layout, context: Context) -> None:
    """What was said last, and where the work under way stands, with Cancel."""
    now, picture = session.current().state, session.current().picture
    if now.message:
        say(layout, context, now.message, "ERROR" if now.failed else "INFO")
    if now.busy:
        column = layout.column(align=True)
        share = now.step / now.steps if now.steps else 0.0
        counted = f" {now.step}/{now.steps}" if now.steps else ""
        column.progress(factor=share, text=f"{now.stage}{counted}")
        details = [pace(now.rate)] if now.rate else []
        details += [f"{seconds(now.eta_s)} left"] if now.eta_s else []
        if details:
            column.label(text=", ".join(details))
        if picture.icon:
            layout.template_icon(icon_value=picture.icon, scale=8)
        layout.operator(EX4D_OT_cancel.bl_idname, icon="CANCEL")


def draw_trouble(layout: Layout, context: Context) -> None:
    """What is wrong with the connection, with Start Server; nothing where all is well."""
    trouble = checks.server_trouble()
    if trouble is not None:
        advise(layout, context, trouble)
