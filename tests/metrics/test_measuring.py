"""Measuring whole results: which figures are produced, over which pixels, and the messages if files do not fit."""

import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from small_shots import left_half, turning
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.errors import InputError
from ex4d.geometry.camera_path import CameraPath
from ex4d.media.movie import write_movie, write_png_frames
from ex4d.metrics import report, streams
from ex4d.metrics.cases import Case
from ex4d.metrics.datasets import pairs
from ex4d.metrics.measure import measure
from ex4d.metrics.running import Plan, run
from ex4d.synthetic import scenes


def written(folder: Path, frames) -> Path:
    write_png_frames(folder, frames)
    return folder


@pytest.fixture
def case(shot, tmp_path, truth):
    """A result whose visible half is off by 2 levels and whose invented half by 20."""
    made = truth.copy()
    made[:, :, :32] += 2
    made[:, :, 32:] -= 20
    (case,) = pairs.cases(shot.parent)
    return replace(case, result=written(tmp_path / "made", made))


def decibel(squared):
    return pytest.approx(10 * np.log10(65025 / squared), abs=1e-6)


def test_visible_and_invented_pixels_are_measured_apart(case):
    means = measure(case, frozenset({"psnr", "ssim", "invented"})).means
    assert means["psnr_visible"] == decibel(4)
    assert means["psnr_invented"] == decibel(400)
    assert means["psnr"] == decibel(202)
    assert means["invented"] == 0.5
    assert means["ssim_visible"] > means["ssim"] > means["ssim_invented"]


def test_each_frame_has_its_number_and_its_angle(case):
    measured = measure(case, frozenset({"psnr", "flicker"}))
    assert [row["frame"] for row in measured.frames] == [0, 1, 2, 3, 4]
    assert [row["angle"] for row in measured.frames] == pytest.approx([0, 7.5, 15, 22.5, 30])
    assert measured.range == "small"
    assert measured.frames[0].get("flicker") is None
    assert measured.frames[2]["flicker"] is not None


def test_equal_pictures_have_a_hundred_decibels_and_no_infinity(case):
    means = measure(replace(case, result=case.truth), frozenset({"psnr"})).means
    assert means["psnr"] == 100


def test_without_a_true_view_the_rest_is_measured(case):
    means = measure(replace(case, truth=None), frozenset({"psnr", "warp", "flicker", "matches"})).means
    assert "psnr" not in means
    assert {"warp_error", "flicker", "matches"} <= set(means)


def test_a_result_of_another_length_is_refused_in_words(case, tmp_path, truth):
    short = replace(case, result=written(tmp_path / "short", truth[:4]))
    with pytest.raises(
        InputError, match=r"short, for shot, has 4 frames and the camera path 5: give files of the same"
    ):
        measure(short)
    with pytest.raises(InputError, match=r"has 4 frames and the true view 5"):
        measure(replace(short, path=None), frozenset({"psnr"}))


def test_a_result_of_another_size_is_refused_or_resized_as_asked(case, tmp_path, truth):
    small = replace(case, result=written(tmp_path / "small", truth[:, ::2, ::2]))
    with pytest.raises(InputError, match=r"has 32x24 pixels and the true view 64x48: make it in that size, or ask for"):
        measure(small, frozenset({"psnr"}))
    measured = measure(small, frozenset({"psnr"}), resize=True)
    assert measured.notes == ("The result was resized from 32x24 to 64x48.",)
    assert 20 < measured.means["psnr"] < 60


def test_a_true_view_of_some_moments_takes_these_frames_of_a_whole_result(case, tmp_path, truth):
    at = np.array([1, 3])
    some = replace(case, truth=written(tmp_path / "some", truth[at]), truth_at=at, mask=None)
    measured = measure(replace(some, result=written(tmp_path / "all", truth)), frozenset({"psnr"}))
    assert [(row["frame"], row["psnr"]) for row in measured.frames] == [(1, 100), (3, 100)]
    alone = replace(some, result=some.truth, path=None)
    assert measure(alone, frozenset({"psnr"})).means["psnr"] == 100


