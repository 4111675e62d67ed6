"""A moving source camera: its poses from a file, and static things that are static in the world."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ex4d.depth.files import read_depth
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.intrinsics import fit_frame, from_focal
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import Clip, read_clip
from ex4d.source_camera import pose_files

MOVING = Path(__file__).resolve().parents[2] / "sample" / "moving"


def clip_of(frames: int = 4, start: int = 0, source_frames: int = 0) -> Clip:
    fit = fit_frame(64, 48)
    return Clip(np.zeros((frames, 48, 64, 3), np.uint8), Fraction(24), "a.mp4", start, fit, (), source_frames)


def walk(frames: int) -> np.ndarray:
    """Poses on an arc around the point (0, 0, 5), starting away from the world's origin."""
    angles = np.linspace(0.2, 0.7, frames)
    return np.stack([transforms.look_at([5 * np.sin(a), 0.3, 5 - 5 * np.cos(a)], [0, 0, 5]) for a in angles])


def test_poses_come_back_relative_to_the_first_frame(tmp_path):
    poses = walk(4)
    np.savez(tmp_path / "a.npz", camera_to_world=poses)
    np.savez(tmp_path / "b.npz", extrinsics=transforms.inverse(poses))
    loaded = pose_files.load(tmp_path / "a.npz", clip_of()).camera_to_world
    assert np.allclose(loaded[0], np.eye(4))
    assert np.allclose(loaded[3], np.linalg.inv(poses[0]) @ poses[3])
    assert np.allclose(pose_files.load(tmp_path / "b.npz", clip_of()).camera_to_world, loaded)


def test_poses_of_the_whole_source_follow_the_clips_range(tmp_path):
    poses = walk(10)
    np.savez(tmp_path / "a.npz", camera_to_world=poses)
    loaded = pose_files.load(tmp_path / "a.npz", clip_of(4, start=3, source_frames=10)).camera_to_world
    assert np.allclose(loaded[2], np.linalg.inv(poses[3]) @ poses[5])


def test_poses_of_every_picture_of_a_variable_rate_clip_follow_the_pictures_shown(tmp_path):
    poses, shown = walk(6), np.array([0, 0, 1, 3])
    np.savez(tmp_path / "a.npz", camera_to_world=poses)
    clip = replace(clip_of(4, source_frames=4), stored=shown, stored_pictures=6)
    loaded = pose_files.load(tmp_path / "a.npz", clip).camera_to_world
    assert np.allclose(loaded, transforms.inverse(poses[0]) @ poses[shown])


