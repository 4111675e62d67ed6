"""The strips that compare takes: above all others, marked as ours, and no part of a render."""

import bpy

from ..scene import compat

MARK, HIDDEN = "ex4d_compare", "ex4d_compare_hidden"
"""Custom properties of the strips: how they are arranged, and that a render is going on."""

SINGLE = "SINGLE"
"""How a scene is arranged that compares nothing."""


def marked(scene: bpy.types.Scene) -> list[compat.Strip]:
    """The strips that compare, from the lowest."""
    return sorted((s for s in compat.all_strips(scene) if MARK in s), key=lambda strip: strip.channel)


def mode_of(scene: bpy.types.Scene) -> str:
    """How the scene compares now."""
    ours = marked(scene)
    return ours[0][MARK] if ours else SINGLE


def top(scene: bpy.types.Scene) -> int:
    """The highest channel that others use."""
    return max((strip.channel for strip in compat.strips(scene) if MARK not in strip), default=0)


def rise(scene: bpy.types.Scene) -> None:
    """After a strip has come: stay above all others."""
    ours, highest = marked(scene), top(scene)
    if ours and ours[0].channel <= highest:
        for number, strip in reversed(list(enumerate(ours, start=1))):
            strip.channel = highest + number


def clear(scene: bpy.types.Scene) -> None:
    """Compare nothing any more; the sequencer is as it was."""
    for strip in marked(scene):
        compat.remove_strip(scene, strip)


def hide_from_render(scene: bpy.types.Scene) -> None:
    """Before a render: the strips that compare are no part of it. Most renders have no strips at all."""
    if not scene.render.use_sequencer:
        return
    for strip in marked(scene):
        if not strip.mute:
            strip.mute = strip[HIDDEN] = True


def show_after_render(scene: bpy.types.Scene) -> None:
    """After a render, or one that was interrupted by a crash: show them again."""
    for strip in marked(scene):
        if HIDDEN in strip:
            strip.mute = False
            del strip[HIDDEN]
