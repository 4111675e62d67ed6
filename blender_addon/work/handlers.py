"""Handlers for loading and saving files, for undo, and for renders."""

import bpy
from bpy.app.handlers import persistent

from ex4d.errors import EX4DError

from ..scene import comparison
from ..shot import copies, saving
from ..work import session, state


@persistent
def load_pre(*_: object) -> None:
    """Let go of the old file's job."""
    session.current().leave_file()


@persistent
def load_post(*_: object) -> None:
    """Bring the new file up to date and follow its job."""
    copies.claim_all()
    session.current().enter_file()


@persistent
def save_pre(path: str, *_: object) -> None:
    """Bring shots that are elsewhere next to the file, as links or copies."""
    if not path:
        return
    here = session.current()
    try:
        here.settled = saving.settle(path)
        here.dispatch(state.Said(here.settled.told))
    except EX4DError as error:
        here.settled = None
        here.dispatch(state.Said(str(error), failed=True))


@persistent
def save_post(path: str, *_: object) -> None:
    """Finish what `save_pre` did, or undo it after Save Copy, which leaves the open file as it was."""
    here = session.current()
    settled, here.settled = here.settled, None
    if settled is None:
        return
    if saving.is_same_file(settled.blend, bpy.data.filepath):
        settled.leave()
    else:
        settled.take_back()


@persistent
def save_post_fail(path: str, *_: object) -> None:
    """Correct the paths of the file that stays open."""
    if path:
        saving.mend(path)


@persistent
def undo_post(*_: object) -> None:
    """Write the state back into the scene: undo does not stop the server."""
    session.current().after_undo()


@persistent
def render_init(scene: bpy.types.Scene, *_: object) -> None:
    """Hide the comparison strips from the render."""
    comparison.hide_from_render(scene)


@persistent
def render_end(scene: bpy.types.Scene, *_: object) -> None:
    """Show the comparison strips again."""
    comparison.show_after_render(scene)


HANDLERS = (
    (bpy.app.handlers.load_pre, load_pre),
    (bpy.app.handlers.load_post, load_post),
    (bpy.app.handlers.save_pre, save_pre),
    (bpy.app.handlers.save_post, save_post),
    (bpy.app.handlers.save_post_fail, save_post_fail),
    (bpy.app.handlers.undo_post, undo_post),
    (bpy.app.handlers.redo_post, undo_post),
    (bpy.app.handlers.render_init, render_init),
    (bpy.app.handlers.render_complete, render_end),
    (bpy.app.handlers.render_cancel, render_end),
)


def register() -> None:
    """Add the handlers, the overlay and the timers."""
    for handlers, function in HANDLERS:
        handlers.append(function)
    session.current().overlay.add()
    bpy.app.timers.register(session.timer, persistent=True)
    bpy.app.timers.register(session.looking_timer, persistent=True)


def unregister() -> None:
    """Remove them: Blender crashes on exit if one is left."""
    session.current().overlay.remove()
    for timer in (session.timer, session.looking_timer):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    for handlers, function in reversed(HANDLERS):
        handlers.remove(function)
