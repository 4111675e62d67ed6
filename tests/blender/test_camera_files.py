"""Camera paths of other tools: imported as keys, exported, and used as the clip's own camera."""

from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from mathutils import Euler, Quaternion

from blender_addon.scene import axes, camera, camera_files, compat, objects
from blender_addon.shot import asking, files
from blender_addon.work import session
from ex4d.cameras import registry
from ex4d.cameras.track import CameraTrack, Lens
from ex4d.geometry import camera_path

PICTURE = axes.Picture(shots.WIDTH, shots.HEIGHT)


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def track(count=shots.FRAMES, zooms=False, **more) -> CameraTrack:
    k = np.zeros((count, 3, 3))
    k[:, 0, 0] = k[:, 1, 1] = 120 + 4 * np.arange(count) * zooms
    k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = shots.WIDTH / 2, shots.HEIGHT / 2, 1
    return CameraTrack("test", shots.walk(count), Lens(k, "pixels", (shots.WIDTH, shots.HEIGHT)), **more)


def file_of(folder: Path, name: str, made: CameraTrack) -> Path:
    file = folder / {"npz": "p.npz", "chan": "p.chan", "transforms": "p.json", "colmap": "p"}.get(name, "p.txt")
    registry.FORMATS[name].write(file, made)
    return file / "images.txt" if name == "colmap" else file


def imported(file: Path, **options) -> str:
    assert bpy.ops.ex4d.import_path(filepath=str(file), **options) == {"FINISHED"}
    return session.current().state.message


@pytest.mark.parametrize("name", registry.FORMATS)
def test_a_path_of_any_format_becomes_keys_with_its_exact_poses_and_lens(scene, shot, tmp_path, name):
    said = imported(file_of(tmp_path, name, track(zooms=True)))
    assert "13 keys" in said
    path = camera.sample(scene)
    assert np.abs(path.camera_to_world - shots.walk()).max() < 2e-6  # Blender stores float32
    if name in ("tum", "kitti", "rows16"):
        assert path.intrinsics == pytest.approx(np.repeat(shot.intrinsics[:1], shots.FRAMES, 0), rel=1e-6)
        assert "has no lens" in said
    else:
        assert path.intrinsics == pytest.approx(track(zooms=True).lens.intrinsics, rel=1e-6)
    curves = list(compat.fcurves(scene.ex4d.camera))
    assert all(len(curve.keyframe_points) == shots.FRAMES for curve in curves)
    assert {point.interpolation for curve in curves for point in curve.keyframe_points} == {"LINEAR"}


def test_nukes_camera_stands_in_blender_as_nukes_axes_say(scene, tmp_path):
    (tmp_path / "a.chan").write_text("1001 1 2 -3 0 -90 0 40\n")
    said = imported(tmp_path / "a.chan")
    matrix = np.array(scene.ex4d.camera.matrix_basis)
    assert matrix[:3, 3] == pytest.approx([1, 3, 2], abs=1e-6)  # Nuke's y is Blender's z, its -z Blender's y
    assert matrix[:3, 2] == pytest.approx([-1, 0, 0], abs=1e-6)  # turned to the right: it looks along x
    assert matrix[:3, 1] == pytest.approx([0, 0, 1], abs=1e-6)
    k = axes.intrinsics_from_lens(camera.lens_of(scene.ex4d.camera.data), PICTURE)
    assert k[1, 1] == pytest.approx(shots.HEIGHT / 2 / np.tan(np.radians(20)), rel=1e-6)
    assert "poses for 1 of 13 frames" in said


def test_a_lens_whose_pixels_are_not_square_keeps_its_width_and_that_is_said(scene, tmp_path):
    made = track()
    made.lens.intrinsics[:, 1, 1] *= 1.2
    assert "not square" in imported(file_of(tmp_path, "colmap", made))
    k = axes.intrinsics_from_lens(camera.lens_of(scene.ex4d.camera.data), PICTURE)
    assert k[0, 0] == pytest.approx(120, rel=1e-6)


def test_unit_and_world_can_be_chosen(scene, tmp_path):
    made = track()
    away = np.eye(4)
    away[:3, 3] = 5, 6, 7
    moved = CameraTrack("test", away @ made.camera_to_world, made.lens)
    imported(file_of(tmp_path, "kitti", moved), world="first", scale=2.5)
    wanted = shots.walk()
    wanted[:, :3, 3] *= 2.5
    assert np.abs(camera.sample(scene).camera_to_world - wanted).max() < 3e-6


def test_the_releases_file_is_taken_and_said_and_a_broken_one_is_refused_and_changes_nothing(scene, tmp_path):
    released = np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(shots.walk())
    np.savez(tmp_path / "camera_30.npz", extrinsics=released, intrinsics=track().lens.intrinsics[0])
    assert "EX-4D release" in imported(tmp_path / "camera_30.npz")
    assert np.abs(camera.sample(scene).camera_to_world - shots.walk()).max() < 2e-6
    (tmp_path / "a.chan").write_text("1 0 0 0 0 0 0 32\n2 0 0 zero 0 0 0 32\n")
    with pytest.raises(RuntimeError, match=r"Line 2 of .*'zero'"):
        bpy.ops.ex4d.import_path(filepath=str(tmp_path / "a.chan"))
    assert np.abs(camera.sample(scene).camera_to_world - shots.walk()).max() < 2e-6


