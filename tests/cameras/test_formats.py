"""Camera files of other tools: axes, units, quaternions and lenses as those tools define them."""

import json
from itertools import pairwise

import numpy as np
import pytest

from ex4d.cameras import registry
from ex4d.cameras.track import CameraTrack, Lens
from ex4d.errors import InputError
from ex4d.geometry import camera_path, intrinsics, presets, transforms

WIDTH, HEIGHT = 640, 360
EVERY = ("npz", "chan", "transforms", "colmap", "tum", "kitti", "rows16", "re10k")


def turn(axis: str, degrees: float) -> np.ndarray:
    """The right-handed rotation about one axis, written out."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def walk(count: int) -> np.ndarray:
    """Camera-to-world poses that turn around all axes, by more than half a turn in the end."""
    poses = np.repeat(np.eye(4)[None], count, 0)
    for t in range(count):
        poses[t, :3, :3] = turn("y", 41 * t) @ turn("x", 7 * t - 20) @ turn("z", 13 * t)
        poses[t, :3, 3] = 0.3 * t, -0.1 * t * t, 1 / (t + 1)
    return poses


def lens(count: int, changes: bool = False, shifted: bool = False) -> Lens:
    k = np.zeros((count, 3, 3))
    k[:, 0, 0] = k[:, 1, 1] = 500 + (np.arange(count) * 3 if changes else 0)
    k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = WIDTH / 2 + 7 * shifted, HEIGHT / 2 - 4 * shifted, 1
    return Lens(k, "pixels", (WIDTH, HEIGHT))


def path_for(name: str, folder):
    return folder / {"npz": "a.npz", "chan": "a.chan", "transforms": "a.json", "colmap": "a"}.get(name, "a.txt")


def written(path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("changes", [False, True])
def test_poses_and_lens_come_back_from_every_format(name, changes, tmp_path):
    track = CameraTrack("test", walk(9), lens(9, changes, shifted=name != "chan"))
    file = path_for(name, tmp_path)
    registry.FORMATS[name].write(file, track)
    found = registry.read(file)
    assert np.abs(found.camera_to_world - track.camera_to_world).max() < 1e-9
    if name in ("tum", "kitti", "rows16"):
        assert found.lens is None
    else:
        k, notes = found.lens.in_pixels(WIDTH, HEIGHT)
        assert np.abs(k - track.lens.intrinsics).max() < 1e-6
        assert notes == ()


@pytest.mark.parametrize(("one", "other"), tuple(pairwise((*EVERY, "npz"))))
def test_a_track_goes_from_any_format_to_any_other(one, other, tmp_path):
    first, second = path_for(one, tmp_path / "1"), path_for(other, tmp_path / "2")
    for file in (first, second):
        file.parent.mkdir()
    registry.FORMATS[one].write(first, CameraTrack("test", walk(5), lens(5), frames=np.arange(1001, 1006)))
    read = registry.read(first)
    track = CameraTrack(read.format, read.camera_to_world, lens(5), read.frames)
    registry.FORMATS[other].write(second, track)
    assert np.abs(registry.read(second).camera_to_world - walk(5)).max() < 1e-9


def test_nuke_turns_about_z_then_x_then_y_and_has_y_up(tmp_path):
    found = registry.read(written(tmp_path / "a.chan", "1001 1 2 3 0 90 0 40\n1003 0 0 0 30 40 50 40\n"))
    assert found.frames.tolist() == [1001, 1003]
    pose = found.camera_to_world[0]
    assert pose[:3, 3] == pytest.approx([1, -2, -3])  # y up and z back become y down and z forward
    assert pose[:3, 2] == pytest.approx([-1, 0, 0])  # turned left around the vertical: it looks along -x
    assert pose[:3, 1] == pytest.approx([0, 1, 0])
    nuke = turn("y", 40) @ turn("x", 30) @ turn("z", 50)
    flip = np.diag([1, -1, -1])
    assert np.abs(found.camera_to_world[1, :3, :3] - flip @ nuke @ flip).max() < 1e-12
    assert any("ZXY" in note for note in found.notes)


def test_nukes_field_of_view_is_the_vertical_one(tmp_path):
    found = registry.read(written(tmp_path / "a.chan", "1 0 0 0 0 0 0 90\n"))
    k, _ = found.lens.in_pixels(WIDTH, HEIGHT)
    assert k[0] == pytest.approx(np.array([[180, 0, 320], [0, 180, 180], [0, 0, 1]]))
    assert registry.read(written(tmp_path / "b.chan", "1 0 0 0 0 0 0\n")).lens is None


def test_a_chan_file_says_what_nuke_needs_for_the_lens(tmp_path):
    notes = registry.FORMATS["chan"].write(tmp_path / "a.chan", CameraTrack("test", walk(3), lens(3, shifted=True)))
    assert any("vertical aperture to 13.824" in note for note in notes)  # 24.576 * 360 / 640
    assert any("shift" in note for note in notes)
    number, *_, degrees = (tmp_path / "a.chan").read_text().splitlines()[0].split()
    assert (number, float(degrees)) == ("1", pytest.approx(2 * np.degrees(np.arctan(180 / 500))))


def test_angles_of_a_chan_file_do_not_jump(tmp_path):
    poses = np.repeat(np.eye(4)[None], 40, 0)
    for t in range(40):
        poses[t, :3, :3] = turn("y", 20 * t)
    registry.FORMATS["chan"].write(tmp_path / "a.chan", CameraTrack("test", poses))
    angles = np.array([line.split()[4:7] for line in (tmp_path / "a.chan").read_text().splitlines()], float)
    assert np.abs(np.diff(angles, axis=0)).max() == pytest.approx(20)


def test_tum_has_the_real_part_of_the_quaternion_last_and_places_cameras(tmp_path):
    half = np.sqrt(0.5)
    found = registry.read(
        written(tmp_path / "a.txt", f"# a comment\n\n1.5 1 2 3 0 {half} 0 {half}\n1.6 0 0 0 0 0 0 1\n")
    )
    assert found.times.tolist() == [1.5, 1.6]
    assert found.camera_to_world[0, :3, 3].tolist() == [1, 2, 3]
    assert np.abs(found.camera_to_world[0, :3, :3] - turn("y", 90)).max() < 1e-12
    whole = registry.read(written(tmp_path / "b.txt", "0 0 0 0 0 0 0 1\n4 1 0 0 0 0 0 1\n"))
    assert (whole.times, whole.frames.tolist()) == (None, [0, 4])


def test_kitti_has_rows_of_camera_to_world(tmp_path):
    found = registry.read(written(tmp_path / "a.txt", "0 0 1 5 0 1 0 6 -1 0 0 7\n"))
    assert np.abs(found.camera_to_world[0, :3, :3] - turn("y", 90)).max() < 1e-15
    assert found.camera_to_world[0, :3, 3].tolist() == [5, 6, 7]


def test_rows_of_16_have_world_to_camera(tmp_path):
    found = registry.read(written(tmp_path / "a.txt", "0 0 -1 7 0 1 0 -6 1 0 0 -5 0 0 0 1\n"))
    assert np.abs(found.camera_to_world[0, :3, :3] - turn("y", 90)).max() < 1e-15
    assert found.camera_to_world[0, :3, 3].tolist() == [5, 6, 7]


def test_realestate10k_has_world_to_camera_and_a_lens_in_parts_of_the_picture(tmp_path):
    text = "https://www.youtube.com/watch?v=x\n33000000 0.5 0.9 0.5 0.4 0 0 1 0 0 -5 0 1 0 0 0 0 1 0\n"
    text += "33033000 0.5 0.9 0.5 0.4 0 0 1 0 0 -6 0 1 0 0 0 0 1 0\n"
    found = registry.read(written(tmp_path / "a.txt", text))
    assert found.camera_to_world[:, 0, 3].tolist() == [5, 6]
    assert found.times == pytest.approx([33, 33.033])
    k, _ = found.lens.in_pixels(WIDTH, HEIGHT)
    assert k[0] == pytest.approx(np.array([[320, 0, 320], [0, 324, 144], [0, 0, 1]]))


COLMAP_IMAGES = """# Image list with two lines of data per image:
7 0.7071067811865476 0 0.7071067811865476 0 1 2 3 2 shot/frame_10.png
1.5 2.5 -1 4 5 6
3 1 0 0 0 0.5 0 0 1 shot/frame_9.png

