"""Where the camera of a clean plate was, compared with the truth of generated scenes."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.source_camera.plate import Frames, register
from ex4d.synthetic import depth_errors, scenes

SIZE = 384, 216


def frames_of(footage, with_camera=True):
    cameras = footage.cameras
    poses = cameras.camera_to_world if with_camera else None
    return Frames(footage.frames, footage.depth, cameras.intrinsics, poses, footage.moving)


@pytest.fixture(scope="module")
def drone():
    return frames_of(scenes.make("drone", 9, *SIZE).source)


@pytest.mark.parametrize("movers", [False, True])
def test_a_plate_of_the_same_place_is_put_where_it_was_shot(drone, movers):
    plate = scenes.clean_plate("drone", 2, *SIZE, movers=movers)
    far = replace(frames_of(plate, False), depth=plate.depth * np.float32(3))  # in another unit
    placed = register(drone, far)
    assert [one.frame for one in placed] == [0, 1]
    for one, true in zip(placed, plate.cameras.camera_to_world, strict=True):
        turn = np.degrees(np.arccos(np.clip((np.trace(one.camera_to_world[:3, :3].T @ true[:3, :3]) - 1) / 2, -1, 1)))
        assert turn < 0.1
        assert np.linalg.norm(one.camera_to_world[:3, 3] - true[:3, 3]) < 0.004 * 25  # 25 is the distance of the scene
        assert one.scale == pytest.approx(1 / 3, rel=0.01)
        assert one.points > 50


def test_one_picture_is_enough_and_depth_as_models_make_it_too(drone):
    plate = scenes.clean_plate("drone", 1, *SIZE)
    wrong = [
        depth_errors.wrong(depth, depth_errors.usual(seed), seed)
        for seed, depth in ((1, drone.depth), (2, plate.depth))
    ]
    (placed,) = register(replace(drone, depth=wrong[0]), replace(frames_of(plate, False), depth=wrong[1]))
    (true,) = plate.cameras.camera_to_world
    scale = float(np.median(wrong[0] / drone.depth))
    assert np.linalg.norm(placed.camera_to_world[:3, 3] / scale - true[:3, 3]) < 0.1 * 25


@pytest.mark.parametrize("name", ["street", "still"])
def test_a_plate_of_another_place_has_no_place(drone, name):
    assert register(drone, frames_of(scenes.clean_plate(name, 2, *SIZE), False)) == []


def test_depth_that_does_not_fit_the_place_is_refused(drone):
    plate = scenes.clean_plate("drone", 1, *SIZE)
    noise = np.exp(np.random.default_rng(0).normal(0, 1, plate.depth.shape)).astype(np.float32)
    assert register(drone, replace(frames_of(plate, False), depth=plate.depth * noise)) == []


def test_a_blank_picture_has_no_place(drone):
    blank = Frames(np.full((1, 216, 384, 3), 90, np.uint8), np.ones((1, 216, 384), np.float32), drone.intrinsics[:1])
    assert register(drone, blank) == []
