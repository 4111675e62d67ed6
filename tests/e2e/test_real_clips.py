"""Real footage, from the file to a strip: clips without depth, and images with measured depth.

The clips are expected next to the checkout; without them, these tests are skipped.
"""

import json
from pathlib import Path

import av
import bpy
import numpy as np
import pytest
from test_depth import GUESS, open_clip
from test_whole_way import addon_modules

from ex4d.geometry import transforms

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"
RGBD = CLIPS / "rgbd"

pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not beside the checkout")


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("02_cups", "30000/1001"),
        ("flower", "30"),
        *(
            pytest.param(*more, marks=pytest.mark.slow)
            for more in (("04_coffee", "30000/1001"), ("05_default_juggle", "24"))
        ),
    ],
)
def test_a_real_clip_becomes_a_strip_without_anything_to_tune(name, rate, scene):
    _camera, compat, _objects, _session, takes = addon_modules()
    open_clip(CLIPS / f"{name}.mp4", frames=13)
    facts = scene.ex4d
    assert (facts.rate, facts.frames, max(facts.width, facts.height)) == (rate, 13, 256)
    bpy.ops.ex4d.camera_preset(preset="30")
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    (strip,) = compat.strips(scene)
    first, end = compat.strip_range(strip)
    assert (first, end) == (scene.frame_start, scene.frame_start + 13)
    assert GUESS in facts.takes[0].made
    record = json.loads((takes.take_folder(scene, 1) / "take.json").read_text())
    assert record["fps"] == rate
    assert 0.3 < record["coverage"][-1] < 1
    assert record["coverage"][0] == 1


def test_measured_depth_stands_up_in_metres_with_the_proportions_it_was_measured_in(scene, tmp_path):
    """Five images with depth in 16-bit PNG, a known lens, and the camera's path."""
    _camera, _compat, objects, *_ = addon_modules()
    lens = json.loads((RGBD / "camera_primesense.json").read_text())
    k = np.array(lens["intrinsic_matrix"]).reshape(3, 3).T
    poses = trajectory(RGBD / "trajectory.log")[:5]
    np.savez(tmp_path / "walk.npz", camera_to_world=poses)
    facts = scene.ex4d
    facts.detail = "FULL"
    facts.field_of_view = float(np.degrees(2 * np.arctan(lens["width"] / 2 / k[0, 0])))
    facts.motion, facts.motion_path = "FILE", str(tmp_path / "walk.npz")
    open_clip(RGBD / "color", frames=5, depth=str(RGBD / "depth"), longest_side=0)
    assert (facts.width, facts.height, facts.frames) == (lens["width"], lens["height"], 5)

    mesh = objects.find(scene, objects.MESH)
    for t in (0, 4):
        with av.open(str(RGBD / "depth" / f"{t:05d}.png")) as picture:
            measured = next(picture.decode(video=0)).to_ndarray() / 1000
        rows, columns = np.mgrid[40:440:60, 40:600:80].reshape(2, -1)
        z = measured[rows, columns]
        seen = z > 0
        rows, columns, z = rows[seen], columns[seen], z[seen]
        # The focal length is the file's; its principal point, half a pixel off the image centre, is not passed on.
        rays = np.stack([(columns + 0.5 - 320) / k[0, 0], (rows + 0.5 - 240) / k[1, 1], np.ones_like(z)], -1)
        pose = transforms.inverse(poses[0]) @ poses[t]
        true = (rays * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]
        scene.frame_set(facts.start + t)
        evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
        corners = np.array([tuple(mesh.matrix_world @ v.co) for v in evaluated.data.vertices])
        ours = corners.reshape(480, 640, 3)[rows, columns]
        apart = np.linalg.norm(ours - np.stack([true[:, 0], true[:, 2], -true[:, 1]], -1), axis=1)
        assert apart.max() < 2e-3, apart.max()  # metres


def trajectory(path: Path) -> np.ndarray:
    """Camera-to-world (N,4,4) from a .log file: a line of numbers and four rows for each image."""
    lines = path.read_text().splitlines()
    return np.array([[row.split() for row in lines[n + 1 : n + 5]] for n in range(0, len(lines) // 5 * 5, 5)], float)
