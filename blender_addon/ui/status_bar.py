"""What is under way, at the end of Blender's status bar: seen in every workspace, with the sidebar closed too."""

import bpy

from .. import translations
from ..ui.server_setup import chore_told
from ..words import how_far, seconds
from ..work import session


def told() -> str:
    """What is under way; "" where nothing is."""
    here = session.current()
    now, set_up, fetch = here.state, here.environment, here.model_fetch
    if now.busy:
        left = translations.told(", {time} left", time=seconds(now.eta_s)) if now.eta_s else ""
        return f"EX-4D: {how_far(now.stage, now.step, now.steps)}{left}"
    for chore in (set_up, fetch):
        if chore.busy:
            return f"EX-4D: {chore_told(chore)}"
    return ""


def _draw(self: bpy.types.Header, context: bpy.types.Context) -> None:
    text = told()
    if text:
        self.layout.label(text=text, icon="TIME", translate=False)


def redraw() -> None:
    """Let the status bars be drawn again.

    They are no areas that could be tagged. Taking away a text that is not there draws them, but would also take away
    the hints of a tool that is being used, such as Move.
    """
    for window in bpy.context.window_manager.windows:
        if not len(window.modal_operators):
            window.workspace.status_text_set_internal(None)


def register() -> None:
    """Put it into the status bar."""
    bpy.types.STATUSBAR_HT_header.append(_draw)


def unregister() -> None:
    """Take it out again."""
    bpy.types.STATUSBAR_HT_header.remove(_draw)
