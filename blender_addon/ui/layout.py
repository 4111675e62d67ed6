"""Pieces shared by several panels."""

import textwrap

import bpy

from ..shot import checks, proxies
from ..translations import told
from ..ui.details import BESIDE_A_BUTTON, EX4D_OT_details, draw_line
from ..ui.generate_operators import EX4D_OT_cancel
from ..words import brief, count, how_far, pace, seconds
from ..work import session

Layout, Context = bpy.types.UILayout, bpy.types.Context


def has_shot(scene: bpy.types.Scene) -> bool:
    """Whether a clip is open in the scene."""
    return bool(scene.ex4d.shot)


def characters(context: Context) -> int:
    """Number of characters that fit on a line of the sidebar."""
    return max(18, int(context.region.width / (6.6 * context.preferences.system.ui_scale)) - 9)


def say(layout: Layout, context: Context, text: str, icon: str = "NONE") -> None:
    """Draw a sentence, wrapped to the sidebar's width."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, characters(context))):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def say_briefly(layout: Layout, context: Context, text: str, icon: str = "INFO") -> None:
    """Draw a message on one line; a click shows all of it."""
    draw_line(layout, text, icon, brief(text, characters(context)))


def advise(layout: Layout, context: Context, advice: checks.Advice) -> None:
    """Draw a warning on one line, with its button."""
    icon = "ERROR" if advice.operator else "INFO"
    room = characters(context) * (BESIDE_A_BUTTON if advice.operator else 1)
    short = advice.short or brief(advice.text, int(room))
    draw_line(layout, advice.text, icon, short, advice.operator, dict(advice.settings), advice.label)


def settings_column(layout: Layout, align: bool = False) -> Layout:
    """A column for properties with their names next to them; `align` leaves no gaps."""
    column = layout.column(align=align)
    column.use_property_split, column.use_property_decorate = True, False
    return column


def draw_status(layout: Layout, context: Context) -> None:
    """Draw the progress of the work under way, or the last message. Always two lines, so that no button below moves."""
    now = session.current().state
    column = layout.box().column(align=True)
    if now.busy:
        row = column.row(align=True)
        text = how_far(now.stage, now.step, now.steps)
        row.progress(factor=now.step / now.steps if now.steps else 0.0, text=text)
        trouble, details = checks.server_trouble(), _while_busy()
        if now.message and (trouble or details):  # the estimate, or the previous result
            row.operator(EX4D_OT_details.bl_idname, text="", icon="INFO").text = now.message
        row.operator(EX4D_OT_cancel.bl_idname, text="", icon="CANCEL")
        if trouble is not None:
            advise(column, context, trouble)
        elif details:
            column.label(text=", ".join(details), icon="BLANK1", translate=False)
        elif now.message:
            _draw_message(column, context)
        else:
            column.label(text="")
    elif now.message:
        _draw_message(column, context)
        _draw_server(column, context)
    else:
        column.label(text="Ready" if has_shot(context.scene) else "Open a clip to begin", icon="INFO")
        _draw_server(column, context)


def _while_busy() -> list[str]:
    """The place in the queue, or the remaining time and the pace, as far as known."""
    now = session.current().state
    if now.ahead is not None:
        return [
            told("{jobs} ahead of this one", jobs=count(now.ahead, "job")) if now.ahead else told("Next in the queue")
        ]
    left = [told("A proxy is shown until the take is here")] if now.proxy and proxies.is_shown() else []
    left += [told("{time} left", time=seconds(now.eta_s))] if now.eta_s else []
    return left + ([pace(now.stage, now.rate)] if now.rate else [])


def _draw_message(column: Layout, context: Context) -> None:
    """Draw the first sentence of the message; a click shows the rest."""
    now = session.current().state
    draw_line(column, now.message, "ERROR" if now.failed else "INFO", brief(now.message, characters(context)))


def _draw_server(column: Layout, context: Context) -> None:
    """Draw the state of the server."""
    here, trouble = session.current(), checks.server_trouble()
    if trouble is not None:
        advise(column, context, trouble)
    elif here.capabilities is not None:
        name = here.hosts.name
        column.label(text=told("{name} is ready", name=name) if name else told("Server is ready"), icon="LINKED")
    elif here.hosts.name:
        column.label(text=told("Connecting to {name}", name=here.hosts.name), icon="UNLINKED")
    else:
        column.label(text="Server starts when needed" if here.server_python else "No server yet", icon="UNLINKED")
