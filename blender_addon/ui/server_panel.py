"""Panel for the connection and the server on this machine."""

from ..translations import told
from ..ui import hosts, server_setup
from ..ui.layout import Context, Layout
from ..ui.others import draw_others
from ..ui.preferences import preferences
from ..ui.server_operators import EX4D_OT_connect, EX4D_OT_server_start, EX4D_OT_server_stop, EX4D_OT_unload
from ..work import session


def draw_server(layout: Layout, context: Context) -> None:
    """Draw the connection and the server on this machine."""
    now, settings = session.current(), preferences()
    connected = now.client
    hosts.draw_menu(layout)
    if connected is None:
        layout.label(text="Not connected", icon="UNLINKED")
    elif connected.status == "ready":
        layout.label(text=told("Connected, version {version}", version=connected.server.version), icon="LINKED")
    else:  # the top of the tab says what is wrong
        layout.label(text="Not answering" if now.state.trouble else "Connecting", icon="UNLINKED")
    server = now.hosts.chosen
    layout.label(text=settings.address if server is None else server.address, translate=False)
    row = layout.row(align=True)
    if now.may_stop_server:
        row.operator(EX4D_OT_server_stop.bl_idname)
    elif not now.hosts.name and now.server_python and (connected is None or connected.status != "ready"):
        row.operator(EX4D_OT_server_start.bl_idname)
    if connected is None:
        row.operator(EX4D_OT_connect.bl_idname)
    elif connected.status == "ready":
        row.operator(EX4D_OT_unload.bl_idname)
    if now.hosts.offline:
        server_setup.draw_online(
            layout, context, told("{name} needs online access, which is off in Blender:", name=now.hosts.name)
        )
    draw_others(layout, context)
    if not now.hosts.name:
        server_setup.draw(layout.column())
