"""What all operators of the add-on share: when they can run, and how errors are reported.

`invoke` (from the panel) returns at once; `execute` (from scripts) returns when everything is done.
"""
# ruff: noqa: RUF012

import bpy

from ex4d.errors import EX4DError

from ..shot import estimates
from ..translations import told
from ..work import queue, requests, session, state


def linked(scene: bpy.types.Scene) -> str:
    """Why nothing can be done in a scene linked from another file, where changes are never saved; "" for others."""
    if scene.library is None:
        return ""
    name = bpy.path.basename(scene.library.filepath)
    return told("The scene is linked from {name}: open that file, or append the scene instead", name=name)


def poll_own(cls: type, context: bpy.types.Context) -> bool:
    """For `poll`: whether the scene belongs to this file."""
    if why := linked(context.scene):
        cls.poll_message_set(why)
        return False
    return True


def poll_idle(cls: type, context: bpy.types.Context) -> bool:
    """For `poll`: whether nothing is under way."""
    if session.current().state.busy:
        cls.poll_message_set(told("EX-4D is busy: wait, or press Cancel"))
        return False
    return True


def poll_open(cls: type, context: bpy.types.Context) -> bool:
    """For `poll`: whether a clip can be opened, in a scene of this file."""
    if not poll_own(cls, context):
        return False
    now = session.current()
    if not queue.may_open(now.state, now.queue):
        cls.poll_message_set(told("EX-4D is busy: wait, or press Cancel"))
        return False
    return True


def poll_takes(cls: type, context: bpy.types.Context) -> bool:
    """For `poll`: whether a take can be requested, which may have to wait for others."""
    if not queue.may_ask_for_takes(session.current().state):
        cls.poll_message_set(told("EX-4D is opening a clip: wait, or press Cancel"))
        return False
    return True


def poll_shot(cls: type, context: bpy.types.Context) -> bool:
    """For `poll`: whether the scene belongs to this file and has a shot."""
    if not poll_own(cls, context):
        return False
    if not context.scene.ex4d.shot:
        cls.poll_message_set(told("Open a clip first"))
        return False
    return True


class Safe(bpy.types.Operator):
    """Base of operators: an error that the user can act on becomes a report and the panel's message."""

    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Run `act`, and report errors that a user can act on."""
        session.current().enter_file()
        session.current().settle_copies()
        try:
            done = self.act(context) or {"FINISHED"}
        except (EX4DError, OSError) as error:
            said = session.current().on_timeline(str(error))
            session.current().dispatch(state.Said(said, failed=True))
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        if not isinstance(self, Job):
            session.current().dispatch(state.Said(""))
        return done

    def tell(self, text: str) -> None:
        """Show a message in the panel and in Blender's status bar."""
        session.current().dispatch(state.Said(text))
        self.report({"INFO"}, text)


class Job(Safe):
    """Base of operators that send a job to the server; its result makes an undo step of its own when it arrives."""

    bl_options = {"REGISTER"}
    from_panel = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a scene of this file, and nothing under way."""
        return poll_own(cls, context) and poll_idle(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start the job and return."""
        self.from_panel = True
        return self.execute(context)

    def begin(self, context: bpy.types.Context) -> None:
        """Start the job that `request` describes, and show an estimate."""
        request, now = self.request(context), session.current()
        waits = now.state.busy and isinstance(request, requests.TakeRequest)
        now.press(request)
        if waits:
            now.dispatch(state.Said(queue.told(now.state, now.queue)))
        elif not now.state.message:
            now.dispatch(state.Said(estimates.told_at_start(request)))

    def act(self, context: bpy.types.Context) -> set[str]:
        """Start the job; for scripts, also wait until it ends."""
        self.begin(context)
        if self.from_panel:
            return {"FINISHED"}
        ended, lost = session.current().finish(), session.current().queue.lost
        failed = ended.failed or bool(lost)
        self.report({"ERROR"} if failed else {"INFO"}, " ".join([*lost, ended.message]))
        return {"CANCELLED"} if failed else {"FINISHED"}
