"""The strips that compare takes: above all other strips, marked as ours, and left out of renders."""

import bpy

from ..scene import compat

MARK, HIDDEN = "ex4d_compare", "ex4d_compare_hidden"
"""Custom properties of the strips: their arrangement, and that they are muted for a render."""

SINGLE = "SINGLE"
"""The arrangement of a scene that compares nothing."""


def marked(scene: bpy.types.Scene) -> list[compat.Strip]:
    """The comparison strips, lowest channel first."""
    return sorted((s for s in compat.all_strips(scene) if MARK in s), key=lambda strip: strip.channel)


def mode_of(scene: bpy.types.Scene) -> str:
    """The scene's current arrangement."""
    ours = marked(scene)
    return ours[0][MARK] if ours else SINGLE


def top(scene: bpy.types.Scene) -> int:
    """The highest channel that other strips use; 0 if there are none."""
    return max((strip.channel for strip in compat.strips(scene) if MARK not in strip), default=0)


def rise(scene: bpy.types.Scene) -> None:
    """After a strip was added, move the comparison strips above all others again."""
    ours, highest = marked(scene), top(scene)
    if ours and ours[0].channel <= highest:
        for number, strip in reversed(list(enumerate(ours, start=1))):
            strip.channel = highest + number


def clear(scene: bpy.types.Scene) -> None:
    """Remove the comparison strips, which leaves the sequencer as it was."""
    for strip in marked(scene):
        compat.remove_strip(scene, strip)


def hide_from_render(scene: bpy.types.Scene) -> None:
    """Before a render, mute the comparison strips, unless the render does not use the sequencer anyway."""
    if not scene.render.use_sequencer:
        return
    for strip in marked(scene):
        if not strip.mute:
            strip.mute = strip[HIDDEN] = True


def show_after_render(scene: bpy.types.Scene) -> None:
    """Unmute the comparison strips after a render, or after a crash that interrupted one."""
    for strip in marked(scene):
        if HIDDEN in strip:
            strip.mute = False
            del strip[HIDDEN]