def test_a_long_video_takes_no_more_memory_than_a_short_one(monkeypatch):
    monkeypatch.setattr(streams, "_picture", lambda file: np.full((96, 128, 3), int(file.stem) % 250, np.uint8))

    def most_memory(frames: int) -> int:
        files = tuple(Path(f"{n}.png") for n in range(frames))
        tracemalloc.start()
        try:
            measured = measure(Case("long", files, truth=files), frozenset({"psnr", "ssim", "warp", "flicker"}))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert len(measured.frames) == frames

    most_memory(3)  # imports happen in this first run
    assert most_memory(150) - most_memory(10) < 1e6  # the pictures alone are 5.5 MB


def ex4d(*arguments):
    return CliRunner().invoke(build_app(), ["evaluate", *map(str, arguments)])


def test_the_command_prints_a_line_and_leaves_figures_that_a_table_is_made_of(case, shot, tmp_path):
    out = tmp_path / "figures.json"
    done = ex4d("run", case.result.parent, "--dataset", "pairs", "--data", shot.parent, "--out", out)
    assert isinstance(done.exception, InputError)
    assert "the first should be called shot.mp4" in str(done.exception)
    results = tmp_path / "results"
    results.mkdir()
    case.result.rename(results / "shot")
    arguments = ("run", results, "--generator", "ours", "--dataset", "pairs", "--data", shot.parent, "--out", out)
    done = ex4d(*arguments, "--metrics", "psnr,invented")
    assert done.exit_code == 0, done.output
    assert (
        "shot (small): PSNR, dB 25.08, PSNR visible, dB 42.11, PSNR invented, dB 22.11, invented, share 50%"
        in done.output
    )
    read = report.read(out)
    assert (read.generator, read.dataset) == ("ours", "folder of pairs")
    assert read.results[0].means["psnr_visible"] == decibel(4)
    csv, markdown, plots = tmp_path / "t.csv", tmp_path / "t.md", tmp_path / "plots"
    assert ex4d("table", out, "--csv", csv, "--markdown", markdown, "--plots", plots).exit_code == 0
    assert "| small (0 to 30°) | PSNR visible, dB ↑ | 42.11 |" in markdown.read_text(encoding="utf-8")
    assert "| EX-4D | own 150 videos | extreme (0 to 90°) | FID ↓ | 55.42 | published |" in markdown.read_text("utf-8")
    assert csv.read_text(encoding="utf-8").startswith(
        "origin,generator,dataset,range,angle,metric,value,shots,source\n"
    )
    assert (plots / "psnr_visible.png").read_bytes().startswith(b"\x89PNG")


def test_a_takes_folder_brings_its_mask_and_its_camera(tmp_path, truth):
    from ex4d.geometry import camera_path

    take = tmp_path / "shot.take"
    take.mkdir()
    write_movie(take / "result.mp4", truth, Fraction(24))
    write_movie(take / "mask.mp4", left_half(), Fraction(24), lossless=True)
    camera_path.save(take / "camera.npz", turning([0, 20, 40, 55, 60]))
    done = ex4d("run", take, "--metrics", "invented,flicker")
    assert done.exit_code == 0, done.output
    assert "\nshot (large): flicker, levels " in done.output
    assert "invented, share 50%" in done.output


