"""The command line as a user runs it: a separate process, real files, exit codes and messages."""

import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import ex4d

from ex4d.geometry import camera_path, intrinsics, transforms
from ex4d.media.clip import clip_info, read_clip
from ex4d.media.movie import read_movie, write_png_frames

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
"""A folder with third-party packages, treated as installed."""


def files_below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("name", ["180", "90", "30"])
def test_recon_in_compat_mode_gives_the_releases_masks_and_colours(name, shared, tmp_path):
    with np.load(shared / "reference" / f"recon_box_{name}.npz") as data:
        frames, depth, idx = data["frames"], data["depth"], data["idx"]
        poses, colour = data["poses"], data["color"]
        mask = np.unpackbits(data["mask"], axis=-1)[..., : data["mask_shape"][-1]] == 1
    write_png_frames(tmp_path / "clip", frames)
    np.savez(tmp_path / "depth.npz", depth=depth)
    w2c = np.diag([-1.0, 1, 1, 1]) @ poses[idx].astype(np.float64)
    np.savez(tmp_path / "path.npz", extrinsics=w2c, intrinsics=intrinsics.from_focal(500, 256, 256))
    done = ex4d(
        "recon", "--release_compat", "--input_video", tmp_path / "clip", "--depth", tmp_path / "depth.npz",
        "--camera", tmp_path / "path.npz", "--num_frames", len(idx), "--output_dir", tmp_path / "out",
        "--output_format", "png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = read_clip(tmp_path / "out" / "color_path", frames=None).frames
    real = read_clip(tmp_path / "out" / "mask_path", frames=None).frames[..., 0] == 255
    agree = (real == mask).mean(axis=(1, 2))
    close = [
        (np.abs(o.astype(int) - c).max(-1) <= 2)[m].mean() for o, c, m in zip(ours, colour, real & mask, strict=True)
    ]
    print(f"preset {name}: masks agree on {agree.min():.4%} in the worst frame, colour on {min(close):.3%}")
    assert agree.min() >= 0.999
    assert min(close) >= 0.99


def test_recon_writes_what_the_release_writes_at_the_clips_own_rate(shoot):
    done = ex4d(
        "recon", "--input_video", shoot / "clip.mp4", "--cam", "30", "--num_frames", 9,
        "--output_dir", shoot / "out", "--save_mesh", "--save_camera", fresh=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = ["DW-Mesh.ply", "camera_30.npz", "color_30.mp4", "mask_30.mp4"]
    assert files_below(shoot / "out") == expected
    assert sorted(Path(line).name for line in done.stdout.split()) == expected
    colour = read_movie(shoot / "out" / "color_30.mp4")
    assert colour.fps == Fraction(24000, 1001)
    assert colour.frames.shape == (9, 48, 64, 3)
    mask = read_movie(shoot / "out" / "mask_30.mp4").frames
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[0] == 255).all()
    header = (shoot / "out" / "DW-Mesh.ply").read_bytes()[:400]
    assert b"element vertex 3072" in header
    assert b"element face 5924" in header
    path = camera_path.load(shoot / "out" / "camera_30.npz", 9, 64, 48)
    assert np.allclose(path.camera_to_world[0], np.eye(4))


def test_a_saved_camera_renders_the_same_again(shoot):
    common = ("recon", "--input_video", shoot / "clip.mp4", "--num_frames", 9, "--output_format", "png")
    assert ex4d(*common, "--cam", "60", "--output_dir", shoot / "a", "--save_camera").returncode == 0
    again = ex4d(*common, "--camera", shoot / "a" / "camera_60.npz", "--output_dir", shoot / "b")
    assert again.returncode == 0, again.stderr
    first = read_clip(shoot / "a" / "color_60", frames=None).frames
    assert (first == read_clip(shoot / "b" / "color_camera_60", frames=None).frames).all()


def test_generate_from_colour_and_mask_keeps_what_is_real_and_says_that_it_is_a_preview(shoot):
    common = ("--num_frames", 9, "--output_dir", shoot / "out")
    assert ex4d("recon", "--input_video", shoot / "clip.mp4", "--cam", "30", *common).returncode == 0
    done = ex4d(
        "generate", "--color_video", shoot / "out/color_30.mp4", "--mask_video", shoot / "out/mask_30.mp4",
        "--output_video", shoot / "out/result.mp4", "--num_frames", 9, fresh=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "This is a preview" in done.stderr
    colour, mask = (read_movie(shoot / "out" / f"{name}_30.mp4").frames for name in ("color", "mask"))
    result = read_movie(shoot / "out/result.mp4")
    # Two pixels away from the holes, because video stores colour at half the resolution.
    real = np.stack([cv2.erode(m, np.ones((5, 5))) for m in mask[..., 0]]) == 255
    difference = np.abs(result.frames.astype(int) - colour)[real]
    assert real.mean() > 0.2
    assert difference.mean() < 2.5, "both went through the video codec, which costs about 1 level each time"
    assert "preview" in clip_info(shoot / "out/result.mp4").metadata["title"]


def test_generate_goes_from_the_clip_to_the_video_at_once_and_in_the_size_asked_for(shoot):
    done = ex4d(
        "generate", "--input_video", shoot / "clip.mp4", "--cam", "zoom_in", "--num_frames", 9,
        "--output_video", shoot / "new" / "result.mp4", "--height", 96, "--width", 128,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_movie(shoot / "new" / "result.mp4").frames.shape == (9, 96, 128, 3)


def break_depth(change):
    def apply(folder: Path):
        with np.load(folder / "clip.depth.npz") as data:
            arrays = dict(data)
        change(arrays)
        np.savez(folder / "clip.depth.npz", **arrays)

    return apply


def set_depth(value, part=np.s_[:]):
    def change(arrays):
        arrays["depth"] = arrays["depth"].copy()
        arrays["depth"][part] = value

    return break_depth(change)


def camera(**arrays):
    return lambda folder: np.savez(folder / "path.npz", **arrays)


GOOD = {"extrinsics": np.broadcast_to(np.eye(4), (9, 4, 4)), "intrinsics": intrinsics.from_focal(60, 64, 48)}
BAD_INPUT = {
    "missing video": (lambda f: (f / "clip.mp4").unlink(), "no video file or image folder"),
    "not a video": (lambda f: (f / "clip.mp4").write_text("hello"), "cannot be read as a video"),
    "truncated video": (
        lambda f: (f / "clip.mp4").write_bytes((f / "clip.mp4").read_bytes()[:700]),
        "cannot be read as a video",
    ),
    "depth all NaN": (set_depth(np.nan), "frame 0"),
    "depth mostly zero": (set_depth(0, np.s_[2, :40]), "frame 2"),
    "depth negative": (set_depth(-1, np.s_[4]), "frame 4"),
    "depth of another size": (break_depth(lambda a: a.update(depth=a["depth"][:, :20])), "64x48"),
    "depth of another length": (break_depth(lambda a: a.update(depth=a["depth"][:5])), "9"),
    "camera of a wrong shape": (camera(extrinsics=np.eye(4), intrinsics=GOOD["intrinsics"]), "shape"),
    "camera not a rotation": (
        camera(extrinsics=GOOD["extrinsics"] * 2, intrinsics=GOOD["intrinsics"]),
        "must have|rotation",
    ),
    "camera NaN": (camera(extrinsics=GOOD["extrinsics"] * np.nan, intrinsics=GOOD["intrinsics"]), "finite"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_sentence_and_exit_code_2_and_leaves_nothing(case, shoot):
    spoil, words = BAD_INPUT[case]
    spoil(shoot)
    arguments = ["--camera", shoot / "path.npz"] if case.startswith("camera") else []
    done = ex4d(
        "recon", "--input_video", shoot / "clip.mp4", "--num_frames", 9, "--output_dir", shoot / "out", *arguments
    )
    assert done.returncode == 2, done.stderr
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ex4d: ")
    assert any(word in message for word in words.split("|")), message
    assert "Traceback" not in done.stderr
    assert not (shoot / "out").exists()


def test_a_camera_inside_the_mesh_works_and_is_noted(shoot):
    poses = np.broadcast_to(np.eye(4), (9, 4, 4)).copy()
    poses[4:, :3, 3] = (0, 0, 9)
    np.savez(shoot / "path.npz", extrinsics=transforms.inverse(poses), intrinsics=GOOD["intrinsics"])
    done = ex4d(
        "recon", "--input_video", shoot / "clip.mp4", "--num_frames", 9, "--camera", shoot / "path.npz",
        "--output_dir", shoot / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "inside or behind" in done.stderr


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(shoot):
    def small_disk():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    (shoot / "out").mkdir()
    done = ex4d(
        "recon", "--input_video", shoot / "clip.mp4", "--num_frames", 9, "--output_dir", shoot / "out",
        preexec_fn=small_disk,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr or "could not be written" in done.stderr
    assert files_below(shoot / "out") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recon"], "No clip is given"),
        (["generate", "--output_video", "x.mp4", "--color_video", "c.mp4"], "belong together"),
        (["generate", "--output_video", "x.mp4", "--width", "64"], "belong together"),
        (["recon", "--cam", "45"], "'45' is not one of"),
        (["serve", "--address", "tcp://0.0.0.0:5750", "--state", "state"], "no client is let in yet"),
    ],
)
def test_arguments_that_cannot_be_used_are_explained(arguments, words, tmp_path):
    done = ex4d(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert files_below(tmp_path) == []


def test_doctor_says_what_is_there():
    done = ex4d("doctor", fresh=True)
    assert done.returncode == 0
    assert "Rendering: numba" in done.stdout


def test_importing_the_package_costs_numpy_only():
    code = (
        "import sys, ex4d, ex4d.geometry.camera_path, ex4d.geometry.mesh, ex4d.depth, ex4d.pipeline.take\n"
        "heavy = {'torch', 'numba', 'av', 'cv2', 'zmq', 'OpenEXR', 'typer', 'trimesh'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_recon_renders_both_eyes_with_the_engine_and_filter_asked_for(shoot):
    common = ("recon", "--input_video", shoot / "clip.mp4", "--num_frames", 9, "--cam", "30", "--output_format", "png")
    done = ex4d(
        *common, "--stereo", "0.2", "--engine", "numpy", "--occlusion", "release", "--output_dir", shoot / "out"
    )
    assert done.returncode == 0, done.stderr
    assert "Rendered by numpy" in done.stderr
    assert read_clip(shoot / "out" / "color_30", frames=None).frames.shape == (9, 48, 128, 3)
    refused = ex4d(*common, "--engine", "nvdiffrast", "--output_dir", shoot / "no")
    assert refused.returncode == 2
    assert "non-commercial" in refused.stderr


def test_the_source_is_never_overwritten_by_the_result(shoot):
    before = (shoot / "clip.mp4").read_bytes()
    done = ex4d("generate", "--input_video", shoot / "clip.mp4", "--output_video", shoot / "clip.mp4")
    assert done.returncode == 2
    assert "choose another name for the result" in done.stderr
    assert (shoot / "clip.mp4").read_bytes() == before


def test_a_clip_shorter_than_the_releases_49_frames_is_taken_as_long_as_it_is(shoot):
    done = ex4d("recon", "--input_video", shoot / "clip.mp4", "--cam", "30", "--output_dir", shoot / "out")
    assert done.returncode == 0, done.stderr
    assert len(read_movie(shoot / "out" / "color_30.mp4").frames) == 9


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "out" / "color_30.mp4").mkdir(parents=True), "a folder of that name exists"),
        (lambda f: (f / "out").write_text("a file"), "cannot be made"),
    ],
)
def test_a_result_that_cannot_have_its_name_is_one_sentence(shoot, spoil, words):
    spoil(shoot)
    done = ex4d("recon", "--input_video", shoot / "clip.mp4", "--cam", "30", "--output_dir", shoot / "out")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_video_must_be_named_mp4(shoot):
    done = ex4d("generate", "--input_video", shoot / "clip.mp4", "--output_video", shoot / "result.avi")
    assert done.returncode == 2
    assert "end in .mp4" in done.stderr


def test_a_camera_with_an_odd_picture_leaves_no_empty_folder(shoot):
    np.savez(shoot / "path.npz", **GOOD, width=129, height=97)
    done = ex4d(
        "recon", "--input_video", shoot / "clip.mp4", "--camera", shoot / "path.npz", "--output_dir", shoot / "out"
    )
    assert done.returncode == 2
    assert "even" in done.stderr
    assert not (shoot / "out").exists()


def test_the_version_is_said():
    assert ex4d("--version", fresh=True).stdout.startswith("ex4d ")
