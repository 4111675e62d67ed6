"""The named camera moves."""

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, presets
from ex4d.geometry.camera_path import CameraPath

K = intrinsics.from_focal(500, 256, 256)


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.parametrize("frames", [1, 2, 25, 49, 81])
def test_every_preset_starts_at_the_source_view_and_looks_at_the_pivot(name, frames):
    path = presets.preset(name, 3.0, K, 256, 256, frames)
    assert len(path) == frames
    assert np.allclose(path.camera_to_world[0], np.eye(4))
    if name == "truck":  # looks straight ahead
        assert np.allclose(path.camera_to_world[:, :3, :3], np.eye(3))
        return
    seen = path.extrinsics @ (0, 0, 3.0, 1)
    assert np.allclose(seen[:, :2], 0, atol=1e-12)
    assert (seen[:, 2] > 0).all()


@pytest.mark.parametrize("name", ["30", "60", "90"])
def test_orbit_keeps_its_distance_from_the_pivot_and_ends_at_its_angle(name):
    path = presets.preset(name, 3.0, K, 256, 256, 33, rise=0.0)
    offset = path.camera_to_world[:, :3, 3] - (0, 0, 3)
    assert np.allclose(np.linalg.norm(offset, axis=1), 3)
    assert np.degrees(np.arctan2(offset[-1, 0], -offset[-1, 2])) == pytest.approx(float(name))


def test_swing_looks_from_the_right_then_from_the_left_and_comes_back():
    eyes = presets.preset_eyes("180", 3.0, 49)
    yaw = np.degrees(np.arctan2(eyes[:, 0], 3.0 - eyes[:, 2]))
    assert yaw[[0, 12, 24, 36, 48]] == pytest.approx([0, 45, 0, -45, 0], abs=1e-9)


def test_zooms_move_along_the_axis_by_the_documented_part():
    assert presets.preset_eyes("zoom_in", 4.0, 5)[:, 2] == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert presets.preset_eyes("zoom_out", 4.0, 3, amount=0.25)[:, 2] == pytest.approx([0, -0.5, -1])


def test_dolly_truck_crane_and_arc_move_where_their_names_say():
    last = {name: presets.preset_eyes(name, 4.0, 9)[-1] for name in presets.PRESETS}
    assert last["dolly"] == pytest.approx([0, 0, 1])
    assert last["truck"] == pytest.approx([0.8, 0, 0])
    assert last["crane"] == pytest.approx([0, -1.2, 0])  # y is down
    assert last["arc"][1] == 0
    assert np.degrees(np.arctan2(last["arc"][0], 4 - last["arc"][2])) == pytest.approx(25)
    assert last["hold"] == pytest.approx([0, 0, 0])
    assert presets.preset_eyes("dolly", 4.0, 9, amount=-2.0)[-1] == pytest.approx([0, 0, -8])


def test_a_dolly_zoom_keeps_the_size_of_what_is_as_far_as_the_pivot_and_of_nothing_else():
    path = presets.preset("dolly_zoom", 4.0, K, 256, 256, 9, amount=0.5)

    def width_at(z):
        ends = path.extrinsics @ np.array([[-1, 0, z, 1], [1, 0, z, 1]], float).T
        return path.intrinsics[:, 0, 0] * (ends[:, 0, 1] / ends[:, 2, 1] - ends[:, 0, 0] / ends[:, 2, 0])

    assert width_at(4.0) == pytest.approx(250)
    assert width_at(12.0)[-1] < 0.7 * width_at(12.0)[0]
    assert path.intrinsics[-1, :2, 2] == pytest.approx(K[:2, 2])


@pytest.mark.parametrize(("easing", "speeds"), [("even", (1, 1)), ("in_out", (0, 0)), ("in", (0, 2)), ("out", (2, 0))])
def test_easing_changes_the_speed_at_the_ends_and_neither_start_nor_end(easing, speeds):
    way = presets.preset_eyes("truck", 1.0, 1001, amount=1.0, easing=easing)[:, 0]
    assert (way[0], way[-1]) == pytest.approx((0, 1))
    assert (1000 * (way[1] - way[0]), 1000 * (way[-1] - way[-2])) == pytest.approx(speeds, abs=0.01)
    assert (np.diff(way) >= 0).all()


def test_a_hand_held_camera_sways_as_strongly_as_asked_and_repeats_by_its_seed():
    poses = presets.hand_held(20_000, 4.0, 1.5, 7)
    assert np.array_equal(poses[0], np.eye(4))
    pitch = np.degrees(np.arcsin(poses[:, 1, 2]))
    assert pitch.std() == pytest.approx(1.5, rel=0.05)
    assert np.abs(np.diff(pitch)).max() < 0.6  # within one frame
    assert np.allclose(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.eye(3))
    assert np.array_equal(presets.hand_held(30, 4.0, 1.5, 7), poses[:30])
    assert not np.allclose(presets.hand_held(30, 4.0, 1.5, 8), poses[:30])
    held = presets.preset("hold", 4.0, K, 256, 256, 30, shake=1.5, shake_seed=7)
    assert np.array_equal(held.camera_to_world, poses[:30])
    assert np.array_equal(
        presets.preset("hold", 4.0, K, 256, 256, 30).camera_to_world, np.broadcast_to(np.eye(4), (30, 4, 4))
    )
    with pytest.raises(InputError, match="45 degrees"):
        presets.hand_held(9, 1.0, 50.0, 0)


def test_the_amount_replaces_the_angle():
    assert np.allclose(presets.preset_eyes("30", 2.0, 49, amount=75), presets.preset_eyes("90", 2.0, 49, amount=75))


