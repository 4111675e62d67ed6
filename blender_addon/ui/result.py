"""Show Result: play a take in a sequencer's preview, whatever the screen layout."""
# ruff: noqa: N801

from collections.abc import Iterator
from functools import partial

import bpy

from ex4d.errors import InputError

from ..scene import compat
from ..shot import playing, takes
from ..translations import told
from ..ui import view
from ..ui.take_operators import OnTake

LOOK_S, LOOKS = 0.3, 30
"""Interval and number of checks for the size of a new editor, which a busy machine draws late."""


class EX4D_OT_show_result(OnTake):
    """Play the take from its first frame, in this window's sequencer or in a new one beside the 3D View"""

    bl_idname = "ex4d.show_result"
    bl_label = "Show Result"
    bl_options = {"REGISTER"}  # noqa: RUF012 - editors have no undo

    def act(self, context: bpy.types.Context) -> None:
        """Show it."""
        scene, take = context.scene, self.chosen(context)
        strip = takes.strip_to_show(scene, take)
        window, area = _sequencer(context)
        space = area.spaces.active
        if space.view_type == "SEQUENCER":
            space.view_type = "SEQUENCER_PREVIEW"
        compat.show_in_sequencer(scene, [window.workspace])
        compat.select_only(scene, strip)
        strip.mute = False
        playing.play(scene, strip, window, area)
        if not bpy.app.background:
            looks = iter(range(LOOKS))
            bpy.app.timers.register(partial(_fit, window, area.as_pointer(), looks), first_interval=LOOK_S)


def _fit(window: bpy.types.Window, pointer: int, looks: Iterator[int]) -> float | None:
    """Fit the picture to the preview of an area, which has a size only once drawn; a timer function."""
    area = next((area for area in window.screen.areas if area.as_pointer() == pointer), None)
    if area is None or area.type != "SEQUENCE_EDITOR":
        return None
    region = next((r for r in area.regions if r.type == "PREVIEW" and r.width > 1), None)
    if region is None:
        return LOOK_S if next(looks, None) is not None else None
    with bpy.context.temp_override(window=window, area=area, region=region):
        if bpy.ops.sequencer.view_all_preview.poll():
            bpy.ops.sequencer.view_all_preview()
    return None


def _sequencer(context: bpy.types.Context) -> tuple[bpy.types.Window, bpy.types.Area]:
    """A sequencer that can show the scene, preferably one with a preview; if there is none, splits the 3D View.

    Raises:
        InputError: there is no 3D View, or it cannot be split.
    """
    found = sorted(_sequencers(context), key=lambda pair: pair[1].spaces.active.view_type == "SEQUENCER")
    if found:
        return found[0]
    area, screen = view.view_of(context), context.window.screen
    before = set(screen.areas)
    with context.temp_override(window=context.window, area=area, region=area.regions[-1]):
        if bpy.ops.screen.area_split.poll():
            bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    new = next((other for other in screen.areas if other not in before), None)
    if new is None:
        raise InputError(told("The 3D View cannot be split: open a Video Sequencer, and press Show Result again."))
    new.type = "SEQUENCE_EDITOR"
    new.spaces.active.view_type = "PREVIEW"
    return context.window, new


def _sequencers(context: bpy.types.Context) -> Iterator[tuple[bpy.types.Window, bpy.types.Area]]:
    """Sequencers of this window, then those of other windows with the same scene."""
    others = [w for w in context.window_manager.windows if w != context.window and w.scene == context.scene]
    for window in (context.window, *others):
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                yield window, area


CLASSES = (EX4D_OT_show_result,)
