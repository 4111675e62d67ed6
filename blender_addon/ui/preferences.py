"""Preferences, which apply to this machine: the server's address, and how to get and start one."""

import bpy
from bpy.props import BoolProperty, StringProperty

from ..identity import PACKAGE
from ..ui import disk, hosts, server_setup

DEFAULT_ADDRESS = "tcp://127.0.0.1:5750"


class EX4DPreferences(bpy.types.AddonPreferences):
    """Preferences of the add-on."""

    bl_idname = PACKAGE

    server: StringProperty(
        name="Server",
        description="Server from your list that does the work; empty for the one on this machine",
    )
    address: StringProperty(
        name="Server Address",
        description="Address of the EX-4D server on this machine",
        default=DEFAULT_ADDRESS,
    )
    python: StringProperty(
        name="Server Python",
        description="A Python with the EX-4D server installed; leave empty to use the one from Set Up Server",
        subtype="FILE_PATH",
    )
    play_results: BoolProperty(
        name="Play Takes When They Arrive",
        description="Play each new take if a Video Sequencer preview is visible and nothing else is playing; no editor"
        " is opened for it",
        default=True,
    )
    accept_licence: BoolProperty(
        name="Accept Licence",
        description="I have read the depth estimator's terms and comply with them",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the server's setup and the settings."""
        server_setup.draw(self.layout.column())
        server_setup.draw_command(self.layout)
        hosts.draw_list(self.layout)
        self.layout.use_property_split = True
        self.layout.prop(self, "address")
        self.layout.prop(self, "python")
        self.layout.prop(self, "play_results")
        disk.draw_unsaved(self.layout)


def preferences() -> EX4DPreferences:
    """The preferences of this add-on."""
    return bpy.context.preferences.addons[PACKAGE].preferences
