"""The first day with EX-4D: from the zip and an empty scene to a take that plays, by mouse and keys alone.

`run.py` starts Blender with this script. Labels are read from the screen; Blender is asked only whether what an artist
would see has come about.
"""

import os
import sys
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from desk import Desk, Story, tell

ZIP, CLIP, OUT = (Path(os.environ[name]) for name in ("DESK_ZIP", "DESK_CLIP", "DESK_OUT"))
SETUP_S, OPEN_S, TAKE_S = 600.0, 300.0, 300.0


def facts() -> bpy.types.PropertyGroup:
    """Of the scene that the window shows."""
    return bpy.context.window_manager.windows[0].scene.ex4d


def is_playing() -> bool:
    """Whether an animation plays in any window."""
    return any(window.screen.is_animation_playing for window in bpy.context.window_manager.windows)


def day(desk: Desk) -> Story:
    """The story."""
    window = bpy.context.window_manager.windows[0]
    x, y = window.width * 2 // 5, window.height * 3 // 5
    yield from desk.move(x, y)
    yield from desk.press("Escape")  # the splash screen
    yield from desk.drop(ZIP, x, y)
    yield from desk.click("OK")
    yield from desk.wait(lambda: hasattr(bpy.types.Scene, "ex4d"), "the add-on is enabled", 60)
    yield from desk.move(x, y)
    yield from desk.press("n")
    yield from desk.click("EX-4D", sideways=True)
    desk.picture("1_installed")

    yield from desk.click("Set Up Server")
    desk.picture("2_set_up")
    if not bpy.app.online_access:
        yield from desk.click("Allow Online Access")
    yield from desk.click("OK")
    yield 3.0
    desk.picture("3_setting_up")
    began = time.monotonic()
    yield from desk.wait(lambda: desk.find("Cancel") is None, "the server is set up", SETUP_S)
    print(f"        server set up in {time.monotonic() - began:.0f} s", flush=True)

    yield from desk.drop(CLIP, x, y)
    yield from desk.click("Footage as EX-4D Shot")  # Blender has a use of its own for videos, and asks
    yield from desk.wait(lambda: bool(facts().shot), "the clip is open", OPEN_S)
    yield 2.0
    desk.picture("4_open")

    yield from desk.click("Add Keys")
    desk.picture("5_keys")
    yield from desk.click("Generate EX-4D")
    yield 2.0
    desk.picture("6_generating")
    yield from desk.wait(lambda: len(facts().takes) > 0, "the take has come", TAKE_S)
    yield 1.0
    desk.picture("7_take")
    yield from desk.click("Show Result")
    yield from desk.wait(is_playing, "the take plays", 10)
    frame = window.scene.frame_current
    yield from desk.wait(lambda: window.scene.frame_current != frame, "the frames go on", 10)
    desk.picture("8_playing")
    spent = time.monotonic() - desk.began
    print(f"{desk.clicks} clicks, {desk.drags} drags, {desk.keys} keys, {spent / 60:.1f} minutes", flush=True)
    yield from leaving(desk, x, y)


def leaving(desk: Desk, x: int, y: int) -> Story:
    """Quit as one does, so that the server ends too."""
    desk.ends("")
    yield from desk.move(x, y)
    yield from desk.press("ctrl+q")
    yield from desk.click("Don't Save")
    yield 30.0
    raise TimeoutError("Blender did not quit")


if __name__ == "__main__":
    hands = Desk(OUT)
    tell(day(hands), hands)