"""


def test_colmap_has_world_to_camera_with_the_real_part_first_and_images_in_any_order(tmp_path):
    written(tmp_path / "images.txt", COLMAP_IMAGES)
    written(
        tmp_path / "cameras.txt", "1 SIMPLE_RADIAL 640 360 510 322 181 0.1\n2 OPENCV 640 360 500 505 320 180 0 0 0 0\n"
    )
    written(tmp_path / "points3D.txt", "# points\n5 1 2 3 9 9 9 0.5 1 2\n8 4 5 6 9 9 9 0.5\n")
    for where in (tmp_path, tmp_path / "images.txt", tmp_path / "cameras.txt"):
        found = registry.read(where)
        assert found.frames.tolist() == [9, 10]
        assert found.camera_to_world[0, :3, 3].tolist() == [-0.5, 0, 0]
        world_to_camera = turn("y", 90)
        assert np.abs(found.camera_to_world[1, :3, :3] - world_to_camera.T).max() < 1e-12
        assert found.camera_to_world[1, :3, 3] == pytest.approx(-world_to_camera.T @ [1, 2, 3])  # -R^t T
        assert found.lens.intrinsics[0].tolist() == [[510, 0, 322], [0, 510, 181], [0, 0, 1]]
        assert found.lens.intrinsics[1].tolist() == [[500, 0, 320], [0, 505, 180], [0, 0, 1]]
        assert found.points.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert any("distortion of the lens (SIMPLE_RADIAL) was left out" in note for note in found.notes)


def test_a_model_is_found_below_the_folder_of_a_project(tmp_path):
    registry.FORMATS["colmap"].write(tmp_path / "made", CameraTrack("test", walk(3), lens(3)))
    (tmp_path / "project" / "sparse").mkdir(parents=True)
    (tmp_path / "made").rename(tmp_path / "project" / "sparse" / "0")
    assert np.abs(registry.read(tmp_path / "project").camera_to_world - walk(3)).max() < 1e-9


def test_a_binary_model_is_refused_with_the_command_that_makes_text_of_it(tmp_path):
    (tmp_path / "images.bin").write_bytes(b"\x00" * 8)
    with pytest.raises(InputError, match="in COLMAP, open it and choose File > Export"):
        registry.read(tmp_path)


def transforms_json(folder, **more):
    frames = [{"file_path": f"images/{n}.png", "transform_matrix": np.eye(4).tolist()} for n in (10, 9)]
    frames[0]["transform_matrix"][0][3], frames[0]["transform_matrix"][1][3] = 2.0, 1.0
    return written(folder / "transforms.json", json.dumps({"frames": frames, **more}))


def test_transforms_json_has_cameras_that_look_along_minus_z_with_y_up(tmp_path):
    found = registry.read(transforms_json(tmp_path, camera_angle_x=np.pi / 2))
    assert found.frames.tolist() == [9, 10]  # by name, not in file order
    assert found.camera_to_world[0].tolist() == np.eye(4).tolist()
    assert found.camera_to_world[1, :3, 3].tolist() == [2, -1, 0]
    k, _ = found.lens.in_pixels(WIDTH, HEIGHT)
    assert k[0] == pytest.approx(np.array([[320, 0, 320], [0, 320, 180], [0, 0, 1]]))


def test_transforms_json_prefers_a_lens_in_pixels_and_names_what_it_leaves_out(tmp_path):
    more = {"fl_x": 600, "fl_y": 610, "cx": 321, "cy": 179, "w": 640, "h": 360, "k1": 0.1}
    found = registry.read(transforms_json(tmp_path, camera_angle_x=1.0, **more))
    assert found.lens.in_pixels(WIDTH, HEIGHT)[0][0].tolist() == [[600, 0, 321], [0, 610, 179], [0, 0, 1]]
    assert any("distortion" in note for note in found.notes)
    assert any("fisheye" in note for note in registry.read(transforms_json(tmp_path, **more, is_fisheye=True)).notes)


def test_nerfstudios_turned_world_is_turned_back_to_colmaps(tmp_path):
    """A COLMAP model as converted by its ns-process-data: OpenGL cameras, then x, z, -y of the world."""
    poses = walk(4)
    applied = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0.0]])
    made = np.vstack([applied, [0, 0, 0, 1]]) @ poses @ np.diag([1.0, -1, -1, 1])
    frames = [{"file_path": f"{t}.png", "transform_matrix": pose.tolist()} for t, pose in enumerate(made)]
    text = json.dumps({"frames": frames, "applied_transform": applied.tolist()})
    found = registry.read(written(tmp_path / "transforms.json", text))
    assert np.abs(found.camera_to_world - poses).max() < 1e-12
    assert any("applied_transform" in note for note in found.notes)


def test_the_releases_own_camera_file_is_taken_and_that_is_said(tmp_path):
    ours = presets.preset("30", 3.0, intrinsics.from_focal(500, 512, 512), 512, 512, 49, release_compat=True)
    released = np.diag([1.0, -1, -1, 1]) @ ours.extrinsics  # its renderer negates rows in place, then saves
    np.savez(tmp_path / "camera_30.npz", extrinsics=released.astype(np.float32), intrinsics=ours.intrinsics[0])
    found = registry.read(tmp_path / "camera_30.npz")
    assert np.abs(found.camera_to_world - ours.camera_to_world).max() < 1e-6
    assert found.lens.intrinsics[0, 0, 0] == 500
    assert any("along -z" in note and "release" in note for note in found.notes)


@pytest.mark.parametrize("name", ["180", "90", "30"])
def test_what_the_releases_renderer_was_given_is_read_too(name, shared):
    file = shared / "reference" / f"recon_box_{name}.npz"
    with np.load(file) as data:
        theirs = np.diag([-1.0, 1, 1, 1]) @ data["poses"].astype(np.float64)
    assert np.abs(transforms.inverse(registry.read(file).camera_to_world) - theirs).max() < 1e-6


def test_a_file_of_ours_is_taken_as_it_is_even_upside_down(tmp_path):
    poses = np.diag([1.0, -1, -1, 1]) @ np.repeat(np.eye(4)[None], 3, 0)
    path = camera_path.CameraPath(poses, lens(3).intrinsics, WIDTH, HEIGHT)
    camera_path.save(tmp_path / "a.npz", path)
    found = registry.read(tmp_path / "a.npz")
    assert np.array_equal(found.camera_to_world, poses)
    assert found.notes == ()


@pytest.mark.parametrize("key", ["extrinsics", "w2c", "world_to_camera"])
def test_rows_without_the_last_and_other_names_are_read(key, tmp_path):
    np.savez(tmp_path / "a.npz", **{key: transforms.inverse(walk(4))[:, :3]}, K=lens(4).intrinsics[0])
    found = registry.read(tmp_path / "a.npz")
    assert np.abs(found.camera_to_world - walk(4)).max() < 1e-12
    assert np.array_equal(found.lens.intrinsics, lens(4).intrinsics)
    np.savez(tmp_path / "b.npz", c2w=walk(4)[:, :3])
    assert np.array_equal(registry.read(tmp_path / "b.npz").camera_to_world, walk(4))


def test_what_megasam_writes_has_its_lens_in_pixels_of_its_depth(tmp_path):
    k = np.array([[250.0, 0, 160], [0, 250, 90], [0, 0, 1]])
    np.savez(tmp_path / "a_sgd_cvd_hr.npz", cam_c2w=walk(4), intrinsic=k, depths=np.ones((4, 180, 320), np.float16))
    found = registry.read(tmp_path / "a_sgd_cvd_hr.npz")
    assert np.array_equal(found.camera_to_world, walk(4))
    assert (found.lens.size, found.notes) == ((320, 180), ())
    assert found.lens.in_pixels(WIDTH, HEIGHT)[0][3].tolist() == [[500, 0, 320], [0, 500, 180], [0, 0, 1]]


def test_rows_of_a_lens_tell_the_size_of_their_pictures(tmp_path):
    rows = np.tile([250.0, 251.0, 160, 90], (4, 1))
    rows[:, :2] += np.arange(4)[:, None]
    np.savez(tmp_path / "cameras.npz", cam_c2w=walk(4), intrinsics=rows)  # as Vista4D writes it
    found = registry.read(tmp_path / "cameras.npz")
    assert found.lens.size == (320, 180)
    assert found.lens.in_pixels(WIDTH, HEIGHT)[0][3].tolist() == [[506, 0, 320], [0, 508, 180], [0, 0, 1]]
    np.savez(tmp_path / "b.npz", cam_c2w=walk(4), intrinsics=rows + np.array([0, 0, 0.4, 0]))
    assert registry.read(tmp_path / "b.npz").lens.size is None


def test_what_vipe_writes_is_read_with_the_lens_beside_it_and_travels_in_one_file(tmp_path):
    poses, lens_file = tmp_path / "pose" / "shot.npz", tmp_path / "intrinsics" / "shot.npz"
    poses.parent.mkdir()
    np.savez(poses, data=walk(3).astype(np.float32), inds=np.array([0, 2, 4]))
    alone = registry.read(poses)
    assert alone.lens is None
    assert any("camera-to-world" in note for note in alone.notes)
    lens_file.parent.mkdir()
    np.savez(lens_file, data=np.tile(np.float32([500, 500, 320, 180]), (3, 1)), inds=np.array([0, 2, 4]))
    assert registry.needs_several_files(poses)
    for found in (registry.read(poses), registry.read(registry.packed(poses, tmp_path / "one.npz"))):
        assert np.abs(found.camera_to_world - walk(3)).max() < 1e-6
        assert (found.frames.tolist(), found.lens.size, found.notes) == ([0, 2, 4], (640, 360), ())
        assert found.lens.intrinsics[2].tolist() == [[500, 0, 320], [0, 500, 180], [0, 0, 1]]
    np.savez(lens_file, data=np.ones((3, 4)), inds=np.array([0, 1, 2]))
    with pytest.raises(InputError, match=r"is for other frames than .*shot\.npz: have ViPE write both again"):
        registry.read(poses)
    np.savez(lens_file, inds=np.array([0, 2, 4]))
    with pytest.raises(InputError, match=r"intrinsics.shot\.npz holds no data"):
        registry.read(poses)
    np.savez(lens_file, data=np.ones((2, 4)))
    with pytest.raises(InputError, match=r"\(3, 4\), not \(2, 4\)"):
        registry.read(poses)


def test_an_npy_file_is_read_as_camera_to_world_and_that_is_said(tmp_path):
    np.save(tmp_path / "a.npy", walk(4)[:, :3])
    found = registry.read(tmp_path / "a.npy")
    assert np.array_equal(found.camera_to_world, walk(4))
    assert any("camera-to-world" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "1 2 3\n", r"not in any known camera format.*COLMAP.*TUM.*KITTI.*RealEstate10K"),
        ("a.abc", "", "not in any known camera format.*Nuke .chan"),
        ("a.fbx", "Kaydara\0", "not in any known camera format.*Nuke .chan"),
        ("a.txt", "0 0 0 0 0 0 0 1\n1 0 0 x 0 0 0 1\n", "Line 2 .*'x' where a number should be"),
        ("a.txt", "0 0 0 0 0 0 0 1\n\n1 0 0 0 0 0 1\n", "Line 3 .*7 values instead of 8"),
        ("a.txt", "0 0 0 0 0 0 0 2\n", "quaternion of length 2"),
        ("a.txt", "0.5 0 0 0 0 0 0 1\n0.5 0 0 0 0 0 0 1\n", "time 0.5 appears twice"),
        ("a.txt", "2 0 0 0 0 2 0 0 0 0 2 0\n", "matrix in .*not a rotation"),
        ("a.txt", "1 500 500 320 180 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n", "divide fx and cx by the width"),
        ("a.chan", "1 0 0 0 0 0 0 32\n1 0 0 0 0 0 0 32\n", "Frame 1 appears twice"),
        ("a.chan", "1.5 0 0 0 0 0 0 32\n", "numbers must be integers"),
        ("a.chan", "1 0 0 0 0 0 0 500\n", "500 degrees, which no lens"),
        ("a.chan", "# nothing\n", "holds no cameras"),
        ("a.chan", "1 0 0 0 0 0 0 nan\n", "Line 1 .*'nan'"),
        ("a.json", '{\n"frames": [\n', "Line 3 .*not JSON"),
        ("a.json", '{"cameras": []}', "no list of frames"),
        ("a.json", '{"frames": [{"file_path": "x.png", "transform_matrix": [[1, 2], [3, 4]]}]}', "'x.png' .*4 x 4"),
        (
            "a.json",
            '{"fl_x": "wide", "frames": [{"transform_matrix": [[1,0,0,0],[0,1,0,0],[0,0,1,0]]}]}',
            "fl_x .*'wide'",
        ),
        (
            "a.json",
            '{"k1": 1' + "0" * 400 + ', "frames": [{"transform_matrix": [[1,0,0,0],[0,1,0,0],[0,0,1,0]]}]}',
            "k1 in",
        ),
        ("a.json", '{"frames": [{"transform_matrix": [[1' + "0" * 400 + ",0,0,0],[0,1,0,0],[0,0,1,0]]}]}", "4 x 4"),
        ("a.json", "1" * 5000, "not JSON"),
        ("images.txt", "1 1 0 0 0 0 0 0 1\n", "Line 1 .*9 values instead of 10"),
        ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n\n2 1 0 0 0 0 0 0 1 a.png\n\n", "a.png appears twice"),
    ],
)
def test_a_broken_file_is_refused_with_what_is_wrong_and_where(name, text, words, tmp_path):
    with pytest.raises(InputError, match=words):
        registry.read(written(tmp_path / name, text))


def test_a_file_of_any_size_or_claim_costs_no_memory(tmp_path):
    with (tmp_path / "big.txt").open("wb") as file:
        file.write(b"0 0 0 0 0 0 0 1\n" * 300)
        file.truncate(1 << 36)
    with pytest.raises(InputError, match="64 MB is the most"):
        registry.read(tmp_path / "big.txt")
    with pytest.raises(InputError, match="16 MB is the most"):
        registry.read((tmp_path / "big.txt").rename(tmp_path / "big.json"))
    np.save(tmp_path / "claims.npy", walk(3))
    data = (tmp_path / "claims.npy").read_bytes().replace(b"(3, 4, 4), }   ", b"(99999, 4, 4),}")
    (tmp_path / "claims.npy").write_bytes(data)
    with pytest.raises(InputError, match="it does not hold the numbers that it announces"):
        registry.read(tmp_path / "claims.npy")
    (tmp_path / "long.txt").write_bytes(b"0 0 0 0 0 0 0 1\n" * 100_001)
    with pytest.raises(InputError, match="more than 100000 cameras"):
        registry.read(tmp_path / "long.txt")
    (tmp_path / "line.txt").write_bytes(b"1" * (8 << 20))
    with pytest.raises(InputError, match="not in any known camera format"):
        registry.read(tmp_path / "line.txt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"There is no camera file .*gone\.chan"):
        registry.read(tmp_path / "gone.chan")
