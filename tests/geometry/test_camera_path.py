"""Camera paths and their files."""

import errno
import os
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex4d.errors import InputError
from ex4d.geometry import camera_path, intrinsics, presets, transforms
from ex4d.geometry.camera_path import CameraPath

K = intrinsics.from_focal(500, 256, 256)


def test_a_saved_path_comes_back(tmp_path):
    path = presets.preset("90", 3.0, K, 256, 144, 9)
    camera_path.save(tmp_path / "path.npz", path)
    again = camera_path.load(tmp_path / "path.npz", 9, 64, 64)
    assert np.array_equal(again.camera_to_world, path.camera_to_world)
    assert np.array_equal(again.intrinsics, path.intrinsics)
    assert (again.width, again.height) == (256, 144)


@st.composite
def paths(draw: st.DrawFn) -> CameraPath:
    """Cameras at any place and angle, with axes as far from orthonormal as is accepted."""
    frames = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    axes, _ = np.linalg.qr(rng.normal(size=(frames, 3, 3)))
    axes *= np.sign(np.linalg.det(axes))[:, None, None]
    poses = np.broadcast_to(np.eye(4), (frames, 4, 4)).copy()
    poses[:, :3, :3] = axes + rng.normal(size=axes.shape) * draw(st.sampled_from([0, 1e-9, 1e-5]))
    poses[:, :3, 3] = rng.normal(size=(frames, 3)) * draw(st.sampled_from([0, 1e-3, 1, 1e6]))
    k = np.stack([intrinsics.from_focal(draw(st.floats(1, 1e5)), 640, 480) for _ in range(frames)])
    return CameraPath(poses, k, draw(st.integers(1, 16384)), draw(st.integers(1, 16384)))


@given(paths())
def test_a_path_that_was_saved_comes_back_to_the_bit(tmp_path_factory, path):
    file = tmp_path_factory.mktemp("path") / "path.npz"
    camera_path.save(file, path)
    again = camera_path.load(file, len(path), 64, 64)
    assert again.camera_to_world.tobytes() == path.camera_to_world.tobytes()
    assert again.intrinsics.tobytes() == path.intrinsics.tobytes()
    assert (again.width, again.height) == (path.width, path.height)
    camera_path.save(file.with_name("again.npz"), again)
    assert file.with_name("again.npz").read_bytes() == file.read_bytes()


def test_a_camera_file_does_not_depend_on_when_it_is_written(tmp_path, monkeypatch):
    path = presets.preset("90", 3.0, K, 256, 144, 9)
    camera_path.save(tmp_path / "now.npz", path)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((2033, 5, 18, 3, 33, 20, 2, 138, 0)))
    camera_path.save(tmp_path / "later.npz", path)
    assert (tmp_path / "now.npz").read_bytes() == (tmp_path / "later.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "now.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_camera_file_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    file, path = tmp_path / "path.npz", presets.preset("90", 3.0, K, 256, 144, 9)
    camera_path.save(file, path)
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="disk is full"):
        camera_path.save(file, presets.preset("30", 3.0, K, 256, 144, 9))
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_either_kind_of_pose_is_enough_and_both_must_agree(tmp_path):
    path, file = presets.preset("60", 3.0, K, 64, 48, 3), tmp_path / "path.npz"
    np.savez(file, camera_to_world=path.camera_to_world, intrinsics=K)
    assert np.array_equal(camera_path.load(file, 3, 64, 48).camera_to_world, path.camera_to_world)
    np.savez(file, extrinsics=path.extrinsics.astype(np.float32), intrinsics=K)
    assert np.allclose(camera_path.load(file, 3, 64, 48).camera_to_world, path.camera_to_world, atol=1e-5)
    np.savez(
        file,
        camera_to_world=path.camera_to_world,
        extrinsics=path.extrinsics.astype(np.float32),
        intrinsics=K,
    )
    assert np.array_equal(camera_path.load(file, 3, 64, 48).camera_to_world, path.camera_to_world)
    np.savez(file, camera_to_world=path.camera_to_world, extrinsics=path.camera_to_world, intrinsics=K)
    with pytest.raises(InputError, match=r"both camera_to_world and extrinsics.*out of date"):
        camera_path.load(file, 3, 64, 48)


def test_the_saved_extrinsics_are_world_to_camera_for_other_programs(tmp_path):
    path = presets.preset("60", 3.0, K, 256, 256, 9)
    camera_path.save(tmp_path / "path.npz", path)
    with np.load(tmp_path / "path.npz") as data:
        assert np.allclose(data["extrinsics"], np.linalg.inv(path.camera_to_world))


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
        ({"intrinsics": K}, "neither camera_to_world nor extrinsics"),
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
            "single integers",
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
    path = presets.preset("60", 3.0, K, 256, 256, 9)
    assert np.allclose(path.extrinsics @ path.camera_to_world, np.eye(4))
    assert np.allclose(transforms.inverse(path.extrinsics)[-1, :3, 3], path.camera_to_world[-1, :3, 3])
