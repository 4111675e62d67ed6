"""Measures without a true view: warp error, flicker, matches, and the error of the camera."""

import cv2
import numpy as np
import pytest

from ex4d.geometry import transforms
from ex4d.metrics.camera_error import camera_error, find_camera
from ex4d.metrics.matches import matches
from ex4d.metrics.ranges import range_of, signed_angles
from ex4d.metrics.steadiness import Steadiness


@pytest.fixture(scope="module")
def texture():
    """A picture (144,192,3) with detail at many sizes."""
    random = np.random.default_rng(0)
    layers = [
        cv2.resize(random.random((144 // n, 192 // n, 3)).astype(np.float32), (192, 144), interpolation=cv2.INTER_CUBIC)
        for n in (3, 6, 12, 24)
    ]
    return (np.clip(np.mean(layers, axis=0), 0.2, 0.8) * 255).astype(np.uint8)


def changes(frames):
    steady = Steadiness()
    return [found for frame in frames if (found := steady.next(frame)) is not None]


def test_a_still_picture_neither_warps_nor_flickers(texture):
    first, second, third = changes([texture] * 4)
    assert first.warp_error() == 0
    assert first.flickering() is None  # it has only one neighbour
    assert (second.flickering(), third.warp_error()) == (0, 0)


def test_a_picture_whose_brightness_goes_up_and_down_by_eight_flickers_by_eight(texture):
    brighter = texture + 8
    found = changes([texture, brighter, texture, brighter])
    assert found[1].flickering() == pytest.approx(8, abs=0.1)
    assert found[1].warp_error() == pytest.approx(1000 * (8 / 255) ** 2, rel=0.01)


def test_a_picture_that_slowly_gets_brighter_does_not_flicker(texture):
    found = changes([texture, texture + 4, texture + 8])
    assert found[1].flickering() == pytest.approx(0, abs=0.05)
    assert found[0].warp_error() == pytest.approx(1000 * (4 / 255) ** 2, rel=0.05)


def test_motion_is_followed_and_only_what_changes_beside_it_counts(texture):
    moved = [np.roll(texture, 2 * t, axis=1)[:, 16:-16] for t in range(4)]
    steady = changes(moved)[1]
    assert steady.followed.mean() > 0.8
    assert steady.warp_error() < 0.2
    half = [frame.copy() for frame in moved]
    for t in (1, 3):
        half[t][:72] += 8  # above, not below
    found = changes(half)[1]
    above = np.zeros(found.followed.shape, bool)
    above[:64] = True
    below = np.zeros_like(above)
    below[80:] = True
    assert found.flickering(above) == pytest.approx(8, abs=1.5)
    assert found.flickering(below) < 1.5


def test_a_mask_where_nothing_can_be_followed_gives_no_figure(texture):
    found = changes([texture, texture])[0]
    assert found.warp_error(np.zeros(found.followed.shape, bool)) is None


def test_a_moved_picture_matches_and_another_one_does_not(texture):
    sift = cv2.SIFT.create(nfeatures=2000)
    points = len(sift.detect(cv2.cvtColor(texture, cv2.COLOR_RGB2GRAY), None))
    assert points > 100
    assert matches(texture, texture) >= 0.9 * points
    assert matches(texture, np.roll(texture, 9, axis=1)) > 0.6 * points
    other = np.random.default_rng(5).integers(0, 256, texture.shape, dtype=np.uint8)
    assert matches(texture, other) <= 10
    assert matches(texture, np.full_like(texture, 128)) == 0


def poses(turns, places):
    made = np.tile(np.eye(4), (len(turns), 1, 1))
    for pose, degrees, place in zip(made, turns, places, strict=True):
        pose[:3, :3] = cv2.Rodrigues(np.array([0, np.radians(degrees), 0]))[0]
        pose[:3, 3] = place
    return made


def test_errors_of_a_camera_are_those_computed_by_hand():
    true = poses([0, 10, 20], [(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    found = poses([0, 12, 26], [(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    error = camera_error(found, true)
    assert error.rot_err == pytest.approx((2 + 6) / 2)
    assert error.trans_err == pytest.approx(0, abs=1e-12)
    # |R(a) - R(b)| = 2 sqrt(2) sin(|a - b| / 2)
    by_hand = np.mean([2 * np.sqrt(2) * np.sin(np.radians(a) / 2) for a in (2, 6)])
    assert error.cam_mc == pytest.approx(by_hand)


def test_the_unit_and_the_world_of_a_found_camera_do_not_matter():
    true = poses([0, 5, 15, 30], [(0, 0, 0), (1, 0, 0.2), (2, 0.1, 0.5), (3, 0, 1)])
    scaled = true.copy()
    scaled[:, :3, 3] *= 0.01
    elsewhere = poses([40], [(3, 1, -2)])[0] @ scaled
    error = camera_error(elsewhere, true)
    assert (error.rot_err, error.trans_err, error.cam_mc) == pytest.approx((0, 0, 0), abs=1e-9)


def test_a_distance_is_a_part_of_how_far_the_true_camera_goes():
    true = poses([0, 0, 0], [(0, 0, 0), (0, 0, 5), (0, 0, 10)])
    found = poses([0, 0, 0], [(0, 0, 0), (0, 3, 5), (0, 0, 10)])
    # the least-squares scale is 125 / 134
    scale = 125 / 134
    by_hand = np.mean([np.hypot(3 * scale, 5 - 5 * scale), 10 - 10 * scale]) / 10
    assert camera_error(found, true).trans_err == pytest.approx(by_hand)
    assert camera_error(true[:, :], np.tile(np.eye(4), (3, 1, 1))).trans_err is None


def test_angles_have_the_side_that_the_camera_looks_to_and_ranges_follow():
    path = poses([0, 30, -45], [(0, 0, 0)] * 3)
    assert signed_angles(path, None) == pytest.approx([0, 30, -45])
    assert signed_angles(path, path) == pytest.approx([0, 0, 0], abs=1e-9)
    assert range_of(np.array([0, 10, 30.0])) == "small"
    assert range_of(np.array([0, -10, -59.0])) == "large"
    assert range_of(np.array([0, 90.0])) == "extreme"
    assert range_of(np.array([-90, 0, 90.0])) == "full"
    assert range_of(np.array([0, 150.0])) == "other"


def test_the_camera_of_a_rendered_scene_is_found_in_its_pictures(monkeypatch):
    from ex4d.metrics.rendered import SCENES
    from ex4d.source_camera import pictures
    from ex4d.synthetic import scenes

    monkeypatch.setattr(pictures, "SIDE", 448)
    assert "drone" in SCENES
    footage = scenes.make("drone", 17, 320, 180, noise=0).source
    looked = find_camera(iter(footage.frames), 17, (320, 180), footage.cameras.intrinsics)
    assert looked.poses is not None, looked.note
    error = camera_error(looked.poses, footage.cameras.camera_to_world[looked.at])
    assert error.rot_err < 1.0
    assert error.trans_err is not None
    assert error.trans_err < 0.05
    assert transforms.check(looked.poses, name="found").shape == (17, 4, 4)
