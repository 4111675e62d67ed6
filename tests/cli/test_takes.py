"""Takes written by `ex4d generate`, and `ex4d again`."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from command_line import ex4d
from test_cli import PLUGINS, files_below

from ex4d.geometry.depth_video import save_depth
from ex4d.media.clip import clip_info, open_source, read_clip
from ex4d.media.mastering import write_ffv1
from ex4d.media.movie import read_movie, write_movie, write_png_frames
from ex4d.media.still import srgb
from ex4d.pipeline import take
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import blobs_of
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.progress import silent

LEFT = ["camera.npz", "colour.mp4", "generated.mp4", "mask.mp4", "result.mp4", "take.json", "thumbnail.jpg"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EX4D_MODELS", raising=False)


@pytest.fixture
def shoot(tmp_path, moving_box) -> Path:
    """A folder with clip.mp4 and its depth next to it."""
    clip, depth = moving_box
    folder = tmp_path / "shoot"
    folder.mkdir()
    write_movie(folder / "clip.mp4", clip.frames, Fraction(24))
    save_depth(folder / "clip.depth.npz", depth)
    return folder


def generate(folder: Path, *more, **options):
    known = ("--input_video", "clip.mp4", "--cam", "30", "--output_video", "shot.mp4")
    done = ex4d("generate", *known, *more, cwd=folder, **options)
    assert done.returncode == 0, done.stderr
    return done


def made_again(*arguments, **options) -> Path:
    """The new take printed on standard output."""
    done = ex4d("again", *arguments, **options)
    assert done.returncode == 0, done.stderr
    assert "The result is the same, byte for byte." in done.stderr
    return Path(options.get("cwd", ".")) / done.stdout.strip()


def same(one: Path, other: Path) -> bool:
    names = [path.name for path in one.iterdir() if path.name != take.SIDECAR]
    assert names
    return files_below(one) == files_below(other) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )


def test_generate_leaves_the_video_and_a_take_beside_it_whose_record_has_relative_inputs(shoot):
    done = generate(shoot, "--seed", "5")
    assert done.stdout.split() == ["shot.mp4", "shot.generated.mp4", "shot.take"]
    assert files_below(shoot / "shot.take") == LEFT
    assert (shoot / "shot.mp4").read_bytes() == (shoot / "shot.take" / "result.mp4").read_bytes()
    assert (shoot / "shot.generated.mp4").read_bytes() == (shoot / "shot.take" / "generated.mp4").read_bytes()
    record = json.loads((shoot / "shot.take" / "take.json").read_text())
    assert sorted(record["inputs"].values()) == ["../clip.depth.npz", "../clip.mp4"]
    assert record["job"]["generation"]["seed"] == 5
    assert record["job"]["preset"]["cam"] == "30"
    missing = [100 * (1 - real) for real in record["coverage"]]
    mean, worst = (f"{part:.0f}%" for part in (sum(missing) / len(missing), max(missing)))
    assert f"{mean} of the picture is invented, {worst} in the worst frame." in done.stderr
    assert str(shoot) not in json.dumps(record)
    assert not [name for name in files_below(shoot) if ".part" in name]


def test_a_worker_makes_the_same_bytes_of_the_same_job(shoot, tmp_path, monkeypatch):
    generate(shoot)
    record = take.read_record(shoot / "shot.take" / "take.json")
    for folder in ("blobs", "in", "out"):
        (tmp_path / folder).mkdir()
    for blob in blobs_of(record.job):
        shutil.copyfile(take.place_of(record, shoot / "shot.take", blob), tmp_path / "blobs" / blob.sha256)
    monkeypatch.chdir(tmp_path / "in")
    files = gather(record.job, lambda blob: tmp_path / "blobs" / blob.sha256, Path())
    run(record.job, files, tmp_path / "out", Runtime(), silent)
    assert same(shoot / "shot.take", tmp_path / "out")


@pytest.mark.parametrize("named", ["shot.take", "shot.take/take.json", "shot.mp4", "shot.take/result.mp4"])
def test_a_take_is_made_again_beside_it_whatever_of_it_is_named(named, shoot):
    generate(shoot)
    assert made_again(named, cwd=shoot, fresh=True) == shoot / "shot.again.take"
    assert same(shoot / "shot.take", shoot / "shot.again.take")


@pytest.mark.parametrize("named", [".", "take.json", "../shot.take"])
def test_a_take_is_made_again_beside_it_from_inside_its_folder(named, shoot):
    generate(shoot)
    new = made_again(named, cwd=shoot / "shot.take")
    assert same(shoot / "shot.take", new)
    assert files_below(shoot / "shot.take") == LEFT
    assert (shoot / "shot.again.take").is_dir()


def test_a_take_is_made_again_in_the_working_folder(shoot):
    generate(shoot)
    (shoot / "empty").mkdir()
    made_again("../shot.take", "--output_dir", ".", cwd=shoot / "empty")
    assert same(shoot / "shot.take", shoot / "empty")


def test_a_take_whose_result_is_gone_is_made_again_and_says_that_there_is_nothing_to_compare_with(shoot):
    generate(shoot)
    (shoot / "shot.take" / "result.mp4").unlink()
    done = ex4d("again", "shot.take", cwd=shoot)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "shot.again.take"
    assert "There is nothing to compare with: shot.take has no result.mp4 any more." in done.stderr


def test_a_take_made_again_takes_the_next_free_name_and_can_be_made_again(shoot):
    generate(shoot, "--no_keep_source")
    assert made_again("shot.take", cwd=shoot).name == "shot.again.take"
    assert made_again("shot.take", cwd=shoot).name == "shot.again2.take"
    assert made_again("shot.again.take", "--output_dir", "new/one", cwd=shoot) == shoot / "new/one"
    assert same(shoot / "shot.take", shoot / "new/one")


def test_a_take_is_made_again_after_all_was_moved_together(shoot, tmp_path):
    generate(shoot)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    shutil.move(shoot, moved)
    assert same(moved / "shot.take", made_again(moved / "shot.mp4"))


def test_a_clip_that_was_moved_alone_is_named(shoot):
    generate(shoot)
    (shoot / "archive").mkdir()
    (shoot / "clip.mp4").rename(shoot / "archive" / "day_1.mp4")
    refused = ex4d("again", "shot.take", cwd=shoot)
    assert refused.returncode == 2
    assert "clip.mp4 is gone: bring it back, or say where the clip is now" in refused.stderr.strip().splitlines()[-1]
    assert not (shoot / "shot.again.take").exists()
    new = made_again("shot.take", "--input_video", "archive/day_1.mp4", cwd=shoot)
    assert same(shoot / "shot.take", new)
    assert sorted(take.read_record(new / "take.json").inputs.values()) == ["../archive/day_1.mp4", "../clip.depth.npz"]


def test_a_clip_that_was_changed_is_refused_and_nothing_is_left(shoot, moving_box):
    generate(shoot)
    write_movie(shoot / "clip.mp4", moving_box[0].frames[::-1], Fraction(24))
    before = files_below(shoot)
    for more, said in [
        ([], "clip.mp4 has changed since the take was made"),
        (["--input_video", "clip.mp4"], "clip.mp4 is not the file that the take was made from"),
        (["--output_dir", "new/one"], "clip.mp4 has changed since the take was made"),
    ]:
        refused = ex4d("again", "shot.take", *more, cwd=shoot)
        assert refused.returncode == 2
        assert said in refused.stderr.strip().splitlines()[-1]
        assert files_below(shoot) == before


def test_what_is_no_take_cannot_be_made_again(shoot):
    for named in ("clip.mp4", "nowhere", "."):
        refused = ex4d("again", named, cwd=shoot)
        assert refused.returncode == 2
        assert f"There is no take {named}: name its folder" in refused.stderr


def test_a_take_is_never_made_over_itself(shoot):
    generate(shoot)
    before = (shoot / "shot.take" / "take.json").read_bytes()
    for folder in ("shot.take", "."):
        refused = ex4d("again", "shot.take", "--output_dir", folder, cwd=shoot)
        assert refused.returncode == 2
        assert "is an input of the result" in refused.stderr
    assert (shoot / "shot.take" / "take.json").read_bytes() == before


def test_an_older_take_gives_way_as_a_whole(shoot):
    generate(shoot, "--no_keep_source")
    generate(shoot)
    assert files_below(shoot / "shot.take") == LEFT


def test_a_folder_that_is_no_take_is_never_replaced(shoot):
    generate(shoot)
    (shoot / "shot.take" / "notes.txt").write_text("mine")
    before = files_below(shoot), (shoot / "shot.mp4").read_bytes()
    done = ex4d("generate", "--input_video", "clip.mp4", "--output_video", "shot.mp4", cwd=shoot)
    assert done.returncode == 2
    assert "shot.take exists and is not a take, or also holds other files" in done.stderr
    assert (files_below(shoot), (shoot / "shot.mp4").read_bytes()) == before


def test_what_a_take_is_made_from_may_not_lie_in_the_take_that_gives_way(shoot):
    generate(shoot)
    done = ex4d("generate", "--input_video", "shot.take/result.mp4", "--output_video", "shot.mp4", cwd=shoot)
    assert done.returncode == 2
    assert "shot.take is an input of the result" in done.stderr


def test_nothing_half_made_stays_after_an_error(shoot):
    np.savez(shoot / "path.npz", extrinsics=np.broadcast_to(np.eye(4), (5, 4, 4)), intrinsics=np.eye(3))
    before = files_below(shoot)
    done = ex4d(
        "generate", "--input_video", "clip.mp4", "--camera", "path.npz", "--output_video", "new/shot.mp4", cwd=shoot
    )
    assert done.returncode == 2
    assert "path.npz" in done.stderr
    assert files_below(shoot) == before


def test_pictures_lose_nothing_and_have_a_take_too(shoot):
    done = ex4d(
        "generate", "--input_video", "clip.mp4", "--cam", "30", "--output_video", "shot", "--output_format", "png",
        cwd=shoot,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["shot", "shot.generated", "shot.take"]
    pictures = read_clip(shoot / "shot", frames=None).frames
    assert np.array_equal(pictures[0], read_movie(shoot / "clip.mp4").frames[0]), "seen from the source, frame 0 is it"
    assert len(files_below(shoot / "shot.generated")) == len(pictures)
    assert same(shoot / "shot.take", made_again("shot", cwd=shoot))


@pytest.mark.parametrize(
    "command", [("generate", "--output_video", "180"), ("recon", "--output_dir", "."), ("recon", "--output_dir", "180")]
)
def test_pictures_are_refused_beside_other_files_before_anything_runs(shoot, command):
    (shoot / "180").mkdir()
    (shoot / "color_180").write_text("mine")
    for folder in (shoot / "180", shoot / "180" / "mask_180"):
        folder.mkdir(exist_ok=True)
        (folder / "notes.txt").write_text("mine")
    before = files_below(shoot)
    done = ex4d(*command, "--input_video", "clip.mp4", "--output_format", "png", cwd=shoot)
    assert done.returncode == 2
    assert "holds other files" in done.stderr or "is a file: choose another name" in done.stderr
    assert "Reading" not in done.stderr
    assert files_below(shoot) == before


def test_frames_that_belong_to_no_take_are_never_replaced(shoot):
    (shoot / "mine").mkdir()
    (shoot / "mine" / "frame_00000.png").write_bytes(b"mine")
    before = files_below(shoot)
    command = ("generate", "--input_video", "clip.mp4", "--output_format", "png", "--output_video", "mine")
    done = ex4d(*command, cwd=shoot)
    assert done.returncode == 2
    assert "The folder mine already holds frames, and there is no take mine.take beside it" in done.stderr
    assert files_below(shoot) == before


def test_folders_of_pictures_are_made_again_from_their_files(tmp_path, moving_box):
    clip, depth = moving_box
    write_png_frames(tmp_path / "walk", clip.frames)
    (tmp_path / "walk_depth").mkdir()
    for number, frame in enumerate(depth.depth):
        cv2.imwrite(str(tmp_path / "walk_depth" / f"{number}.png"), (frame * 1000).astype(np.uint16))
    np.savez(tmp_path / "moving.npz", camera_to_world=np.broadcast_to(np.eye(4), (9, 4, 4)))
    done = ex4d(
        "generate", "--input_video", "walk", "--fps", "12", "--source_camera", "moving.npz", "--fov", "50",
        "--output_video", "out/shot.mp4", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_movie(tmp_path / "out" / "shot.mp4").fps == 12
    inputs = take.read_record(tmp_path / "out" / "shot.take" / "take.json").inputs
    assert len(inputs) == 9 + 9 + 1
    assert set(map(str, map(Path, inputs.values()))) >= {"../../walk/frame_00000.png", "../../walk_depth/8.png"}
    assert same(tmp_path / "out" / "shot.take", made_again(tmp_path / "out" / "shot.take"))


def test_a_camera_file_may_go_once_the_take_has_its_own(shoot):
    recon = ex4d(
        "recon", "--input_video", "clip.mp4", "--cam", "60", "--save_camera", "--output_dir", "view", cwd=shoot
    )
    assert recon.returncode == 0, recon.stderr
    generate(shoot, "--camera", "view/camera_60.npz")
    shutil.rmtree(shoot / "view")
    assert same(shoot / "shot.take", made_again("shot.take", cwd=shoot))


def test_colour_and_mask_become_a_take_without_a_camera(shoot):
    recon = ex4d("recon", "--input_video", "clip.mp4", "--cam", "30", "--output_dir", "view", cwd=shoot)
    assert recon.returncode == 0, recon.stderr
    done = ex4d(
        "generate", "--color_video", "view/color_30.mp4", "--mask_video", "view/mask_30.mp4", "--output_video", "s.mp4",
        cwd=shoot,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert files_below(shoot / "s.take") == [name for name in LEFT if name != "camera.npz"]
    assert same(shoot / "s.take", made_again("s.take", cwd=shoot))


def test_depth_that_was_estimated_is_estimated_again(shoot):
    (shoot / "clip.depth.npz").unlink()
    generate(shoot)
    record = take.read_record(shoot / "shot.take" / "take.json")
    assert not record.job.source.depth
    assert same(shoot / "shot.take", made_again("shot.take", cwd=shoot))


def test_another_estimator_leaves_the_file_beside_the_clip_alone(shoot):
    generate(shoot, "--depth_estimator", "flat-wall", packages=PLUGINS)
    record = take.read_record(shoot / "shot.take" / "take.json")
    assert record.depth["provider"] == "flat-wall"
    assert not record.job.source.depth


def test_a_generator_of_another_package_makes_a_take_and_makes_it_again(shoot):
    generate(shoot, "--pause", "0", "--quality", "draft", "--generator", "orange", packages=PLUGINS)
    record = take.read_record(shoot / "shot.take" / "take.json")
    assert record.generator == "orange"
    assert (record.settings["pause"], record.settings["quality"]) == (0.0, "draft")
    assert "Made at draft quality." in record.notes
    assert same(shoot / "shot.take", made_again("shot.take", cwd=shoot, packages=PLUGINS))
    refused = ex4d("again", "shot.take", cwd=shoot)
    assert refused.returncode == 2
    assert "There is no generator 'orange' here" in refused.stderr


def test_numbers_that_nothing_can_take_are_refused_before_anything_runs(shoot):
    for option, value, said in [
        ("--seed", "9" * 400, "Seed is far too large a number."),
        ("--result_fps", "1/99999999", "must be between 1/1000 and 1000 frames per second, not 1/99999999."),
    ]:
        done = ex4d(
            "generate", "--input_video", "clip.mp4", "--output_video", "shot.mp4", option, value, cwd=shoot
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr.strip().endswith(said)
        assert not (shoot / "shot.take").exists()


def test_pictures_in_a_folder_named_depth_that_holds_a_text_too_become_a_take(tmp_path, moving_box):
    clip, depth = moving_box
    write_png_frames(tmp_path / "depth", clip.frames)
    (tmp_path / "depth" / "readme.txt").write_text("the walk")
    (tmp_path / "dep").mkdir()
    for number, frame in enumerate(depth.depth):
        cv2.imwrite(str(tmp_path / "dep" / f"{number}.png"), (frame * 1000).astype(np.uint16))
    done = ex4d("generate", "--input_video", "depth", "--depth", "dep", "--output_video", "shot.mp4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "shot.take", made_again("shot.take", cwd=tmp_path))


@pytest.fixture
def png(shoot) -> dict[str, np.ndarray]:
    """The take's videos before they are compressed."""
    done = ex4d(
        "generate", "--input_video", "clip.mp4", "--cam", "30", "--output_video", "png", "--output_format", "png",
        cwd=shoot,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: read_clip(shoot / name, frames=None).frames for name in ("png", "png.generated")}


