"""The list of servers: choosing one, what each can do and how busy it is, adding and removing servers."""
# ruff: noqa: N801, RUF012

import bpy
from bpy.props import StringProperty

from ex4d.jobs import hosts
from ex4d.jobs.hosts import KnownServer
from ex4d.jobs.keys import shown_key

from ..translations import told
from ..ui.file_name import named_file
from ..ui.operator import Safe, poll_idle
from ..work import session, state
from ..work.hosts import may_reach
from ..work.survey import Glance

SHOWN_DIGITS = 8
"""Number of digits of a key shown, enough to tell keys apart."""


class EX4D_OT_use_server(Safe):
    """Use this server from now on; shots and takes stay"""

    bl_idname = "ex4d.use_server"
    bl_label = "Use Server"
    bl_options = {"REGISTER"}

    name: StringProperty(name="Server", description="Name of the server; empty for this machine", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs no job under way, because that is on the previous server."""
        if session.current().queue.waiting:
            cls.poll_message_set(told("Takes wait on this server: let them be made, or press Cancel All"))
            return False
        return poll_idle(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Choose it, and connect if that is allowed and does not require starting a server."""
        now = session.current()
        if self.name:
            hosts.find(self.name)
        now.dispatch(state.Troubled(""))
        now.use_server(self.name)


class EX4D_OT_import_server(Safe):
    """Add a server on another machine to the list, using the file that its administrator has sent"""

    bl_idname = "ex4d.import_server"
    bl_label = "Import Server File"
    bl_options = {"REGISTER"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def act(self, context: bpy.types.Context) -> set[str]:
        """Add it to the list; scripts choose it with `use_server` afterwards."""
        with named_file(self.filepath).open("rb") as file:
            server = hosts.read_file(file.read(hosts.MOST_FILE_BYTES + 1))
        hosts.add(server)
        session.current().hosts.read_again()
        self.tell(told("{name} is in the list of servers: choose it in the Server panel.", name=server.name))
        return {"FINISHED"}


class EX4D_OT_copy_key(Safe):
    """Copy your public key, which the server's administrator needs to let this machine in"""

    bl_idname = "ex4d.copy_key"
    bl_label = "Copy My Key"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        """Copy it; the key pair is created if missing."""
        context.window_manager.clipboard = shown_key(hosts.own_pair().public)
        self.tell(told("Your public key is on the clipboard. The secret one stays on this machine."))


class EX4D_OT_forget_server(Safe):
    """Remove this server from the list; its jobs continue there"""

    bl_idname = "ex4d.forget_server"
    bl_label = "Remove Server from List"
    bl_options = {"REGISTER"}

    name: StringProperty(name="Server", description="Name of the server", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs no job under way, because that may be on the server."""
        return poll_idle(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for confirmation."""
        return context.window_manager.invoke_confirm(self, event)

    def act(self, context: bpy.types.Context) -> None:
        """Remove it; if it was chosen, choose this machine instead."""
        now = session.current()
        hosts.remove(self.name)
        now.hosts.read_again()
        if now.hosts.name == self.name:
            now.use_server("")
        self.tell(told("{name} was removed from your list.", name=self.name))


class EX4D_MT_servers(bpy.types.Menu):
    """Choose the server that does the work"""

    bl_idname = "EX4D_MT_servers"
    bl_label = "Server"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw this machine and the list."""
        now = session.current()
        self.layout.operator(EX4D_OT_use_server.bl_idname, text="This Machine", icon="DESKTOP").name = ""
        for server in now.hosts.servers:
            line = f"{server.name}: {glance_told(server, now.survey.of(server))}"
            self.layout.operator(EX4D_OT_use_server.bl_idname, text=line, icon="NETWORK_DRIVE").name = server.name
        self.layout.separator()
        self.layout.operator(EX4D_OT_import_server.bl_idname, icon="IMPORT")
        self.layout.operator(EX4D_OT_copy_key.bl_idname, icon="COPYDOWN")


def glance_told(server: KnownServer, glance: Glance | None) -> str:
    """What a server can do and how busy it is, on one line."""
    if not may_reach(server):
        return told("needs online access")
    if glance is None:
        return told("being asked")
    if glance.problem or not glance.able:
        return told("cannot be used now") if glance.problem else told("can generate nothing")
    load = glance.load
    if not load.running and not load.waiting:
        return told("{able}, idle", able=glance.able[0])
    return told("{able}, {running} running, {waiting} waiting", able=glance.able[0], **vars(load))


def draw_menu(layout: bpy.types.UILayout) -> None:
    """Draw the chosen server as a menu of all servers."""
    now = session.current()
    layout.menu(EX4D_MT_servers.bl_idname, text=now.hosts.name or told("This Machine"))
    for server in now.hosts.servers:  # keeps visits going while the panel is visible, so that the menu is up to date
        glance = now.survey.of(server)
        if server == now.hosts.chosen and glance is not None and not glance.problem:
            layout.label(text=glance_told(server, glance), icon="INFO", translate=False)


def draw_list(layout: bpy.types.UILayout) -> None:
    """Draw all servers with address and key, and the buttons to add others."""
    now = session.current()
    box = layout.box()
    box.label(text="Servers on Other Machines", icon="NETWORK_DRIVE")
    if now.hosts.trouble:
        box.label(text=now.hosts.trouble, icon="ERROR", translate=False)
    for server in now.hosts.servers:
        row = box.row(align=True)
        text = told(
            "{name} at {address}, key {key}…",
            name=server.name,
            address=server.address,
            key=shown_key(server.key)[:SHOWN_DIGITS],
        )
        row.label(text=text, icon="RADIOBUT_ON" if server == now.hosts.chosen else "RADIOBUT_OFF", translate=False)
        row.operator(EX4D_OT_forget_server.bl_idname, text="", icon="X").name = server.name
    row = box.row(align=True)
    row.operator(EX4D_OT_import_server.bl_idname, icon="IMPORT")
    row.operator(EX4D_OT_copy_key.bl_idname, icon="COPYDOWN")


CLASSES = (
    EX4D_OT_use_server,
    EX4D_OT_import_server,
    EX4D_OT_copy_key,
    EX4D_OT_forget_server,
    EX4D_MT_servers,
)
