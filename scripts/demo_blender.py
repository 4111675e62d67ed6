"""The part of the demo that an artist would do in Blender, carried out with the add-on's own operators.

Run by scripts/demo.py in an environment with bpy: demo_blender.py OUTPUT_FOLDER SERVER_PYTHON PORT CLIP
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import bpy  # noqa: E402, I001 (Blender's own modules can be found only after bpy)
import addon_utils  # noqa: E402

MOVED_FRAME, MOVED_BY = 33, (0.6, 0.0, 0.5)
"""Scene frame of the key that is moved by hand, and by how much, in metres of the scene."""


def main(out: Path, server_python: str, port: str, clip: Path) -> None:
    """Open the clip, key a camera, generate, save."""
    addon_utils.enable("blender_addon", default_set=True)
    preferences = bpy.context.preferences.addons["blender_addon"].preferences
    preferences.python, preferences.address = server_python, f"tcp://127.0.0.1:{port}"
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(out / "demo.blend"))
        say("Starting the server")
        bpy.ops.ex4d.server_start()
        say("Opening the clip")
        bpy.ops.ex4d.open_clip(filepath=str(clip))
        say("Keying the camera: an orbit of 60 degrees, then one key moved by hand")
        bpy.ops.ex4d.camera_preset(preset="60")
        move_a_key(bpy.context.scene)
        say("Generating")
        bpy.ops.ex4d.generate()
        bpy.context.scene.frame_set(bpy.context.scene.frame_start)
        bpy.ops.wm.save_mainfile()
    finally:
        addon_utils.disable("blender_addon", default_set=True)


def move_a_key(scene: bpy.types.Scene) -> None:
    """Do what dragging the camera and pressing I does."""
    camera = scene.ex4d.camera
    scene.frame_set(MOVED_FRAME)
    camera.location = [a + b for a, b in zip(camera.location, MOVED_BY, strict=True)]
    camera.keyframe_insert("location", frame=MOVED_FRAME)


def say(text: str) -> None:
    """Print a line at once."""
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