def left_as(shoot, output_format, ending):
    done = ex4d(
        "generate", "--input_video", "clip.mp4", "--cam", "30", "--output_video", f"shot{ending}", "--output_format",
        output_format, cwd=shoot,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"shot{ending}", f"shot.generated{ending}", "shot.take"]
    assert files_below(shoot / "shot.take") == LEFT


def test_as_ffv1_the_videos_lose_nothing_and_name_their_take(shoot, png):
    left_as(shoot, "ffv1", ".mkv")
    for name in ("shot", "shot.generated"):
        assert np.array_equal(read_movie(shoot / f"{name}.mkv").frames, png[name.replace("shot", "png")])
    assert clip_info(shoot / "shot.mkv").fps == 24
    title = {key.lower(): text for key, text in clip_info(shoot / "shot.mkv").metadata.items()}["title"]
    assert title == "EX-4D preview, not made by a model"
    assert same(shoot / "shot.take", made_again("shot.mkv", cwd=shoot))


def test_as_prores_the_video_has_the_takes_mask_as_alpha(shoot, png):
    left_as(shoot, "prores", ".mov")
    mask = read_movie(shoot / "shot.take" / "mask.mp4").frames[..., 0]
    with av.open(str(shoot / "shot.mov")) as container:
        pictures = [picture.reformat(format="rgba").to_ndarray() for picture in container.decode(video=0)]
    found = np.stack(pictures)
    assert np.array_equal(found[..., 3], mask)
    assert np.abs(found[..., :3].astype(int) - png["png"]).mean() < 1