@pytest.mark.parametrize("name", ["180", "90", "30"])
def test_presets_in_compat_mode_are_the_releases_poses(name, shared):
    with np.load(shared / "reference" / f"recon_box_{name}.npz") as data:
        theirs = np.diag([-1.0, 1, 1, 1]) @ data["poses"].astype(np.float64)
        radius = float(data["depth_min"]) + presets.ORBIT_MARGIN
    ours = presets.preset(name, radius, K, 256, 256, 49, release_compat=True).extrinsics
    assert np.abs(ours - theirs).max() < 1e-5


def test_the_releases_sweep_grows_when_there_are_not_49_frames():
    compat = presets.preset_eyes("30", 1.0, 25, release_compat=True)[-1]
    assert compat == pytest.approx(presets.preset_eyes("30", 1.0, 25, amount=30 * 49 / 25)[-1])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("45", 1.0, 9), "one of 30, 60"),
        (("30", 0.0, 9), "in front"),
        (("30", float("nan"), 9), "in front"),
        (("30", 1.0, 0), "one frame"),
        (("zoom_in", 1.0, 9, 1.0), "0 to 1"),
        (("180", 1.0, 9, 90.0), "90 degrees"),
        (("dolly", 1.0, 9, 1.0), "less than the distance to the pivot"),
        (("dolly_zoom", 1.0, 9, 30.0), "less than the distance to the pivot"),
        (("crane", 1.0, 9, 30.0), "A crane moves by at most 10 times"),
        (("30", 1.0, 9, 400.0), "360"),
    ],
)
def test_an_impossible_preset_is_refused_with_the_reason(arguments, word):
    with pytest.raises(InputError, match=word):
        presets.preset_eyes(*arguments)


POINT = np.array([1.2, -0.5, 3.0])


def seen(path, point):
    """Where the path's cameras see a point (3,) in the picture, (T,2) in pixels."""
    pixels = path.intrinsics @ (path.extrinsics @ [*point, 1])[:, :3, None]
    return (pixels[:, :2] / pixels[:, 2:])[..., 0]


@pytest.mark.parametrize("name", [*sorted(set(presets.PRESETS) - presets.STRAIGHT), "dolly_zoom"])
def test_a_pivot_beside_the_axis_keeps_its_place_in_the_picture_and_the_camera_stays_upright(name):
    path = presets.preset(name, 9.0, K, 256, 256, 25, pivot=POINT)
    assert np.allclose(path.camera_to_world[0], np.eye(4), atol=1e-12)
    assert np.ptp(path.camera_to_world[:, :3, 3], axis=0).max() > 0.5
    assert seen(path, POINT) == pytest.approx(np.broadcast_to(seen(path, POINT)[0], (25, 2)), abs=1e-9)
    assert seen(path, POINT)[0] == pytest.approx([128 + 500 * 0.4, 128 - 500 / 6])
    assert path.camera_to_world[:, 1, 0] == pytest.approx(np.zeros(25), abs=1e-12)  # the picture's x axis is level
    assert np.linalg.det(path.camera_to_world[:, :3, :3]) == pytest.approx(np.ones(25))


def test_an_arc_about_a_point_is_level_and_keeps_its_distance_from_it():
    path = presets.preset("arc", 9.0, K, 256, 256, 25, amount=40, pivot=POINT)
    eyes = path.camera_to_world[:, :3, 3]
    assert eyes[:, 1] == pytest.approx(np.zeros(25), abs=1e-12)
    assert np.linalg.norm(eyes - POINT, axis=1) == pytest.approx(np.full(25, np.linalg.norm(POINT)))
    a, b = (eyes[t, [0, 2]] - POINT[[0, 2]] for t in (0, -1))
    assert np.degrees(np.arccos(a @ b / (a @ a))) == pytest.approx(40)


def test_straight_moves_go_by_parts_of_the_distance_along_the_axis():
    assert presets.preset("dolly", 9.0, K, 256, 256, 5, 0.5, pivot=POINT).camera_to_world[-1, :3, 3] == pytest.approx(
        [0, 0, 1.5]
    )
    assert presets.preset("truck", 9.0, K, 256, 256, 5, 0.5, pivot=POINT).camera_to_world[-1, :3, 3] == pytest.approx(
        [1.5, 0, 0]
    )


def test_a_point_of_the_world_stays_the_pivot_while_the_source_walks():
    walk = np.repeat(np.eye(4)[None], 9, 0)
    walk[:, 0, 3], walk[:, 2, 3] = np.linspace(0, 1, 9), np.linspace(0, 1.5, 9)
    path = presets.preset("arc", 9.0, K, 256, 256, 9, amount=40, pivot=POINT, source_to_world=walk)
    along_source = CameraPath(walk, np.repeat(K[None], 9, 0), 256, 256)
    assert seen(path, POINT) == pytest.approx(seen(along_source, POINT), abs=1e-9)
    between = np.linalg.norm(path.camera_to_world[:, :3, 3] - POINT, axis=1)
    assert between == pytest.approx(np.linalg.norm(walk[:, :3, 3] - POINT, axis=1))
    assert np.linalg.norm(path.camera_to_world[-1, :3, 3] - walk[-1, :3, 3]) > 0.5


def test_a_pivot_that_the_source_camera_passes_is_refused_with_its_frame():
    walk = np.repeat(np.eye(4)[None], 5, 0)
    walk[:, 2, 3] = np.arange(5.0)
    with pytest.raises(InputError, match=r"not in front of the source camera in frame 3"):
        presets.preset("arc", 9.0, K, 256, 256, 5, pivot=POINT, source_to_world=walk)