@pytest.mark.parametrize("name", [item[0] for item in camera_files.EXPORT_ITEMS])
def test_what_is_exported_comes_back_as_it_was(scene, tmp_path, name):
    imported(file_of(tmp_path, "npz", track(zooms=True)))
    before = camera.sample(scene)
    assert bpy.ops.ex4d.export_path(filepath=str(tmp_path / "out.abc"), format=name) == {"FINISHED"}
    ending = {"colmap": "", "transforms": ".json"}.get(name, f".{name}")
    found = registry.read(tmp_path / f"out.abc{ending}")
    assert np.abs(found.camera_to_world - before.camera_to_world).max() < 1e-9
    assert found.lens.in_pixels(shots.WIDTH, shots.HEIGHT)[0] == pytest.approx(before.intrinsics, abs=1e-6)
    assert found.frames.tolist() == list(range(scene.ex4d.start, scene.ex4d.start + shots.FRAMES))


def test_the_ending_of_the_name_tells_the_format_where_none_is_chosen(scene, tmp_path):
    for ending in ("json", "npz", "chan"):
        assert bpy.ops.ex4d.export_path(filepath=str(tmp_path / f"out.{ending}")) == {"FINISHED"}
    assert bpy.ops.ex4d.export_path(filepath=str(tmp_path / "other.json"), format="chan") == {"FINISHED"}
    assert sorted(file.name for file in tmp_path.glob("o*")) == ["other.chan", "out.chan", "out.json", "out.npz"]
    registry.read(tmp_path / "out.json")


def test_an_export_never_replaces_a_folder_with_other_files(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "picture.jpg").write_text("mine")
    with pytest.raises(RuntimeError, match="holds files other than"):
        bpy.ops.ex4d.export_path(filepath=str(tmp_path / "holiday"), format="colmap")
    assert (tmp_path / "holiday" / "picture.jpg").read_text() == "mine"


def test_a_model_of_colmap_goes_to_the_server_as_one_file_with_its_points_and_scale(scene, tmp_path):
    points = np.arange(30.0).reshape(10, 3)
    facts = scene.ex4d
    facts.shot = facts.clip_path = ""  # settings apply to a single clip
    facts.motion, facts.motion_path = "FILE", str(file_of(tmp_path, "colmap", track(points=points)))
    facts.motion_scale = 3.5
    (tmp_path / "clip").mkdir()
    picture = bpy.data.images.new("p", shots.WIDTH, shots.HEIGHT)
    picture.filepath_raw, picture.file_format = str(tmp_path / "clip" / "a1.png"), "PNG"
    picture.save()
    request = asking.request_open(scene, tmp_path / "clip", "", 0, None, None)
    sent = Path(request.camera)
    assert sent.parent == files.recordings()
    found = registry.read(sent)
    assert np.abs(found.camera_to_world - shots.walk()).max() < 1e-9
    assert np.array_equal(found.points, points)
    assert request.settings["camera_scale"] == 3.5


def test_a_file_of_ours_is_imported_to_the_bit_of_blenders_numbers(scene, tmp_path):
    path = camera_path.CameraPath(shots.walk(), track().lens.intrinsics, shots.WIDTH, shots.HEIGHT)
    camera_path.save(tmp_path / "camera.npz", path)
    imported(tmp_path / "camera.npz")
    for t in (0, 5, 12):
        scene.frame_set(scene.ex4d.start + t)
        evaluated = scene.ex4d.camera.evaluated_get(bpy.context.evaluated_depsgraph_get())
        wanted = axes.pose_to_blender(shots.walk()[t])
        assert np.array(evaluated.matrix_world) == pytest.approx(wanted, abs=1e-6)
    assert objects.find(scene, objects.ROOT) == scene.ex4d.camera.parent


def test_angles_and_quaternions_are_those_of_blenders_own_library(tmp_path):
    """Blender's former .chan add-on passed their angles to an Euler with the rotation order of Nuke's camera."""
    angles = np.radians([(30, 40, 50), (-80, 170, 5), (12, -95, 100)])
    rows = "".join(f"{t + 1} 0 0 0 {x} {y} {z} 40\n" for t, (x, y, z) in enumerate(np.degrees(angles)))
    (tmp_path / "a.chan").write_text(rows)
    found = registry.read(tmp_path / "a.chan").camera_to_world[:, :3, :3]
    flip = np.diag([1, -1, -1])
    for one, angle in zip(found, angles, strict=True):
        assert flip @ one @ flip == pytest.approx(np.array(Euler(angle, "ZXY").to_matrix()), abs=1e-6)
    (tmp_path / "a.txt").write_text("0.1 1 2 3 0.1 0.5 -0.7 0.5\n")
    (pose,) = registry.read(tmp_path / "a.txt").camera_to_world
    assert pose[:3, :3] == pytest.approx(np.array(Quaternion((0.5, 0.1, 0.5, -0.7)).to_matrix()), abs=1e-6)
