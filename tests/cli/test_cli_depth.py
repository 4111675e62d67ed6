"""Clips without a depth file, and depth files that need explaining, on the command line."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import ex4d
from test_cli import files_below

from ex4d.geometry import camera_path, transforms
from ex4d.geometry.depth_video import load_depth_npz, save_depth
from ex4d.media.clip import clip_info, read_clip
from ex4d.media.movie import read_movie, write_movie, write_png_frames
from ex4d.source_camera import pose_files
from ex4d.storage.names import beside

MOVING = Path(__file__).resolve().parents[2] / "sample" / "moving"
GUESS = "a guess without a depth model"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EX4D_MODELS", raising=False)


@pytest.fixture
def bare(tmp_path, moving_box) -> Path:
    """A folder with nothing but clip.mp4."""
    clip, _ = moving_box
    write_movie(tmp_path / "clip.mp4", clip.frames, clip.fps)
    return tmp_path


def test_a_clip_without_depth_becomes_a_video_that_says_its_depth_is_a_guess(bare):
    done = ex4d("generate", "--input_video", bare / "clip.mp4", "--cam", "30", "--output_video", bare / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert GUESS in done.stderr
    assert "Nothing better than Ground Plane and Parallax can run here" in done.stderr
    result = read_movie(bare / "out.mp4")
    assert result.frames.shape == read_clip(bare / "clip.mp4", frames=None).frames.shape
    assert GUESS in clip_info(bare / "out.mp4").metadata["comment"]


def test_depth_leaves_a_file_a_video_and_a_report_and_recon_takes_that_file(bare):
    done = ex4d("depth", "--input_video", bare / "clip.mp4", "--output_dir", bare / "out", "--fov", "60", fresh=True)
    assert done.returncode == 0, done.stderr
    assert files_below(bare / "out") == ["clip.depth.npz", "clip_depth.json", "clip_depth_views.mp4"]
    assert "Field of view: 60.0 x " in done.stderr
    assert "Licence of the depth: Apache-2.0." in done.stderr
    clip, views = read_clip(bare / "clip.mp4", frames=None), read_movie(bare / "out" / "clip_depth_views.mp4")
    assert len(views.frames) == len(clip.frames)
    assert views.frames.shape[2] >= 3 * clip.frames.shape[2]
    report = json.loads((bare / "out" / "clip_depth.json").read_text())
    assert report["provider"] == "plane"
    with np.load(bare / "out" / "clip.depth.npz") as kept:
        assert "camera's height" in str(kept["scale_note"])
        assert str(kept["licence"]) == "Apache-2.0"
    again = ex4d(
        "recon", "--input_video", bare / "clip.mp4", "--depth", bare / "out" / "clip.depth.npz", "--cam", "30",
        "--output_dir", bare / "recon", "--save_camera",
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "60.0 degrees across" in clip_info(bare / "recon" / "mask_30.mp4").metadata["comment"]
    height, width = clip.frames.shape[1:3]
    camera = camera_path.load(bare / "recon" / "camera_30.npz", len(clip.frames), width, height)
    assert 2 * np.degrees(np.arctan(width / 2 / camera.intrinsics[0, 0, 0])) == pytest.approx(60)


def test_the_depth_of_a_folder_is_named_after_all_of_its_name_so_that_it_is_found_beside_it(tmp_path, moving_box):
    write_png_frames(tmp_path / "cam.v1", moving_box[0].frames)
    done = ex4d("depth", "--input_video", "cam.v1/", "--output_dir", ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert beside(tmp_path / "cam.v1") == tmp_path / "cam.v1.depth.npz"


def test_a_second_estimate_comes_from_the_cache_unless_it_is_asked_for_again(bare):
    def run(*more):
        done = ex4d("depth", "--input_video", bare / "clip.mp4", "--output_dir", bare / "out", *more)
        assert done.returncode == 0, done.stderr
        (kept,) = (bare / "cache" / "depth").glob("*.npz")
        return kept.stat().st_ino, load_depth_npz(bare / "out" / "clip.depth.npz").depth

    first, depth = run()
    second, same = run()
    third, _ = run("--again")
    assert first == second != third
    assert np.array_equal(depth, same)


def test_numbers_of_a_depth_file_are_read_as_is_said(bare, moving_box):
    _, true = moving_box
    np.savez(bare / "inverse.npz", depth=100 / true.depth, intrinsics=true.intrinsics[0])  # 1 / cm
    done = ex4d(
        "depth", "--input_video", bare / "clip.mp4", "--depth", bare / "inverse.npz", "--depth_unit", "m",
        "--depth_convention", "inverse", "--output_dir", bare / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The distances are in metres." in done.stderr
    found = load_depth_npz(bare / "out" / "clip.depth.npz").depth
    np.testing.assert_allclose(found, true.depth / 100, rtol=1e-5)


def test_depth_of_a_research_model_stays_under_its_licence_in_a_file(bare, moving_box):
    _, true = moving_box
    save_depth(bare / "clip.depth.npz", replace(true, provider="depthcrafter"), licence="free", scale_note="In ells.")
    done = ex4d("depth", "--input_video", bare / "clip.mp4", "--output_dir", bare / "out")
    assert done.returncode == 0, done.stderr
    assert "never commercially" in done.stderr.partition("Licence of the depth: ")[2]
    assert "In ells." in done.stderr


def test_a_lens_by_hand_takes_the_place_of_the_files_and_says_so(bare, moving_box):
    save_depth(bare / "clip.depth.npz", moving_box[1])
    done = ex4d("depth", "--input_video", bare / "clip.mp4", "--fov", "40", "--output_dir", bare / "out")
    assert done.returncode == 0, done.stderr
    assert "40.0 degrees across the source's width of 64 px. It replaces the depth file's." in done.stderr


def test_16_bit_pictures_are_in_metres_only_where_somebody_says_so(bare, moving_box):
    _, true = moving_box
    (bare / "clip_depth").mkdir()
    for number, frame in enumerate(true.depth):
        cv2.imwrite(str(bare / "clip_depth" / f"{number:03d}.png"), (frame * 1000).astype(np.uint16))
    done = ex4d("depth", "--input_video", bare / "clip.mp4", "--output_dir", bare / "out")
    assert done.returncode == 0, done.stderr
    assert "in metres if the file's numbers are millimetres, which was assumed." in done.stderr
    assert "The distances are in metres." not in done.stderr
    done = ex4d("depth", "--input_video", bare / "clip.mp4", "--output_dir", bare / "out", "--depth_unit", "mm")
    assert "The distances are in metres." in done.stderr
    assert "assumed" not in done.stderr.partition("Licence")[0].partition("The distances")[2]


INPUTS = {
    "depth found beside the clip": ["depth", "--output_dir", "."],
    "second video": ["generate", "--input_video", "out.generated.mp4", "--output_video", "out.mp4", "--cam", "30"],
    "source camera": ["recon", "--source_camera", "camera_30.npz", "--cam", "30", "--save_camera", "--output_dir", "."],
}


@pytest.mark.parametrize("case", INPUTS)
def test_nothing_that_goes_in_is_ever_overwritten(case, bare, moving_box):
    save_depth(bare / "clip.depth.npz", moving_box[1])
    write_movie(bare / "out.generated.mp4", moving_box[0].frames, moving_box[0].fps)
    np.savez(bare / "camera_30.npz", camera_to_world=np.broadcast_to(np.eye(4), (9, 4, 4)))
    before = {path.name: path.read_bytes() for path in bare.iterdir() if path.is_file()}
    command, *arguments = INPUTS[case]
    video = [] if "--input_video" in arguments else ["--input_video", "clip.mp4"]
    done = ex4d(command, *video, *arguments, cwd=bare)
    assert done.returncode == 2
    assert "is an input of the result" in done.stderr
    assert {path.name: path.read_bytes() for path in bare.iterdir() if path.is_file()} == before


def test_with_the_source_camera_a_preset_goes_along_and_begins_at_the_source(tmp_path):
    clip_file, depth_file, motion = MOVING / "clip.mp4", MOVING / "clip.depth.npz", MOVING / "camera.npz"
    done = ex4d(
        "recon", "--input_video", clip_file, "--depth", depth_file, "--source_camera", motion, "--cam", "30",
        "--output_dir", tmp_path / "out", "--save_camera",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The source camera moves" in done.stderr
    clip = read_clip(clip_file, frames=None)
    poses = pose_files.load(motion, clip).camera_to_world
    height, width = clip.frames.shape[1:3]
    path = camera_path.load(tmp_path / "out" / "camera_30.npz", len(clip.frames), width, height)
    assert np.allclose(path.camera_to_world[0], np.eye(4))
    relative = transforms.inverse(poses) @ path.camera_to_world
    turned = np.degrees(np.arccos(np.clip(relative[:, 2, 2], -1, 1)))
    assert turned[-1] == pytest.approx(30, abs=0.5)
    assert (np.diff(turned) > 0).all()
    assert read_movie(tmp_path / "out" / "mask_30.mp4").frames[0].min() == 255


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fov", "60", "--focal_px", "500"], "either the focal length or the field of view"),
        (["--fov", "0.5"], "between 1 and 170 degrees"),
        (["--depth_estimator", "file"], "There is no depth file"),
        (["--depth_estimator", "depthcrafter"], "DepthCrafter needs the Python package"),
        (["--depth_estimator", "video-depth-anything"], "Video-Depth-Anything Small needs the Python package"),
        (["--depth_unit", "furlong"], "'furlong' is not a unit"),
        (["--depth_unit", "m", "--depth_convention", "disparity"], "Relative disparity has no unit"),
        (["--source_camera", "nowhere.npz"], "There is no camera file"),
        (["--depth_unit", "cm"], "Settings for reading a depth file were given, but there is no such file"),
        (["--focal_px", "0.5"], "which no lens does"),
    ],
)
def test_what_cannot_be_asked_of_a_depth_is_one_sentence_and_leaves_nothing(arguments, said, bare):
    done = ex4d("recon", "--input_video", bare / "clip.mp4", "--output_dir", bare / "out", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (bare / "out").exists()


def test_how_to_render_is_refused_where_colour_and_mask_are_rendered_already(bare):
    for name in ("colour", "mask"):
        (bare / f"{name}.mp4").write_bytes((bare / "clip.mp4").read_bytes())
    given = ["--color_video", bare / "colour.mp4", "--mask_video", bare / "mask.mp4", "--output_video", bare / "o.mp4"]
    for more in (["--fov", "60"], ["--source_camera", "c.npz"], ["--depth_unit", "cm"], ["--camera", "c.npz"]):
        done = ex4d("generate", *given, *more)
        assert done.returncode == 2
        assert "are already rendered: leave out the options for rendering" in done.stderr


def test_an_error_of_the_system_is_one_sentence(bare):
    done = ex4d("generate", "--input_video", bare / "clip.mp4", "--cam", "30", "--output_video", "/proc/x.mp4")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
