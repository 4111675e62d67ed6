"""Jobs of the same user's other Blenders: listing them, fetching a finished take, and cancelling."""
# ruff: noqa: N801, RUF012

import bpy
from bpy.props import StringProperty

from ex4d.errors import InputError

from ..translations import told, word
from ..ui.layout import Context, Layout
from ..ui.operator import Job, Safe
from ..words import capitalised, count, how_far, titled
from ..work import requests, session
from ..work.others import Other


def _found(job_id: str) -> Other:
    """The job of another Blender with this id.

    Raises:
        InputError: the server does not list it.
    """
    now = session.current()
    found = next((each for each in now.others.of(now.client) if each.entry.job_id == job_id), None)
    if found is None:
        raise InputError(told("This job is not on the server any more."))
    return found


class OnOther:
    """Base of operators on a job of another Blender."""

    job_id: StringProperty(name="Job", description="The server's name for the job", options={"SKIP_SAVE", "HIDDEN"})


class EX4D_OT_other_fetch(OnOther, Job):
    """Fetch this take into its shot if the shot is open here, otherwise into a folder. The Blender that asked for it must be closed"""  # noqa: E501 - the tooltip

    bl_idname = "ex4d.other_fetch"
    bl_label = "Fetch Take"

    def begin(self, context: bpy.types.Context) -> None:
        """Request the take."""
        other, scene = _found(self.job_id), context.scene
        if other.state != "done":
            raise InputError(told("This take is not finished."))
        if other.entry.followed:
            raise InputError(told("The Blender that asked for this take is still open and will receive it."))
        session.current().press(
            requests.FetchRequest(scene.name, other.entry.shot, self.job_id, other.entry.file, scene.session_uid)
        )


class EX4D_OT_other_cancel(OnOther, Safe):
    """Cancel this job of another Blender, or discard the take that it left on the server"""

    bl_idname = "ex4d.other_cancel"
    bl_label = "Cancel in Another Blender"
    bl_options = {"REGISTER"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for confirmation."""
        try:
            other = _found(self.job_id)
        except InputError:  # reported by `execute`
            return self.execute(context)
        message = told("{job}. Cancel it? Another Blender asked for it.", job=told_of(other))
        if other.state == "done":
            message = told("{job}. Discard it? It will not be offered again.", job=told_of(other))
        return context.window_manager.invoke_confirm(self, event, title=self.bl_label, message=message)

    def act(self, context: bpy.types.Context) -> None:
        """Ask the server to cancel or discard it."""
        other, now = _found(self.job_id), session.current()
        if other.state == "done":
            now.connect().forget_result(self.job_id)
        else:
            now.connect().stop(self.job_id)
        now.others.ask_soon()
        # The result is known once the server answers: the job leaves the list, or the session shows why not.
        said = told("{job}: asked the server to discard it.", job=told_of(other)) if other.state == "done" else ""
        self.tell(said or told("{job}: asked the server to cancel it.", job=told_of(other)))


def told_of(other: Other) -> str:
    """A job in a few words: its file, what is made, and its progress."""
    entry = other.entry
    if other.state == "running":
        far = how_far(titled(entry.stage), entry.step, entry.steps) if entry.stage else word("Running")
    else:
        far = word("waiting") if other.state == "waiting" else word("finished")
    kinds = {"reconstruct": word("opening a clip"), "preview": word("path preview")}
    what = kinds.get(entry.work, word("take"))
    return f"{entry.file}: {what}, {far}" if entry.file else f"{capitalised(what)}, {far}"


def draw_others(layout: Layout, context: Context) -> None:
    """Draw the jobs of this user's other Blenders, if there are any."""
    now = session.current()
    found = now.others.of(now.client)
    if not found:
        return
    box = layout.box()
    box.label(text=told("In another Blender: {jobs}", jobs=count(len(found), "job")), icon="WINDOW", translate=False)
    column = box.column(align=True)
    for each in found:
        row = column.row(align=True)
        row.label(text=told_of(each), translate=False)
        if each.state == "done" and not each.entry.followed:
            row.operator(EX4D_OT_other_fetch.bl_idname, text="", icon="IMPORT").job_id = each.entry.job_id
        row.operator(EX4D_OT_other_cancel.bl_idname, text="", icon="X", emboss=False).job_id = each.entry.job_id


CLASSES = (EX4D_OT_other_fetch, EX4D_OT_other_cancel)
