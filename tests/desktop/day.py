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

from desk import Desk, NotSeenError, Story, tell

ZIP, CLIP, OUT = (Path(os.environ[name]) for name in ("DESK_ZIP", "DESK_CLIP", "DESK_OUT"))
SETUP_S, OPEN_S, TAKE_S = 900.0, 600.0, 600.0
MOST_CLICKS = 12
MAIN_BUTTONS = ("Open Clip", "Add Keys", "Generate EX-4D", "Preview Path", "Show Result")
"""They have to be in sight as soon as the clip is open, without scrolling."""


def facts() -> bpy.types.PropertyGroup:
    """Of the scene that the window shows."""
    return bpy.context.window_manager.windows[0].scene.ex4d


def is_playing() -> bool:
    """Whether an animation plays in any window."""
    return any(window.screen.is_animation_playing for window in bpy.context.window_manager.windows)


def middle() -> tuple[int, int]:
    """A place of the screen that lies in the 3D View, left of its sidebar."""
    window = bpy.context.window_manager.windows[0]
    return window.width * 2 // 5, window.height * 3 // 5


def install(desk: Desk) -> Story:
    """Drop the zip, and open the sidebar's tab."""
    x, y = middle()
    yield from desk.move(x, y)
    yield from desk.press("Escape")  # the splash screen
    yield from desk.drop(ZIP, x, y)
    yield from desk.click("OK")
    yield from desk.wait(lambda: hasattr(bpy.types.Scene, "ex4d"), "the add-on is enabled", 60)
    yield from desk.move(x, y)
    yield 1.0
    if desk.find("EX-4D", sideways=True) is None:  # from 5.2 on, the tabs are there while the sidebar is closed
        yield from desk.press("n")
    if desk.find("Set Up Server") is None:
        yield from desk.click("EX-4D", sideways=True)
    yield from desk.see("Set Up Server")
    desk.picture("1_installed")


def set_up(desk: Desk) -> Story:
    """Set Up Server, for the CPU."""
    yield from desk.click("Set Up Server")
    yield from desk.see("OK")
    desk.picture("2_set_up")
    if not bpy.app.online_access:
        yield from desk.click("Allow Online Access")
    yield from desk.click("OK")
    began = time.monotonic()
    yield 3.0
    desk.picture("3_setting_up")
    yield from desk.wait(lambda: desk.find("No server yet") is None, "the server is set up", SETUP_S)
    print(f"        server set up in {time.monotonic() - began:.0f} s", flush=True)


def open_clip(desk: Desk) -> Story:
    """Drop the clip."""
    began = time.monotonic()
    yield from desk.drop(CLIP, *middle())
    yield from desk.click("Footage as EX-4D Shot")  # Blender has a use of its own for videos, and asks
    yield from desk.wait(lambda: bool(facts().shot), "the clip is open", OPEN_S)
    print(f"        clip open in {time.monotonic() - began:.0f} s", flush=True)
    yield 3.0
    for label in MAIN_BUTTONS:
        yield from desk.see(label)
    desk.picture("4_open")


def make_take(desk: Desk) -> Story:
    """An orbit, and Generate."""
    yield from desk.click("Add Keys")
    desk.picture("5_keys")
    began = time.monotonic()
    yield from desk.click("Generate EX-4D")
    yield 2.0
    desk.picture("6_generating")
    yield from desk.wait(lambda: len(facts().takes) > 0, "the take has come", TAKE_S)
    print(f"        take made in {time.monotonic() - began:.0f} s", flush=True)


def show_result(desk: Desk) -> Story:
    """Show Result, which plays it."""
    scene = bpy.context.window_manager.windows[0].scene
    yield from desk.click("Show Result")
    yield from desk.wait(is_playing, "the take plays", 10)
    frame = scene.frame_current
    yield from desk.wait(lambda: scene.frame_current != frame, "the frames go on", 10)
    desk.picture("7_playing")


def day(desk: Desk) -> Story:
    """The story."""
    yield from install(desk)
    yield from set_up(desk)
    yield from open_clip(desk)
    yield from make_take(desk)
    yield from show_result(desk)
    spent = time.monotonic() - desk.began
    print(f"{desk.clicks} clicks, {desk.drags} drags, {desk.keys} keys, {spent / 60:.1f} minutes", flush=True)
    if desk.clicks > MOST_CLICKS:
        raise NotSeenError(f"{desk.clicks} clicks to a playing take are more than {MOST_CLICKS}")
    yield from leaving(desk)


def leaving(desk: Desk) -> Story:
    """Quit as one does, so that the server ends too."""
    desk.ends("")
    yield from desk.move(*middle())
    yield from desk.press("ctrl+q")
    yield from desk.click("Don't Save")
    yield 30.0
    raise TimeoutError("Blender did not quit")


if __name__ == "__main__":
    hands = Desk(OUT)
    tell(day(hands), hands)
