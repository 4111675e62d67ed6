"""Cameras from other tools on the command line: as a path, as the clip's own camera, and converted."""

import json
import re
import shutil
from fractions import Fraction

import numpy as np
import pytest
from command_line import ex4d
from test_cli import files_below

from ex4d.cameras import registry
from ex4d.cameras.track import CameraTrack, Lens
from ex4d.geometry import camera_path, intrinsics, transforms
from ex4d.media.movie import write_movie

WIDTH, HEIGHT, FRAMES = 64, 48, 9
K = intrinsics.per_frame(intrinsics.from_focal(60, WIDTH, HEIGHT), FRAMES)


def to_the_right(step: float = 0.125) -> np.ndarray:
    poses = np.repeat(np.eye(4)[None], FRAMES, 0)
    poses[:, 0, 3] = step * np.arange(FRAMES)
    return poses


def track(poses=None, **more) -> CameraTrack:
    return CameraTrack("test", to_the_right() if poses is None else poses, Lens(K, "pixels", (WIDTH, HEIGHT)), **more)


def shot_with(shoot, *options):
    """The path that recon uses."""
    shutil.rmtree(shoot / "out", ignore_errors=True)
    done = ex4d("recon", "--input_video", shoot / "clip.mp4", "--output_dir", shoot / "out", "--save_camera", *options)
    assert done.returncode == 0, done.stderr
    (file,) = (shoot / "out").glob("camera_*.npz")
    return camera_path.load(file, FRAMES, WIDTH, HEIGHT), done.stderr


@pytest.mark.parametrize("name", registry.FORMATS)
def test_a_path_of_any_format_moves_as_it_says(name, shoot):
    file = shoot / {"npz": "a.npz", "chan": "a.chan", "transforms": "a.json", "colmap": "a"}.get(name, "a.txt")
    registry.FORMATS[name].write(file, track(own_unit=name != "npz"))
    path, said = shot_with(shoot, "--camera", file)
    assert np.abs(path.camera_to_world - to_the_right()).max() < 1e-6
    assert np.abs(path.intrinsics - K).max() < 1e-6
    assert (path.width, path.height) == (WIDTH, HEIGHT)
    assert ("in the unit of the depth" in said) == (name != "npz")


def test_the_releases_own_file_is_taken_as_a_path_and_that_is_said(shoot):
    released = np.diag([1.0, -1, -1, 1]) @ transforms.inverse(to_the_right())
    np.savez(shoot / "camera_30.npz", extrinsics=released, intrinsics=K[0])
    path, said = shot_with(shoot, "--camera", shoot / "camera_30.npz")
    assert np.abs(path.camera_to_world - to_the_right()).max() < 1e-9
    assert "as those of the EX-4D release do" in said


def test_the_unit_and_the_world_of_a_path_can_be_said(shoot):
    there = np.eye(4)
    there[:3, :3], there[:3, 3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], (4, 5, 6)
    registry.FORMATS["chan"].write(shoot / "a.chan", track(there @ to_the_right()))
    path, said = shot_with(shoot, "--camera", shoot / "a.chan", "--camera_scale", 4, "--camera_world", "first")
    assert np.abs(path.camera_to_world - to_the_right(0.5)).max() < 1e-9
    assert "scaled by 4" in said
    _path, said = shot_with(shoot, "--camera", shoot / "a.chan")
    assert "not at the source view" in said
    assert "put its first pose there" in said


def test_a_solved_camera_of_colmap_moves_the_source_and_its_points_tell_the_scale(shoot, moving_box):
    _clip, depth = moving_box
    rows, columns = np.mgrid[2:12:3, 2:60:3].reshape(2, -1)
    z = depth.depth[0, rows, columns]
    rays = np.stack([(columns + 0.5 - 32) / 60, (rows + 0.5 - 24) / 60, np.ones(len(rows))], axis=1)
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], (1, 2, 3)
    points = (rays * z[:, None] / 8) @ turned[:3, :3].T + turned[:3, 3]
    still = np.repeat(turned[None], FRAMES, 0)
    still[:, :3, 3] += np.linspace(0, 0.01, FRAMES)[:, None] * turned[:3, 0]  # hardly moves, so the points stay visible
    registry.FORMATS["colmap"].write(shoot / "sparse", track(still, points=points))
    path, said = shot_with(shoot, "--source_camera", shoot / "sparse", "--cam", "zoom_in", "--amount", 0)
    assert "using 80 of its points" in said
    assert path.camera_to_world[-1, :3, 3] == pytest.approx([0.08, 0, 0], rel=0.02, abs=1e-6)
    assert np.abs(path.camera_to_world[:, :3, :3] - np.eye(3)).max() < 1e-9
    own, said = shot_with(shoot, "--source_camera", shoot / "sparse", "--camera", shoot / "sparse",
                          "--camera_world", "source_camera", "--source_camera_scale", 10)  # fmt: skip
    assert own.camera_to_world[-1, :3, 3] == pytest.approx([0.1, 0, 0])
    assert "scaled by 10, as requested" in said


def test_a_lens_of_the_solve_that_is_not_used_is_told_with_the_option_for_it(shoot):
    other = Lens(K * [[2, 1, 1], [1, 2, 1], [1, 1, 1]], "pixels", (WIDTH, HEIGHT))
    registry.FORMATS["chan"].write(shoot / "a.chan", CameraTrack("test", to_the_right(), other))
    _path, said = shot_with(shoot, "--source_camera", shoot / "a.chan", "--cam", "30")
    assert "a lens of 29.9 degrees, and 56.1 are used" in said
    assert "the field of view to 29.86 degrees" in said