def test_as_exr_each_picture_has_the_takes_mask_as_a_layer(shoot, png):
    left_as(shoot, "exr", "")
    mask = read_movie(shoot / "shot.take" / "mask.mp4").frames[..., 0]
    for number, (picture, real) in enumerate(zip(png["png"], mask, strict=True)):
        with OpenEXR.File(str(shoot / "shot" / f"frame_{number:05d}.exr"), separate_channels=True) as file:
            channels = {name: held.pixels for name, held in file.channels().items()}
        assert np.array_equal(channels["mask.A"], real / 255)
        assert np.array_equal(np.rint(255 * srgb(np.dstack([channels[c] for c in "RGB"]))), picture)


@pytest.fixture
def deep(shoot):
    """The same folder with a 16-bit clip: a ramp with as many levels as columns."""
    clip = read_movie(shoot / "clip.mp4")
    frames = len(clip.frames)
    row = np.linspace(0, 65535, 1024).astype(np.uint16)
    ramp = np.broadcast_to(row[None, None, :, None], (frames, 768, 1024, 3))
    write_ffv1(shoot / "deep.mkv", ramp, clip.fps)
    depth = np.full((frames, 24, 32), 4, np.float32)
    np.savez(shoot / "deep.depth.npz", depth=depth, intrinsics=np.array([[30.0, 0, 16], [0, 30, 12], [0, 0, 1]]))
    return shoot