def test_a_take_of_a_part_of_a_clip_is_compared_with_the_frames_that_it_shows(tmp_path):
    from ex4d.pipeline.requests import Blob, Generate, Source
    from ex4d.pipeline.settings import SourceSettings
    from ex4d.pipeline.take import TakeRecord, write_record

    clip = np.random.default_rng(3).integers(0, 255, (9, 30, 40, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    take, out = tmp_path / "shot.take", tmp_path / "figures.json"
    take.mkdir()
    write_movie(take / "result.mp4", clip[2:8:2], Fraction(24))
    source = Source((Blob("0" * 64, 1, "clip"),), settings=SourceSettings(start=2, frames=3, step=2))
    record = TakeRecord(Generate(source), "a", "a", True, 0, {}, 320, 240, 3, "24", [1.0], [], {})
    write_record(take / "take.json", record)

    def matched(pictures):
        folder = written(tmp_path / f"{len(pictures)} pictures", pictures)
        done = ex4d("run", take, "--source", folder, "--metrics", "matches", "--out", out)
        assert done.exit_code == 0, (done.output, done.exception)
        return [row["matches"] for row in report.read(out).results[0].frames]

    assert matched(clip) == matched(clip[2:8:2])
    assert min(matched(clip)) > 100
    done = ex4d("run", take, "--source", written(tmp_path / "short", clip[:4]), "--metrics", "matches")
    assert "has 3 frames and the source 4: give files of the same frames." in str(done.exception)


def test_what_is_not_installed_is_said_once_and_the_rest_is_measured(case, monkeypatch):
    from ex4d.metrics import model_files

    absent = {name: replace(getattr(model_files, name), name="not_there_at_all") for name in ("TORCH", "FIDELITY")}
    for module in ("perceptual", "features"):
        monkeypatch.setattr(f"ex4d.metrics.{module}.model_files", type("Fake", (), {**vars(model_files), **absent}))
    made = run([case], Plan("ours", "pairs", frozenset({"psnr", "lpips", "fid"})))
    assert made.results[0].means["psnr"] == decibel(202)
    assert made.missing["lpips"].startswith("LPIPS needs the Python package not_there_at_all: ")
    assert made.missing["fid"].startswith("FID needs the Python package not_there_at_all: ")
    assert made.sets == {}


def test_a_measure_that_does_not_exist_is_named(case):
    with pytest.raises(InputError, match="There is no measure psrn: choose from psnr, ssim"):
        run([case], Plan("ours", "pairs", frozenset({"psrn"})))


def test_a_file_that_is_no_report_is_refused(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"generator": 3}')
    with pytest.raises(InputError, match="is no file of figures of this version"):
        report.read(file)


def test_masked_lpips_is_the_mean_over_covisible_pixels_of_pictures_that_are_black_elsewhere(case, tmp_path, truth):
    seen = []

    def distance(made, true):
        """A distance with a known value: the mean difference of the channels."""
        seen.append((made, true))
        return np.abs(made.astype(float) - true).mean(axis=-1)

    covisible = np.zeros((len(truth), *truth.shape[1:3], 3), np.uint8)
    covisible[:, :, 24:40] = 255  # 8 columns that are off by 2 levels, and 8 by 20
    case = replace(case, covisible=written(tmp_path / "covisible", covisible))
    means = measure(case, frozenset({"dycheck"}), perceptual=distance).means
    assert means["mlpips"] == pytest.approx(11)
    for pair in seen:
        assert all(not picture[:, :24].any() and not picture[:, 40:].any() for picture in pair)


def test_the_estimators_own_error_on_the_true_view_stands_beside_that_on_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr("ex4d.source_camera.pictures.SIDE", 448)
    footage = scenes.make("drone", 9, 256, 144, noise=0).source
    cameras = footage.cameras
    path = CameraPath(cameras.camera_to_world, cameras.intrinsics, 256, 144)
    true = written(tmp_path / "truth", footage.frames)
    case = Case("drone", result=written(tmp_path / "made", footage.frames[::-1]), truth=true, path=path)
    means = measure(case, frozenset({"camera"})).means
    assert means["rot_err_of_truth"] < 1
    assert means["trans_err_of_truth"] < 0.1
    assert means["rot_err"] > 3 * means["rot_err_of_truth"], "played backwards, the camera turns the other way"


def test_figures_never_replace_what_they_are_made_from(tmp_path):
    video = tmp_path / "made.mp4"
    write_movie(video, np.zeros((3, 48, 64, 3), np.uint8), Fraction(24))
    kept = video.read_bytes()
    done = ex4d("run", video, "--metrics", "flicker", "--out", video)
    assert isinstance(done.exception, InputError)
    assert "is an input of the result" in str(done.exception)
    figures = tmp_path / "figures.json"
    assert ex4d("run", video, "--metrics", "flicker", "--out", figures).exit_code == 0
    told = figures.read_bytes()
    assert isinstance(ex4d("table", figures, "--markdown", figures).exception, InputError)
    assert isinstance(ex4d("table", figures, "--csv", figures).exception, InputError)
    assert (video.read_bytes(), figures.read_bytes()) == (kept, told)


def test_a_folder_as_the_file_of_figures_is_refused_before_anything_is_measured(case, tmp_path, monkeypatch):
    monkeypatch.setattr("ex4d.metrics.running.run", None)
    for out in (".", tmp_path):
        done = ex4d("run", case.result, "--out", out)
        assert str(done.exception) == f"{out} is a folder: name a file in it."


def test_a_mask_of_another_shape_is_refused_and_one_of_another_size_is_not(case, tmp_path):
    upright = written(tmp_path / "upright", np.full((5, 64, 48), 255, np.uint8))
    with pytest.raises(InputError, match="mask of shot has 48x64 pixels, a shape that does not fit 64x48"):
        measure(replace(case, mask=upright), frozenset({"invented"}))
    half = written(tmp_path / "half", left_half()[:, ::2, ::2])
    assert measure(replace(case, mask=half), frozenset({"psnr"})).means["psnr_visible"] == decibel(4)


def test_an_upright_result_is_not_resized_to_a_true_view_that_lies(case, tmp_path):
    upright = written(tmp_path / "upright", np.zeros((5, 64, 48, 3), np.uint8))
    with pytest.raises(InputError, match="result of shot has 48x64 pixels, a shape that does not fit 64x48"):
        measure(replace(case, result=upright, mask=None), frozenset({"psnr"}), resize=True)


def test_pictures_too_small_for_the_flow_are_refused_in_words(tmp_path):
    tiny = written(tmp_path / "tiny", np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="12 pixels along the longer side at least, not of 8x8"):
        measure(Case("tiny", tiny), frozenset({"flicker"}))


def test_what_lacks_an_input_is_said(case):
    alone = replace(case, truth=None, source=None, mask=None, path=None)
    missing = run([alone], Plan("ours", "pairs", frozenset({"psnr", "matches", "flicker"}))).missing
    assert missing == {
        "psnr": "PSNR needs a true view, which is not given.",
        "matches": "Counting matches needs the source, which is not given.",
    }
    assert run([case], Plan("ours", "pairs", frozenset({"psnr", "matches", "flicker"}))).missing == {}


def test_a_range_without_shots_says_which_ranges_there_are(case, shot, tmp_path):
    (tmp_path / "results").mkdir()
    case.result.rename(tmp_path / "results" / "shot")
    done = ex4d("run", tmp_path / "results", "--dataset", "pairs", "--data", shot.parent, "--range", "large")
    assert str(done.exception).startswith("No shot is in the range large, only in small:")


def test_a_device_that_does_not_exist_is_refused(case):
    done = ex4d("run", case.result, "--device", "gpu")
    assert done.exit_code == 2
    assert "'gpu' is not one of 'cpu', 'cuda'" in done.output


def test_a_report_of_a_later_format_is_refused_and_one_without_figures_makes_no_table(case, tmp_path):
    out = tmp_path / "figures.json"
    report.write(out, replace(run([case], Plan("ours", "pairs", frozenset({"psnr"}))), format=report.FORMAT + 1))
    with pytest.raises(InputError, match="is no file of figures of this version"):
        report.read(out)
    report.write(out, report.Report("ours", "pairs", ()))
    assert str(ex4d("table", out).exception).startswith(f"There is no figure in {out}: measure again")


def test_a_result_that_does_not_fit_is_left_out_and_the_others_are_measured(case, tmp_path, truth):
    short = replace(case, name="short", result=written(tmp_path / "short", truth[:3]))
    report = run([short, case], Plan("ours", "pairs", frozenset({"psnr"})))
    assert [result.name for result in report.results] == ["shot"]
    assert report.missing["short"].startswith("short was left out: ")
    with pytest.raises(InputError, match="None of the 2 results could be measured"):
        run([short, replace(short, name="other")], Plan("ours", "pairs", frozenset({"psnr"})))


def test_the_clips_own_camera_without_a_path_is_refused(shot):
    done = CliRunner().invoke(
        build_app(), ["evaluate", "run", str(shot / "truth"), "--source_camera", str(shot / "camera.npz")]
    )
    assert "name it with --camera" in str(done.exception)
