"""Playing a take in a sequencer's preview."""

import bpy

from ..scene import comparison, compat, objects
from ..shot import takes
from ..ui.preferences import preferences
from ..work.requests import TakeRequest


def show_arrived(request: TakeRequest) -> None:
    """Play a take that has just arrived if the artist is likely waiting for it; no editor is opened, changed or closed.

    It plays if a sequencer's preview of the scene is visible, nothing else is playing, no modal tool is running, and
    the scene is still at the frame at which the take was requested.
    """
    scene = objects.find_scene(request)
    if scene is None or not preferences().play_results or scene.frame_current != request.seen or not scene.ex4d.takes:
        return
    windows = bpy.context.window_manager.windows
    if any(window.screen.is_animation_playing or len(window.modal_operators) for window in windows):
        return
    take = scene.ex4d.takes[-1]
    strip = takes.strip_of(scene, take.number, take.view)
    for window in windows:
        for area in window.screen.areas:
            if strip is not None and _previews(area, window, scene):
                play(scene, strip, window, area)
                return


def play(scene: bpy.types.Scene, strip: compat.Strip, window: bpy.types.Window, area: bpy.types.Area) -> None:
    """End any comparison, and play a strip from its first frame in the preview of a sequencer."""
    comparison.clear(scene)
    area.spaces.active.display_channel = 0 if compat.is_topmost(scene, strip) else strip.channel
    scene.frame_set(compat.strip_range(strip)[0])
    area.tag_redraw()
    if window.screen.is_animation_playing:
        return
    with bpy.context.temp_override(window=window, area=area, region=area.regions[-1]):
        if bpy.ops.screen.animation_play.poll():
            bpy.ops.screen.animation_play()


def _previews(area: bpy.types.Area, window: bpy.types.Window, scene: bpy.types.Scene) -> bool:
    """Whether an editor is a sequencer whose preview shows this scene."""
    if area.type != "SEQUENCE_EDITOR" or area.spaces.active.view_type == "SEQUENCER" or window.scene != scene:
        return False
    return getattr(window.workspace, "sequencer_scene", scene) == scene  # since 5.0 it may differ from the window's
