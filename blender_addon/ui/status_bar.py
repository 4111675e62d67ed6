"""Progress at the end of Blender's status bar, visible in every workspace, even with the sidebar closed."""

import bpy

from .. import translations
from ..ui.server_setup import chore_told
from ..words import how_far, seconds
from ..work import session


def told() -> str:
    """The work under way and its progress; "" if there is none."""
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
    """Redraw the status bars.

    They are not areas that could be tagged. Clearing their text, even if there is none, redraws them, but would also
    clear the hints of a running tool, such as Move.
    """
    for window in bpy.context.window_manager.windows:
        if not len(window.modal_operators):
            window.workspace.status_text_set_internal(None)


def register() -> None:
    """Add the progress to the status bar."""
    bpy.types.STATUSBAR_HT_header.append(_draw)


def unregister() -> None:
    """Remove it."""
    bpy.types.STATUSBAR_HT_header.remove(_draw)
