"""A mask drawn in Blender excludes what it covers from the camera search: a real server, a known camera."""

import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import PYTHON
from test_found_camera import degrees

sys.path.insert(0, str(Path(__file__).parents[1] / "blender"))

FRAMES, WIDTH, HEIGHT = 13, 384, 208
SIDE, LEFT, TOP, RIGHTWARD = 180, 20, 14, 7
"""Of the poster carried through the picture: size, initial position, and motion per frame, in pixels."""

# A camera that turns in place to the right by half a degree per frame, and a large poster carried past it.
SHOOT = f"""
import sys
from fractions import Fraction
import cv2
import numpy as np
from ex4d.geometry.depth_video import DepthVideo, save_depth
from ex4d.media.movie import write_movie
folder = sys.argv[1]
def printed(width, height, seed):
    spots = np.random.default_rng(seed).integers(0, 255, (height // 6, width // 6, 3), np.uint8)
    return cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
lens = np.array([[400, 0, {WIDTH} / 2], [0, 400, {HEIGHT} / 2], [0, 0, 1.0]])
place, poster = printed(1200, 600, 2), printed({SIDE}, {SIDE}, 1)
seen = np.array([[400, 0, 600], [0, 400, 300], [0, 0, 1.0]])
poses = np.tile(np.eye(4), ({FRAMES}, 1, 1))
frames, depth = [], np.full(({FRAMES}, {HEIGHT}, {WIDTH}), 10, np.float32)
for t in range({FRAMES}):
    angle = np.radians(0.5 * t)
    poses[t, :3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    to_place = seen @ poses[t, :3, :3] @ np.linalg.inv(lens)
    frame = cv2.warpPerspective(place, to_place, ({WIDTH}, {HEIGHT}), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    left = {LEFT} + {RIGHTWARD} * t
    frame[{TOP} : {TOP} + {SIDE}, left : left + {SIDE}] = poster
    depth[t, {TOP} : {TOP} + {SIDE}, left : left + {SIDE}] = 4
    frames.append(frame)
write_movie(f"{{folder}}/poster.mp4", np.stack(frames), Fraction(24))
save_depth(f"{{folder}}/poster_depth.npz", DepthVideo(depth, lens, "true"))
np.save(f"{{folder}}/truth.npy", poses)
"""


def off(facts, truth):
    """Largest difference in degrees between the rotations of the shot's source camera and the true ones."""
    return max(degrees(a, b) for a, b in zip(facts.poses, truth, strict=True))


@pytest.mark.slow
def test_with_a_drawn_mask_over_what_moves_the_camera_is_found_that_was_not_found_without(scene, tmp_path):
    from test_drawn_mask import moving_square

    from blender_addon.scene import moving_tint, pixels
    from blender_addon.shot import asking

    subprocess.run([PYTHON, "-c", SHOOT, str(tmp_path)], check=True, timeout=300)
    truth = np.load(tmp_path / "truth.npy")
    scene.ex4d.motion = "STILL"
    assert bpy.ops.ex4d.open_clip(filepath=str(tmp_path / "poster.mp4")) == {"FINISHED"}
    scene.ex4d.motion = "TRIPOD"
    assert bpy.ops.ex4d.find_camera() == {"FINISHED"}
    scene = bpy.context.scene
    assert "The camera was not found (turning" in scene.ex4d.notes
    assert off(scene.ex4d, truth) > 5

    bottom = 0.5 + (HEIGHT / 2 - TOP - SIDE) / WIDTH
    at = {1 + t: ((LEFT + RIGHTWARD * t) / WIDTH, bottom) for t in (0, FRAMES - 1)}
    scene.ex4d.moving_mask = moving_square(scene, at, SIDE / WIDTH)
    assert bpy.ops.ex4d.find_camera() == {"FINISHED"}
    facts = bpy.context.scene.ex4d
    assert "The source camera was found: it turns in place" in facts.notes
    assert off(facts, truth) < 0.1
    assert not asking.have_changed(facts), "the shot is as the panel says, so Open Again is not asked for"

    # The mask of what moves that takes of the shot use: the poster in the middle frame.
    moving = Path(bpy.path.abspath(facts.image.filepath)).parent / moving_tint.MOVING
    (width, height), values = pixels.middle_of(moving, WIDTH)
    white = values.reshape(height, width, 4)[::-1, :, 0] > 0.5
    left = LEFT + RIGHTWARD * (FRAMES // 2)
    poster = np.zeros_like(white)
    poster[TOP : TOP + SIDE, left : left + SIDE] = True
    assert (white != poster).mean() < 0.01
    assert not list((tmp_path / "user" / "masks").iterdir()), "the pictures of the mask are not needed any more"

    facts.moving_mask.layers[0].invert = True
    facts.moving_mask.layers[0].splines.remove(facts.moving_mask.layers[0].splines[0])
    with pytest.raises(RuntimeError, match="The mask Walker covers the whole picture in scene frames 1 to 13"):
        bpy.ops.ex4d.find_camera()
    assert off(bpy.context.scene.ex4d, truth) < 0.1, "what was found before stays"