def test_a_take_with_a_model_of_colmap_is_made_again_when_the_model_is_gone(shoot):
    folder = shoot / "sparse"
    registry.FORMATS["colmap"].write(folder, track(to_the_right(0.01)))
    done = ex4d(
        "generate", "--input_video", shoot / "clip.mp4", "--source_camera", folder, "--camera", folder,
        "--camera_scale", 3, "--generator", "preview", "--output_video", shoot / "out.mp4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "source_camera.npz" in files_below(shoot / "out.take")
    path = camera_path.load(shoot / "out.take" / "camera.npz", FRAMES, WIDTH, HEIGHT)
    assert path.camera_to_world[-1, 0, 3] == pytest.approx(0.24)
    for file in folder.iterdir():
        file.unlink()
    for take, second in (("out.take", "second"), ("second", "third")):
        again = ex4d("again", shoot / take, "--output_dir", shoot / second, fresh=True)
        assert again.returncode == 0, again.stderr
        assert "the same, byte for byte" in again.stderr
        assert (shoot / second / "source_camera.npz").is_file()
        shutil.rmtree(shoot / take)


def test_camera_converts_and_says_what_the_other_program_must_know(shoot):
    camera_path.save(shoot / "a.npz", camera_path.CameraPath(to_the_right(), K, WIDTH, HEIGHT))
    done = ex4d("camera", shoot / "a.npz", shoot / "a.chan", "--first_frame", 1001, "--scale", 100, fresh=True)
    assert (done.returncode, done.stdout.strip()) == (0, str(shoot / "a.chan"))
    assert "vertical aperture to 18.432" in done.stderr  # 24.576 * 48 / 64
    lines = (shoot / "a.chan").read_text().splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["1001", "0"], ["1002", "12.5"]]
    assert float(lines[0].split()[7]) == pytest.approx(2 * np.degrees(np.arctan(24 / 60)))
    size = ("--width", WIDTH, "--height", HEIGHT, "--scale", 0.01)
    assert ex4d("camera", shoot / "a.chan", shoot / "model", *size).returncode == 0
    assert files_below(shoot / "model") == ["cameras.txt", "images.txt", "points3D.txt"]
    assert ex4d("camera", shoot / "model", shoot / "transforms.json").returncode == 0
    data = json.loads((shoot / "transforms.json").read_text())
    assert data["fl_x"] == pytest.approx(60)
    assert ex4d("camera", shoot / "transforms.json", shoot / "back.npz").returncode == 0
    back = camera_path.load(shoot / "back.npz", FRAMES, WIDTH, HEIGHT)
    assert np.abs(back.camera_to_world - to_the_right()).max() < 1e-9
    assert np.abs(back.intrinsics - K).max() < 1e-9


def test_camera_gives_a_trajectory_a_lens_and_a_new_origin(tmp_path):
    poses = to_the_right()
    poses[:, :3, 3] += (7, 8, 9)
    registry.FORMATS["kitti"].write(tmp_path / "a.txt", CameraTrack("test", poses))
    more = ("--width", WIDTH, "--height", HEIGHT, "--fov", 90, "--from_first")
    assert ex4d("camera", tmp_path / "a.txt", tmp_path / "a.npz", *more).returncode == 0
    found = camera_path.load(tmp_path / "a.npz", FRAMES, WIDTH, HEIGHT)
    assert np.abs(found.camera_to_world - to_the_right()).max() < 1e-9
    assert found.intrinsics[0] == pytest.approx(np.array([[32, 0, 32], [0, 32, 24], [0, 0, 1]]))


def test_camera_refuses_what_it_cannot_do_and_touches_nothing(tmp_path):
    registry.FORMATS["kitti"].write(tmp_path / "a.txt", CameraTrack("test", to_the_right()))
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "picture.jpg").write_text("mine")
    before = files_below(tmp_path)
    for arguments, words in [
        ((tmp_path / "a.txt", tmp_path / "holiday"), "holds files other than"),
        ((tmp_path / "a.txt", tmp_path / "a.txt", "--format", "tum"), "is the input"),
        ((tmp_path / "a.txt", tmp_path / "b.txt"), "choose one of"),
        ((tmp_path / "a.txt", tmp_path / "model"), "needs a lens"),
        ((tmp_path / "a.txt", tmp_path / "b.chan", "--width", 64), "--width and --height together"),
        ((tmp_path / "a.txt", tmp_path / "b.chan", "--scale", 0), "positive number"),
        ((tmp_path / "holiday" / "picture.jpg", tmp_path / "b.chan"), "Supported formats: .*COLMAP"),
        ((tmp_path / "holiday", tmp_path / "b.chan"), "no images.txt"),
    ]:
        done = ex4d("camera", *arguments)
        assert done.returncode == 2
        assert re.search(words, done.stderr), done.stderr
    assert files_below(tmp_path) == before


def test_a_trajectory_of_another_rate_is_taken_by_its_times(tmp_path, moving_box):
    clip, depth = moving_box
    write_movie(tmp_path / "clip.mp4", clip.frames, Fraction(24))
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics[0])
    poses = np.repeat(np.eye(4)[None], 31, 0)
    poses[:, 0, 3] = np.arange(31) / 60
    registry.FORMATS["tum"].write(tmp_path / "a.txt", CameraTrack("test", poses, times=np.arange(31) / 60))
    path, said = shot_with(tmp_path, "--camera", tmp_path / "a.txt")
    assert path.camera_to_world[:, 0, 3] == pytest.approx(np.arange(FRAMES) / 24, abs=1e-6)
    assert "31 poses over 0.5 s for 9 frames" in said


def test_a_preset_turns_about_a_point_at_the_distance_asked_for(shoot):
    path, _said = shot_with(shoot, "--cam", "arc", "--amount", 90, "--pivot_distance", 2.5)
    assert path.camera_to_world[-1, :3, 3] == pytest.approx([2.5, 0, 2.5])
