"""Set Up Server: its buttons and state, in the preferences and the sidebar."""
# ruff: noqa: N801, RUF012

from collections.abc import Callable

import bpy
from bpy.props import EnumProperty

from ex4d.errors import EX4DError, InputError

from ..setup.chore import OneChore, Progress
from ..setup.server_environment import KINDS, Kind
from ..translations import of_error, of_parts, told, word
from ..words import part_of, seconds
from ..work import session, state

OFFLINE = (
    "Blender is not allowed to go online, and this comes from the internet: turn on Allow Online Access in"
    " Preferences > System, then press the button again."
)


def amount_told(chore: OneChore) -> str:
    """Progress of a download, such as "1.2 of 83 GB, 40 min left"; if nothing is downloading, the current stage."""
    now = chore.progress
    if not now.steps:
        return _doing(now)
    left = [told("{time} left", time=seconds(chore.eta_s))] if chore.eta_s else []
    return ", ".join([part_of(now.step, now.steps), *left])


def chore_told(chore: OneChore) -> str:
    """Stage and progress of a chore, such as "Downloading: 1.2 of 83 GB, 40 min left"."""
    now = chore.progress
    return f"{_doing(now)}: {amount_told(chore)}" if now.steps else _doing(now)


def _doing(now: Progress) -> str:
    return "" if now.done or now.failed else of_parts(now.parts, now.stage)


def draw_chore(layout: bpy.types.UILayout, chore: OneChore, stop: str, icon: str) -> None:
    """Draw a chore's progress and its stop button, as high as the button that started it, so that nothing moves."""
    row = layout.row(align=True)
    row.progress(factor=chore.progress.share, text=amount_told(chore))
    row.operator(stop, text="", icon=icon)


def draw_online(layout: bpy.types.UILayout, context: bpy.types.Context, text: str = "") -> bool:
    """If Blender may not go online, say so and draw the setting that allows it. Returns whether it may not."""
    if bpy.app.online_access:
        return False
    layout.label(
        text=text or told("The download needs online access, which is off in Blender:"), icon="INTERNET_OFFLINE"
    )
    if not bpy.app.online_access_override:
        layout.prop(context.preferences.system, "use_online_access", text="Allow Online Access")
    return True


class OnSetup(bpy.types.Operator):
    """Base of operators for setup and downloads: errors become a report and the panel's message."""

    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Run `act`, and report errors."""
        return self.tried(self.act)

    def tried(self, act: Callable[[], set[str] | None]) -> set[str]:
        """Call a function, and report errors."""
        try:
            return act() or {"FINISHED"}
        except (EX4DError, OSError) as error:
            said = of_error(error)
            session.current().dispatch(state.Said(said, failed=True))
            self.report({"ERROR"}, said)
            return {"CANCELLED"}


class EX4D_OT_server_set_up(OnSetup):
    """Download the server and set it up on this machine; it gets its own folder, and nothing else is changed"""

    bl_idname = "ex4d.server_set_up"
    bl_label = "Set Up Server"

    kind: EnumProperty(
        name="For",
        items=[(kind.name, kind.label, kind.description, number) for number, kind in enumerate(KINDS)],
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs no setup under way."""
        if session.current().environment.busy:
            cls.poll_message_set(told("The server is being set up"))
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask what to set up for, starting from the previous choice, and say how much will be downloaded."""
        now = session.current().environment.current
        if now is not None:
            self.kind = now.kind
        return context.window_manager.invoke_props_dialog(self, width=420)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the choice, and its download and disk size."""
        kind = _kind(self.kind)
        self.layout.row().prop(self, "kind", expand=True)
        self.layout.label(text=kind.description)
        self.layout.label(
            text=told(
                "About {download:g} GB to download, {disk:g} GB on disk", download=kind.download_gb, disk=kind.disk_gb
            )
        )
        draw_online(self.layout, context)

    def act(self) -> None:
        """Start setting up."""
        if not bpy.app.online_access:
            raise InputError(word(OFFLINE))
        session.current().environment.set_up(self.kind)


class EX4D_OT_server_set_up_cancel(OnSetup):
    """Stop setting up the server"""

    bl_idname = "ex4d.server_set_up_cancel"
    bl_label = "Cancel Setup"

    def act(self) -> None:
        """Cancel."""
        session.current().environment.cancel()


class EX4D_OT_server_remove(OnSetup):
    """Remove the server that was set up here; clips, takes and models stay"""

    bl_idname = "ex4d.server_remove"
    bl_label = "Remove Server"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a server that was set up here."""
        return session.current().environment.current is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for confirmation."""
        return context.window_manager.invoke_confirm(self, event)

    def act(self) -> None:
        """Stop the server, then remove it."""
        now = session.current()
        now.stop_server()
        now.environment.remove()
        said = told("The server was removed. Clips, takes and models stay.")
        now.dispatch(state.Said(said))
        self.report({"INFO"}, said)


def _kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def draw(layout: bpy.types.UILayout) -> None:
    """Draw the state of the server's setup, and the buttons for it."""
    setup = session.current().environment
    found = setup.current
    if setup.busy:
        draw_chore(layout, setup, EX4D_OT_server_set_up_cancel.bl_idname, "CANCEL")
        return
    if setup.progress.failed and setup.log.is_file():
        layout.operator("wm.path_open", text="Open Log", icon="TEXT").filepath = str(setup.log)
    if found is None:
        layout.operator(EX4D_OT_server_set_up.bl_idname, icon="IMPORT")
        return
    layout.label(
        text=told("Server {version} for {kind} is set up", version=found.version, kind=_kind(found.kind).label),
        icon="CHECKMARK",
    )
    if session.current().has_chosen_python:  # a different server runs
        layout.label(text="Server Python from the preferences is used", icon="INFO")
    row = layout.row(align=True)
    row.operator(EX4D_OT_server_set_up.bl_idname, text="Update" if found.is_old else "Repair", icon="FILE_REFRESH")
    row.operator(EX4D_OT_server_remove.bl_idname, text="Remove", icon="TRASH")


def draw_command(layout: bpy.types.UILayout) -> None:
    """Draw the path of the `ex4d` command, which downloads models, for layouts wide enough."""
    found = session.current().environment.current
    if found is not None:
        layout.label(text=told("Command line: {command}", command=found.command), icon="CONSOLE")


CLASSES = (EX4D_OT_server_set_up, EX4D_OT_server_set_up_cancel, EX4D_OT_server_remove)
