"""Clip Strip: the clip with its sound, below its takes."""
# ruff: noqa: N801

import bpy

from ..shot import source_strip
from ..ui.operator import Safe, poll_shot


class EX4D_OT_source_strip(Safe):
    """Add the open frames of the clip to the sequencer, below the takes, with their sound"""

    bl_idname = "ex4d.source_strip"
    bl_label = "Clip Strip with Sound"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Add it."""
        self.tell(source_strip.add(context.scene))


CLASSES = (EX4D_OT_source_strip,)
