"""A source camera that moves: its poses from a file, and static things that stand still in the world."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ex4d import extrinsics, source_camera
from ex4d.clip import Clip, read_clip
from ex4d.depth import read_depth
from ex4d.errors import InputError
from ex4d.intrinsics import fit_frame
from ex4d.mesh import DWMesh

MOVING = Path(__file__).resolve().parents[2] / "sample" / "moving"


def clip_of(frames: int = 4, start: int = 0, source_frames: int = 0) -> Clip:
    fit = fit_frame(64, 48)
    return Clip(np.zeros((frames, 48, 64, 3), np.uint8), Fraction(24), "a.mp4", start, fit, (), source_frames)


def walk(frames: int) -> np.ndarray:
    """Poses on an arc around the point (0, 0, 5), from somewhere that is not the world's origin."""
    angles = np.linspace(0.2, 0.7, frames)
    return np.stack([extrinsics.look_at([5 * np.sin(a), 0.3, 5 - 5 * np.cos(a)], [0, 0, 5]) for a in angles])


def test_poses_come_back_relative_to_the_first_frame(tmp_path):
    poses = walk(4)
    np.savez(tmp_path / "a.npz", camera_to_world=poses)
    np.savez(tmp_path / "b.npz", extrinsics=extrinsics.inverse(poses))
    loaded = source_camera.load(tmp_path / "a.npz", clip_of())
    assert np.allclose(loaded[0], np.eye(4))
    assert np.allclose(loaded[3], np.linalg.inv(poses[0]) @ poses[3])
    assert np.allclose(source_camera.load(tmp_path / "b.npz", clip_of()), loaded)


def test_poses_of_the_whole_source_follow_the_clips_range(tmp_path):
    poses = walk(10)
    np.savez(tmp_path / "a.npz", camera_to_world=poses)
    loaded = source_camera.load(tmp_path / "a.npz", clip_of(4, start=3, source_frames=10))
    assert np.allclose(loaded[2], np.linalg.inv(poses[3]) @ poses[5])


def test_poses_of_every_picture_of_a_variable_rate_clip_follow_the_pictures_shown(tmp_path):
    poses, shown = walk(6), np.array([0, 0, 1, 3])
    np.savez(tmp_path / "a.npz", camera_to_world=poses)
    clip = replace(clip_of(4, source_frames=4), stored=shown, stored_pictures=6)
    assert np.allclose(source_camera.load(tmp_path / "a.npz", clip), source_camera.relative_to_first(poses[shown]))


def test_camera_files_that_cannot_be_used_are_refused(tmp_path):
    path, poses = tmp_path / "a.npz", walk(4)
    scaled = poses * [[2], [2], [2], [1]]
    for arrays, words in [
        ({"camera_to_world": walk(5)}, "5 poses, but a.mp4 has 4 frames"),
        ({"poses": poses}, "neither camera_to_world nor extrinsics"),
        ({"camera_to_world": poses, "extrinsics": poses}, "both"),
        ({"camera_to_world": scaled}, "not a rotation"),
        ({"extrinsics": np.full((4, 4, 4), np.nan)}, "not finite"),
        ({"extrinsics": poses[0]}, "shape"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=words):
            source_camera.load(path, clip_of())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as"):
        source_camera.load(path, clip_of())


def test_static_things_stand_still_in_the_world_while_the_camera_walks():
    """Ground and house of the moving sample: the same points from the first and the last frame."""
    clip = read_clip(MOVING / "clip.mp4", frames=None)
    depth = read_depth(MOVING / "clip.depth.npz", clip)
    poses = source_camera.load(MOVING / "camera.npz", clip)
    first, last = 0, len(clip.frames) - 1
    with_motion, without = DWMesh.from_depth(depth, poses), DWMesh.from_depth(depth)
    k = depth.intrinsics[first]

    def distance_apart(mesh: DWMesh) -> float:
        """Of points of the last frame: how far the first frame's depth has them elsewhere, relative, median."""
        points = mesh.vertices(last).reshape(mesh.height, mesh.width, 3)[2:-2, 2:-2].reshape(-1, 3)
        points = points[(points[:, 2] > 1) & (points[:, 2] < 60)]
        x = points[:, 0] / points[:, 2] * k[0, 0] + k[0, 2] - 0.5
        y = points[:, 1] / points[:, 2] * k[1, 1] + k[1, 2] - 0.5
        inside = (x > 2) & (x < mesh.width - 3) & (y > 2) & (y < mesh.height - 3)
        assert inside.sum() > 5000
        # Disparity is even along planes, so that it may be interpolated there.
        disparity = cv2.remap(1 / mesh.depth[first], *np.float32([x, y])[:, inside, None], cv2.INTER_LINEAR)
        return float(np.median(np.abs(1 / disparity[:, 0] / points[inside, 2] - 1)))

    assert np.linalg.norm(poses[last, :3, 3]) > 4  # it walks metres
    assert distance_apart(with_motion) < 0.002
    assert distance_apart(without) > 0.1
