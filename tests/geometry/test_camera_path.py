import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import camera_path, intrinsics, transforms

K = intrinsics.from_focal(500, 256, 256)


@pytest.mark.parametrize("name", camera_path.PRESETS)
@pytest.mark.parametrize("frames", [1, 2, 25, 49, 81])
def test_every_preset_starts_at_the_source_view_and_looks_at_the_pivot(name, frames):
    path = camera_path.preset(name, 3.0, K, 256, 256, frames)
    assert len(path) == frames
    assert np.allclose(path.camera_to_world[0], np.eye(4))
    seen = path.extrinsics @ (0, 0, 3.0, 1)
    assert np.allclose(seen[:, :2], 0, atol=1e-12)
    assert (seen[:, 2] > 0).all()


@pytest.mark.parametrize("name", ["30", "60", "90"])
def test_orbit_keeps_its_distance_from_the_pivot_and_ends_at_its_angle(name):
    path = camera_path.preset(name, 3.0, K, 256, 256, 33, rise=0.0)
    offset = path.camera_to_world[:, :3, 3] - (0, 0, 3)
    assert np.allclose(np.linalg.norm(offset, axis=1), 3)
    assert np.degrees(np.arctan2(offset[-1, 0], -offset[-1, 2])) == pytest.approx(float(name))


def test_swing_looks_from_the_right_then_from_the_left_and_comes_back():
    eyes = camera_path.preset_eyes("180", 3.0, 49)
    yaw = np.degrees(np.arctan2(eyes[:, 0], 3.0 - eyes[:, 2]))
    assert yaw[[0, 12, 24, 36, 48]] == pytest.approx([0, 45, 0, -45, 0], abs=1e-9)


def test_zooms_move_along_the_axis_by_the_documented_part():
    assert camera_path.preset_eyes("zoom_in", 4.0, 5)[:, 2] == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert camera_path.preset_eyes("zoom_out", 4.0, 3, amount=0.25)[:, 2] == pytest.approx([0, -0.5, -1])


def test_the_amount_replaces_the_angle():
    assert np.allclose(
        camera_path.preset_eyes("30", 2.0, 49, amount=75), camera_path.preset_eyes("90", 2.0, 49, amount=75)
    )


@pytest.mark.parametrize("name", ["180", "90", "30"])
def test_presets_in_compat_mode_are_the_releases_poses(name, shared):
    with np.load(shared / "reference" / f"recon_box_{name}.npz") as data:
        theirs = np.diag([-1.0, 1, 1, 1]) @ data["poses"].astype(np.float64)
        radius = float(data["depth_min"]) + camera_path.ORBIT_MARGIN
    ours = camera_path.preset(name, radius, K, 256, 256, 49, release_compat=True).extrinsics
    assert np.abs(ours - theirs).max() < 1e-5


def test_the_releases_sweep_grows_when_there_are_not_49_frames():
    compat = camera_path.preset_eyes("30", 1.0, 25, release_compat=True)[-1]
    assert compat == pytest.approx(camera_path.preset_eyes("30", 1.0, 25, amount=30 * 49 / 25)[-1])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("45", 1.0, 9), "one of 30, 60"),
        (("30", 0.0, 9), "in front"),
        (("30", float("nan"), 9), "in front"),
        (("30", 1.0, 0), "one frame"),
        (("zoom_in", 1.0, 9, 1.0), "0 to 1"),
        (("180", 1.0, 9, 90.0), "90 degrees"),
        (("30", 1.0, 9, 400.0), "360"),
    ],
)
def test_an_impossible_preset_is_refused_with_the_reason(arguments, word):
    with pytest.raises(InputError, match=word):
        camera_path.preset_eyes(*arguments)


def test_a_saved_path_comes_back(tmp_path):
    path = camera_path.preset("90", 3.0, K, 256, 144, 9)
    camera_path.save(tmp_path / "path.npz", path)
    again = camera_path.load(tmp_path / "path.npz", 9, 64, 64)
    assert np.allclose(again.camera_to_world, path.camera_to_world)
    assert np.allclose(again.intrinsics, path.intrinsics)
    assert (again.width, again.height) == (256, 144)


def test_a_file_without_a_size_takes_the_clips(tmp_path):
    np.savez(
        tmp_path / "path.npz",
        extrinsics=np.broadcast_to(np.eye(4, dtype=np.float32), (3, 4, 4)),
        intrinsics=K,
    )
    path = camera_path.load(tmp_path / "path.npz", 3, 64, 48)
    assert (path.width, path.height) == (64, 48)
    assert path.intrinsics.shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"extrinsics": np.eye(4), "intrinsics": K}, "shape"),
        ({"extrinsics": np.zeros((3, 4, 4)), "intrinsics": K}, "last row"),
        ({"extrinsics": np.full((3, 4, 4), np.nan), "intrinsics": K}, "finite"),
        ({"extrinsics": np.broadcast_to(np.diag([2.0, 2, 2, 1]), (3, 4, 4)), "intrinsics": K}, "rotation"),
        (
            {"extrinsics": np.broadcast_to(np.eye(4), (5, 4, 4)), "intrinsics": K},
            "5 poses but the clip has 3",
        ),
        ({"extrinsics": np.broadcast_to(np.eye(4), (3, 4, 4))}, "no key 'intrinsics'"),
        ({"extrinsics": np.broadcast_to(np.eye(4), (3, 4, 4)), "intrinsics": K * np.nan}, "finite"),
        (
            {
                "extrinsics": np.broadcast_to(np.eye(4), (3, 4, 4)),
                "intrinsics": K,
                "width": 1 << 40,
                "height": 9,
            },
            "pixels",
        ),
        (
            {"extrinsics": np.broadcast_to(np.eye(4), (3, 4, 4)), "intrinsics": K, "width": [9], "height": 9},
            "whole",
        ),
    ],
)
def test_a_camera_file_that_cannot_be_used_is_refused_with_the_reason(content, word, tmp_path):
    np.savez(tmp_path / "path.npz", **content)
    with pytest.raises(InputError, match=word):
        camera_path.load(tmp_path / "path.npz", 3, 64, 48)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_a_camera_file_that_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "path.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"path\.npz"):
        camera_path.load(tmp_path / "path.npz", 3, 64, 48)


def test_a_missing_camera_file_is_named(tmp_path):
    with pytest.raises(InputError, match="There is no camera file"):
        camera_path.load(tmp_path / "path.npz", 3, 64, 48)


def test_extrinsics_are_world_to_camera():
    path = camera_path.preset("60", 3.0, K, 256, 256, 9)
    assert np.allclose(path.extrinsics @ path.camera_to_world, np.eye(4))
    assert np.allclose(transforms.inverse(path.extrinsics)[-1, :3, 3], path.camera_to_world[-1, :3, 3])