@pytest.mark.parametrize(
    ("name", "more", "least"),
    [
        ("a.mp4", (), 200),
        ("a.mp4", ("--bits", "10"), 700),
        ("a.mp4", ("--output_format", "hevc", "--bits", "10", "--chroma", "444"), 700),
        ("a.mov", ("--output_format", "prores"), 700),
        ("a.mkv", ("--output_format", "ffv1"), 1000),
        ("exr", ("--output_format", "exr"), 700),
        ("png", ("--output_format", "png", "--bits", "16"), 1000),
    ],
)
def test_the_levels_of_a_deep_clip_leave_with_it(deep, name, more, least):
    done = ex4d(
        "generate", "--input_video", "deep.mkv", "--num_frames", "2", "--cam", "hold", "--longest_side", "128",
        "--output_video", name, *more, cwd=deep,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = next(open_source(deep / name).frames(0, 1, longest_side=None, multiple=1, bits=16))
    levels = len(np.unique(found[:, :, 1]))
    assert levels >= least
    if name == "a.mp4" and not more:
        assert levels <= 256


def test_a_rate_factor_changes_the_video_beside_the_take_and_not_the_take(shoot):
    generate(shoot)
    plain = (shoot / "shot.mp4").read_bytes()
    generate(shoot, "--crf", "35")
    assert (shoot / "shot.take" / "result.mp4").read_bytes() == plain
    assert len((shoot / "shot.mp4").read_bytes()) < 0.7 * len(plain)
    assert clip_info(shoot / "shot.mp4").metadata["title"] == "EX-4D preview, not made by a model"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ("--output_video", "shot.mp4", "--output_format", "prores"),
            "With --output_format prores, --output_video must end in .mov",
        ),
        (("--output_video", "shot.mov"), "With --output_format mp4, --output_video must end in .mp4"),
        (("--output_video", "shot", "--output_format", "exr", "--crf", "5"), "--crf is for mp4 and hevc: leave it out"),
        (("--output_video", "shot", "--output_format", "png", "--chroma", "444"), "--chroma is for mp4 and hevc"),
        (
            ("--output_video", "shot.mp4", "--bits", "16"),
            "With --output_format mp4, --bits is 8 or 10, not 16.",
        ),
    ],
)  # fmt: skip
def test_a_name_or_quality_that_does_not_go_with_the_format_is_refused_before_anything_runs(shoot, more, said):
    before = files_below(shoot)
    done = ex4d("generate", "--input_video", "clip.mp4", *more, cwd=shoot)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Reading" not in done.stderr
    assert files_below(shoot) == before
