"""The day, filmed: the pictures of docs/first-shot.md and the animation in README, from a real window and real results.

`run.py --story page --out FOLDER` leaves `1_installed.png` ... `9_wipe.png` and `film_000.png` ... in the folder;
scripts/page_pictures.py makes of them what the documents show.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy
import numpy as np
from day import OUT, install, leaving, make_take, middle, open_clip, set_up, show_result
from desk import Desk, NotSeenError, Story, tell

EVERY = 6
"""Of the shot's frames, each sixth is filmed."""


def film(desk: Desk, story: Story) -> Story:
    """Go through a story and keep the screen after each of its steps."""
    for pause in story:
        yield pause
        desk.picture(f"film_{desk.filmed:03d}")
        desk.filmed += 1


def through_shot(desk: Desk) -> Story:
    """Go through the shot's frames by the arrow keys."""
    scene = bpy.context.window_manager.windows[0].scene
    while scene.frame_current + EVERY <= scene.frame_end:
        for _ in range(EVERY):
            desk.hit("Right")
        yield 0.8


def check_coverage(desk: Desk) -> Story:
    """Live Coverage draws into Solid and Material views; the tint of the mesh is off for that."""
    mesh = next(o for o in bpy.context.scene.objects if o.get("ex4d_role") == "mesh")
    mesh.active_material.node_tree.nodes["EX-4D Tint"].inputs[0].default_value = 0.0
    for view, key in (("Solid", "6"), ("Material Preview", "2")):
        yield from desk.press("z")
        yield from desk.press(key)  # of the pie menu
        yield 2.0
        red, green, blue = np.moveaxis(desk.colours(), -1, 0)
        part = (np.minimum(red, blue) - green > 60).mean()
        print(f"        {part:.1%} of the screen is magenta in {view}", flush=True)
        if part < 0.02:
            raise NotSeenError(f"Live Coverage draws nothing in {view}")


def page(desk: Desk) -> Story:
    """The story."""
    yield from install(desk)
    yield from set_up(desk)
    yield from open_clip(desk)
    yield from desk.move(*middle())
    yield from film(desk, desk.drag(2, -180, 40, 6))
    yield from film(desk, desk.drag(2, 240, -20, 8))
    yield from make_take(desk)
    yield from desk.move(*middle())
    yield from desk.press("KP_0")  # through the camera
    yield 2.0
    yield from film(desk, through_shot(desk))
    desk.picture("8_coverage")
    yield from check_coverage(desk)
    yield from show_result(desk)
    yield from desk.press("space")  # halt
    yield from desk.press("shift+Left")
    yield from film(desk, through_shot(desk))
    x, y = yield from desk.see("Generate EX-4D")
    yield from desk.scroll_to("Wipe", x, y)
    yield from desk.click("Wipe")
    yield 2.0
    desk.picture("9_wipe")
    yield from leaving(desk)


if __name__ == "__main__":
    hands = Desk(OUT)
    tell(page(hands), hands)
