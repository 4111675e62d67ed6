"""Operators for the server on this machine and for the connection."""
# ruff: noqa: N801, RUF012

import time
from collections.abc import Callable

import bpy

from ex4d.errors import InputError

from ..translations import told
from ..ui.operator import Safe, poll_idle
from ..work import session


class EX4D_OT_server_start(Safe):
    """Start an EX-4D server on this machine; it ends with Blender"""

    bl_idname = "ex4d.server_start"
    bl_label = "Start Server"
    bl_options = {"REGISTER"}
    from_panel = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs this machine to be chosen, and no running server of ours."""
        if name := session.current().hosts.name:
            cls.poll_message_set(told("{name} does the work: choose This Machine in the Server panel first", name=name))
            return False
        if session.current().server.is_running:
            cls.poll_message_set(told("The server is running"))
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start it and return."""
        self.from_panel = True
        return self.execute(context)

    def act(self, context: bpy.types.Context) -> set[str]:
        """Start it; for scripts, also wait until it answers."""
        now = session.current()
        now.start_server()
        if not self.from_panel and not _answered(session.SERVER_START_S, lambda: bool(now.server.trouble)):
            raise InputError(
                now.server.trouble
                or told("The server was started but does not answer: see its log, {log}.", log=now.server.log_file)
            )
        return {"FINISHED"}


class EX4D_OT_server_stop(Safe):
    """Stop the server on this machine, including one left by a crash. A running job resumes once the server is back"""

    bl_idname = "ex4d.server_stop"
    bl_label = "Stop Server"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a server of ours."""
        return session.current().may_stop_server

    def act(self, context: bpy.types.Context) -> None:
        """End it."""
        session.current().stop_server()


class EX4D_OT_unload(Safe):
    """Unload the server's models from memory and from the GPU; they are loaded again when needed"""

    bl_idname = "ex4d.unload"
    bl_label = "Free Memory"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        """Ask the server; the timer receives the answer."""
        session.current().connect().unload()


class EX4D_OT_connect(Safe):
    """Connect to the server and ask what it can run"""

    bl_idname = "ex4d.connect"
    bl_label = "Connect"
    bl_options = {"REGISTER"}
    from_panel = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs no job under way, because it would lose its connection."""
        return poll_idle(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Connect and return; the timer receives the answer."""
        self.from_panel = True
        return self.execute(context)

    def act(self, context: bpy.types.Context) -> None:
        """Make a new client, because only a server's welcome says what it can run; for scripts, also wait for that."""
        now = session.current()
        now.disconnect()
        now.connect()
        if not self.from_panel:
            _answered(session.PATIENCE_S, lambda: now.client.status in ("refused", "unreachable"))


def _answered(patience: float, hopeless: Callable[[], bool]) -> bool:
    """Wait for the server's welcome, for scripts; False if `hopeless`, or after `patience` seconds."""
    now, end = session.current(), time.monotonic() + patience
    while now.client.status != "ready":
        now.tick()
        if hopeless() or time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


CLASSES = (
    EX4D_OT_server_start,
    EX4D_OT_server_stop,
    EX4D_OT_unload,
    EX4D_OT_connect,
)
