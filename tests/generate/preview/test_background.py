import numpy as np
import pytest

from ex4d.generate.preview.background import background
from ex4d.geometry import intrinsics
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render.scene import Scene

WIDTH, HEIGHT, FRAMES = 160, 96, 4
LENS = intrinsics.from_focal(100.0, WIDTH, HEIGHT)
RED, SKY, GRASS = (230, 20, 20), (90, 140, 230), (40, 150, 50)


def turned(degrees, axis=1, place=(0.0, 0.0, 0.0)):
    """A pose rotated about the axis, to the right or upwards."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pose = np.eye(4)
    pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]] if axis == 1 else [[1, 0, 0], [0, c, -s], [0, s, c]]
    pose[:3, 3] = place
    return pose


def scene_of(frames, depth, source=None, moving=None, cameras=None):
    count = len(frames)
    mesh = DWMesh.from_depth(DepthVideo(depth.astype(np.float32), intrinsics.per_frame(LENS, count), "made"), source)
    poses = np.broadcast_to(turned(0, place=(2, 0, 0)), (count, 4, 4)) if cameras is None else cameras
    path = CameraPath(poses, intrinsics.per_frame(LENS, count), WIDTH, HEIGHT)
    return Scene(mesh, frames.astype(np.uint8), path, moving=moving)


def rays(pose):
    """World directions (h,w,3) of a camera's pixels."""
    x, y = np.arange(WIDTH) + 0.5 - LENS[0, 2], np.arange(HEIGHT) + 0.5 - LENS[1, 2]
    rays = np.stack(np.broadcast_arrays(x / LENS[0, 0], (y / LENS[1, 1])[:, None], 1.0), axis=-1)
    return rays @ pose[:3, :3].T


def meadow(pose, height=1.6):
    """Picture and depth of green ground under a blue sky, from a camera `height` above it."""
    down = rays(pose)[..., 1]
    on_ground = down > height / 300
    depth = np.where(on_ground, height / np.where(on_ground, down, 1), 300)
    return np.where(on_ground[..., None], GRASS, SKY), depth


def stay(picture, depth):
    return np.stack([picture] * FRAMES), np.stack([depth] * FRAMES)


def is_red(picture):
    return picture[..., 0].astype(int) - picture[..., 2] > 60


def test_what_stands_in_front_is_no_background():
    picture, depth = meadow(np.eye(4))
    picture[30:60, 60:75], depth[30:60, 60:75] = RED, 4
    scene = scene_of(*stay(picture, depth))
    for pose in (np.eye(4), turned(0, place=(1, 0, 0)), turned(-30, place=(2, 0, 1))):
        view = background(scene).view(pose, LENS, WIDTH, HEIGHT)
        assert not is_red(view).any()
    truth, _ = meadow(np.eye(4))
    error = np.abs(background(scene).view(np.eye(4), LENS, WIDTH, HEIGHT).astype(int) - truth).max(axis=-1)
    error[44:52] = 0  # the horizon, which gets soft
    assert error[30:60, 60:75].max() < 12


def test_what_moves_and_is_known_to_is_left_out_though_it_fills_the_picture():
    picture, depth = meadow(np.eye(4))
    frames, depths = stay(picture, depth)
    moving = np.zeros(depths.shape, np.bool_)
    moving[:, :, 20:140] = True
    frames[moving], depths[moving] = RED, 3
    assert is_red(background(scene_of(frames, depths)).view(np.eye(4), LENS, WIDTH, HEIGHT)).mean() > 0.3
    view = background(scene_of(frames, depths, moving=moving)).view(np.eye(4), LENS, WIDTH, HEIGHT)
    assert not is_red(view).any()


def test_what_a_thing_hid_for_a_time_is_seen_behind_it(moving_box):
    clip, depth = moving_box
    height, width = clip.frames.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    wall = np.stack([rows * 4, columns * 3, (rows + columns) * 2], axis=-1).astype(np.uint8)
    mesh, k = DWMesh.from_depth(depth), depth.intrinsics
    path = CameraPath(np.broadcast_to(np.eye(4), (len(mesh), 4, 4)), k, width, height)
    view = background(Scene(mesh, clip.frames, path)).view(np.eye(4), k[0], width, height)
    # The box is at columns 16 to 32 in the first frame, and moves away from there.
    error = np.abs(view.astype(int) - wall)[14:34, 16:24]
    assert error.mean() < 8
    assert np.abs(clip.frames[0].astype(int) - wall)[14:34, 16:24].mean() > 100


@pytest.mark.parametrize("tilt", [0.0, -20.0])
def test_where_nobody_looked_the_background_goes_on_at_its_elevation(tilt):
    source = turned(tilt, axis=0)
    scene = scene_of(*stay(*meadow(source)), source=np.stack([source] * FRAMES))
    for aside in (60, 120, 180):
        pose = turned(aside)  # level, whatever the source camera's tilt
        view, (truth, _) = background(scene).view(pose, LENS, WIDTH, HEIGHT), meadow(pose)
        horizon = np.abs(rays(pose)[..., 1] / np.linalg.norm(rays(pose), axis=-1)) < 0.06
        error = np.abs(view.astype(int) - truth).max(axis=-1)
        assert error[~horizon].mean() < 5, aside


def test_near_and_far_background_move_against_each_other_as_they_should():
    def textured(pose):
        """Ground with stripes across the view, every 2 units up to 40 away, then a grey wall."""
        directions = rays(pose)
        with np.errstate(divide="ignore"):
            along = (1.6 - pose[1, 3]) / directions[..., 1]
        ground = (along > 0) & (along * directions[..., 2] + pose[2, 3] < 40)
        depth = np.where(ground, along, (40 - pose[2, 3]) / directions[..., 2])
        at = along * directions[..., 0] + pose[0, 3]
        stripe = np.sin(at * 2)[..., None] * np.array([60, 40, 20]) + 120
        return np.where(ground[..., None], stripe, 100), depth

    scene = scene_of(*stay(*textured(np.eye(4))))
    pose = turned(0, place=(0.4, 0, 0))
    view, (truth, _) = background(scene).view(pose, LENS, WIDTH, HEIGHT), textured(pose)
    seen = np.s_[60:90, 30:130]
    error = np.abs(view.astype(float) - truth)[seen].mean()
    unmoved = np.abs(textured(np.eye(4))[0] - truth)[seen].mean()
    assert unmoved > 15
    assert error < 0.25 * unmoved


def test_a_shot_that_turns_all_the_way_around_has_no_seam():
    poses = np.stack([turned(angle) for angle in range(0, 360, 45)])
    shots = [meadow(pose) for pose in poses]
    scene = scene_of(
        np.stack([picture for picture, _ in shots]), np.stack([depth for _, depth in shots]), poses, cameras=poses
    )
    panorama = background(scene)
    for aside in range(0, 360, 30):
        view, (truth, _) = panorama.view(turned(aside), LENS, WIDTH, HEIGHT), meadow(turned(aside))
        assert np.mean(np.abs(view.astype(int) - truth).max(axis=-1) < 12) > 0.97, aside


def test_a_shot_in_which_everything_moves_still_has_a_background():
    frames, depths = stay(*meadow(np.eye(4)))
    view = background(scene_of(frames, depths, moving=np.ones(depths.shape, np.bool_))).view(
        np.eye(4), LENS, WIDTH, HEIGHT
    )
    assert np.median(np.abs(view.astype(int) - frames[0])) < 3
