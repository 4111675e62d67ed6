"""Setting the shot upright."""
# ruff: noqa: N801

import bpy

from ..shot import floor
from ..ui.operator import Safe, poll_shot


class EX4D_OT_set_floor(Safe):
    """Set the shot upright on Z = 0, using three or more vertices selected in Edit Mode, or the ground in this frame"""

    bl_idname = "ex4d.set_floor"
    bl_label = "Set Floor"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Turn it."""
        self.tell(floor.set_floor(context))


CLASSES = (EX4D_OT_set_floor,)