def test_camera_files_that_cannot_be_used_are_refused(tmp_path):
    path, poses = tmp_path / "a.npz", walk(4)
    scaled = poses * [[2], [2], [2], [1]]
    for arrays, words in [
        ({"camera_to_world": walk(5)}, "5 poses, but a.mp4 has 4 frames"),
        ({"motion": poses}, "neither camera_to_world nor extrinsics"),
        ({"camera_to_world": poses, "extrinsics": poses}, "both"),
        ({"camera_to_world": scaled}, "not a rotation"),
        ({"extrinsics": np.full((4, 4, 4), np.nan)}, "not finite"),
        ({"extrinsics": poses[0]}, "shape"),
        ({"camera_to_world": poses, "points": np.zeros((4, 2))}, "shape .M, 3."),
        ({"camera_to_world": poses, "points": np.zeros((10**5 + 1, 3))}, "at most 100000"),
        ({"camera_to_world": poses, "points": np.full((1, 3), np.inf)}, "not finite"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=words):
            pose_files.load(path, clip_of())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as"):
        pose_files.load(path, clip_of())


def test_static_things_stand_still_in_the_world_while_the_camera_walks():
    """Ground and house of the moving sample: the same points from the first and the last frame."""
    clip = read_clip(MOVING / "clip.mp4", frames=None)
    depth = read_depth(MOVING / "clip.depth.npz", clip)
    poses = pose_files.load(MOVING / "camera.npz", clip).camera_to_world
    first, last = 0, len(clip.frames) - 1
    with_motion, without = DWMesh.from_depth(depth, poses), DWMesh.from_depth(depth)
    k = depth.intrinsics[first]

    def distance_apart(mesh: DWMesh) -> float:
        """Median relative distance of points of the last frame from their positions by the first frame's depth."""
        points = mesh.vertices(last).reshape(mesh.height, mesh.width, 3)[2:-2, 2:-2].reshape(-1, 3)
        points = points[(points[:, 2] > 1) & (points[:, 2] < 60)]
        x = points[:, 0] / points[:, 2] * k[0, 0] + k[0, 2] - 0.5
        y = points[:, 1] / points[:, 2] * k[1, 1] + k[1, 2] - 0.5
        inside = (x > 2) & (x < mesh.width - 3) & (y > 2) & (y < mesh.height - 3)
        assert inside.sum() > 5000
        # Disparity is linear along planes, so it may be interpolated there.
        disparity = cv2.remap(1 / mesh.depth[first], *np.float32([x, y])[:, inside, None], cv2.INTER_LINEAR)
        return float(np.median(np.abs(1 / disparity[:, 0] / points[inside, 2] - 1)))

    assert np.linalg.norm(poses[last, :3, 3]) > 4  # it moves by metres
    assert distance_apart(with_motion) < 0.002
    assert distance_apart(without) > 0.1


def test_a_trackers_unit_is_found_from_its_points(tmp_path):
    clip = read_clip(MOVING / "clip.mp4", frames=None)
    depth = read_depth(MOVING / "clip.depth.npz", clip)
    true = pose_files.load(MOVING / "camera.npz", clip)
    random = np.random.default_rng(0)
    rows, columns = random.integers(20, depth.depth.shape[1] - 20, 60), random.integers(20, 200, 60)
    z = depth.depth[0, rows, columns]
    near = z < 50
    k = depth.intrinsics[0]
    x, y = (columns + 0.5 - k[0, 2]) / k[0, 0], (rows + 0.5 - k[1, 2]) / k[1, 1]
    points = (np.stack([x, y, np.ones_like(x)], -1) * z[:, None])[near]
    points[:5] = random.normal(0, 20, (5, 3))  # a tracker has some wrong ones

    tracked, turned = 0.037, transforms.look_at([1, 2, 3], [0, 0, 9])
    poses = turned @ true.camera_to_world
    poses[:, :3, 3] *= tracked
    path = tmp_path / "tracker.npz"
    world = points @ turned[:3, :3].T + turned[:3, 3]
    pose_files.save(path, pose_files.SourceCamera(poses, world * tracked))
    found, said = pose_files.in_unit_of(pose_files.load(path, clip), depth)
    assert np.allclose(found.camera_to_world, true.camera_to_world, rtol=0.02, atol=0.05)
    assert "scaled by 2" in said


def test_without_points_the_distances_stay(tmp_path):
    path, poses = tmp_path / "a.npz", walk(4)
    np.savez(path, camera_to_world=poses)
    depth = DepthVideo(np.full((4, 48, 64), 5, np.float32), from_focal(60, 64, 48), "test")
    loaded = pose_files.load(path, clip_of())
    kept, said = pose_files.in_unit_of(loaded, depth)
    assert np.array_equal(kept.camera_to_world, loaded.camera_to_world)
    assert said == "The source camera moves, in the unit of the depth."
    assert "is a guess" in pose_files.in_unit_of(loaded, replace(depth, is_guess=True))[1]
    np.savez(path, camera_to_world=poses, points=transforms.inverse(poses[0])[:3, 3] - np.ones((20, 3)))
    behind = pose_files.load(path, clip_of())
    assert "give no scale" in pose_files.in_unit_of(replace(behind, points=-abs(behind.points)), depth)[1]
