"""The committed sample: its files match each other and the scene that they were rendered from."""

import sys
from pathlib import Path

import av
import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from ex4d.geometry import camera_path

SAMPLE = Path(__file__).resolve().parents[2] / "sample"


def pictures(path):
    """Frames (T,H,W,3), uint8, and the rate; decoded here because Blender's Python has no cv2 for `read_clip`."""
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.stack(decoded), container.streams.video[0].average_rate


@pytest.fixture(scope="module")
def depth_file():
    with np.load(SAMPLE / "clip.depth.npz", allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


@pytest.fixture(scope="module")
def truth_frames():
    with np.load(SAMPLE / "truth_camera.npz", allow_pickle=False) as data:
        return data["truth_frames"]


@pytest.fixture
def built(monkeypatch):
    """The scene and its two cameras; leaves a factory-fresh file behind."""
    monkeypatch.setattr(sys, "path", [str(SAMPLE), *sys.path])
    import scene

    yield scene.build_scene()
    bpy.ops.wm.read_factory_settings(use_empty=True)


def test_the_sample_is_at_most_six_megabytes():
    files = [f for f in SAMPLE.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    assert sum(f.stat().st_size for f in files) <= 6_000_000


def test_the_clip_has_49_frames_of_512x288_at_24_frames_a_second():
    frames, rate = pictures(SAMPLE / "clip.mp4")
    assert frames.shape == (49, 288, 512, 3)
    assert rate == 24


def test_every_pixel_of_the_clip_has_a_finite_positive_depth(depth_file):
    depth = depth_file["depth"]
    assert depth.shape == (49, 288, 512)
    assert depth.dtype == np.float32
    assert np.isfinite(depth).all()
    assert (depth > 0).all()
    assert depth_file["intrinsics"].shape == (3, 3)


def test_things_move_in_the_clip_and_in_its_depth(depth_file):
    moved = np.abs(depth_file["depth"][24] / depth_file["depth"][0] - 1) > 0.05
    assert 0.02 < moved.mean() < 0.5


def test_the_second_camera_starts_at_the_source_view_and_turns_by_60_degrees_upright():
    path = camera_path.load(SAMPLE / "truth_camera.npz", 49, 512, 288)
    np.testing.assert_allclose(path.camera_to_world[0], np.eye(4), atol=1e-6)
    forward, right = path.camera_to_world[:, :3, 2], path.camera_to_world[:, :3, 0]
    assert np.degrees(np.arccos(forward[48] @ [0, 0, 1])) == pytest.approx(60, abs=1e-3)
    np.testing.assert_allclose(right[:, 1], 0, atol=1e-6)


def test_every_eighth_frame_has_a_true_second_view(truth_frames):
    assert truth_frames.tolist() == list(range(0, 49, 8))
    files = sorted((SAMPLE / "truth").iterdir())
    assert [f.name for f in files] == [f"frame_{t:05d}.png" for t in truth_frames]
    for file in files:
        assert pictures(file)[0].shape == (1, 288, 512, 3)


def test_the_first_true_view_is_the_first_frame_of_the_clip():
    clip, truth = pictures(SAMPLE / "clip.mp4")[0], pictures(SAMPLE / "truth" / "frame_00000.png")[0]
    difference = clip[0].astype(float) - truth[0]
    assert np.sqrt(np.mean(difference**2)) < 5


@pytest.mark.parametrize("frame", [0, 24])
def test_depth_is_planar_and_agrees_with_rays_through_pixel_centres(built, depth_file, frame):
    scene, source, _ = built
    scene.frame_set(frame)
    k, depth = depth_file["intrinsics"], depth_file["depth"][frame]
    layer = bpy.context.evaluated_depsgraph_get()
    pose = source.matrix_world
    rng = np.random.default_rng(frame)
    errors = []
    for row, column in zip(rng.integers(0, 288, 300), rng.integers(0, 512, 300), strict=True):
        x, y = (column + 0.5 - k[0, 2]) / k[0, 0], (row + 0.5 - k[1, 2]) / k[1, 1]
        direction = pose.to_3x3() @ Vector((x, -y, -1))
        hit, point, *_ = scene.ray_cast(layer, pose.translation, direction.normalized())
        assert hit
        errors.append(abs(-(pose.inverted() @ point).z / depth[row, column] - 1))
    # A ray along an edge may hit one side here and the other side in Cycles.
    assert np.mean(np.array(errors) < 1e-4) > 0.99


def test_intrinsics_and_second_camera_agree_with_blenders_own_projection(built, depth_file):
    scene, source, second = built
    path = camera_path.load(SAMPLE / "truth_camera.npz", 49, 512, 288)
    np.testing.assert_array_equal(path.intrinsics[0], depth_file["intrinsics"])
    rng = np.random.default_rng(3)
    for frame in (0, 20, 48):
        scene.frame_set(frame)
        for point in rng.uniform((-2, -1, 6), (2, 2, 20), (20, 3)):
            in_blender = source.matrix_world @ Vector((point[0], -point[1], -point[2]))
            for camera, world_to_camera in ((source, np.eye(4)), (second, path.extrinsics[frame])):
                seen = depth_file["intrinsics"] @ (world_to_camera[:3, :3] @ point + world_to_camera[:3, 3])
                u, v, z = world_to_camera_view(scene, camera, in_blender)
                np.testing.assert_allclose(seen[:2] / seen[2], (u * 512, (1 - v) * 288), atol=2e-3)
                assert seen[2] == pytest.approx(z, rel=1e-5)
