"""Readers of data sets, on small folders with their layout."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from small_shots import FPS, HEIGHT, WIDTH, left_half, turning
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.errors import InputError
from ex4d.media import picture as media_picture
from ex4d.media.movie import write_movie, write_png_frames
from ex4d.metrics import rendered
from ex4d.metrics.datasets import dycheck, iphone_ptz, pairs, vista4d
from ex4d.metrics.datasets.results import result_of, with_result
from ex4d.metrics.measure import measure
from ex4d.metrics.ranges import RANGES
from ex4d.metrics.streams import open_stream
from ex4d.synthetic.footage import Recording

TURNED = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)
"""Camera-to-world rotation of the whole recording, whose world is not that of the first camera."""


def picture(folder: Path, name: str, frame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_png_frames(folder / name, frame[None])
    (folder / name / "frame_00000.png").rename(folder / f"{name}.png")
    (folder / name).rmdir()


@pytest.fixture
def iphone(tmp_path, truth):
    """A sequence of DyCheck's: five frames, and one validation camera that saw frames 1 and 3."""
    folder = tmp_path / "iphone" / "apple"
    names = [f"0_{t:05d}" for t in range(5)]
    val = ["1_00001", "1_00003"]
    for name in ("camera", "splits"):
        (folder / name).mkdir(parents=True)
    poses = dict.fromkeys(names, np.eye(3)) | dict.fromkeys(val, turning([25]).camera_to_world[0, :3, :3])
    for name, rotation in poses.items():
        about = {
            "orientation": (TURNED @ rotation).T.tolist(),
            "position": [1.0 if name in val else 0.0, 2.0, 3.0],
            "focal_length": 120.0,
            "principal_point": [64.0, 48.0],
            "image_size": [128, 96],
            "skew": 0.0,
            "pixel_aspect_ratio": 1.0,
        }
        (folder / "camera" / f"{name}.json").write_text(json.dumps(about))
    for t, name in enumerate(names):
        picture(folder / "rgb" / "2x", name, truth[t])
    for t, name in zip((1, 3), val, strict=True):
        picture(folder / "rgb" / "2x", name, truth[t])
        picture(folder / "covisible" / "2x" / "val", name, left_half()[0])
    for split, rows in (("train", [(n, 0, t) for t, n in enumerate(names)]), ("val", [(val[0], 1, 1), (val[1], 1, 3)])):
        columns = dict(zip(("frame_names", "camera_ids", "time_ids"), map(list, zip(*rows, strict=True)), strict=True))
        (folder / "splits" / f"{split}.json").write_text(json.dumps(columns))
    return folder.parent


def test_dychecks_validation_camera_is_a_case_with_its_masks_and_moments(iphone, tmp_path, truth):
    (case,) = dycheck.cases(iphone)
    assert case.name == "apple_1"
    assert case.truth_at.tolist() == [1, 3]
    assert case.angles == pytest.approx([25] * 5)
    assert case.path.camera_to_world[0, :3, 3] == pytest.approx(TURNED.T @ [1, 0, 0])  # in the first camera's world
    assert case.path.intrinsics[0, 0, 0] == 60  # for pictures at half size
    made = truth.copy()
    made[:, :, :32] += 5
    (tmp_path / "results").mkdir()
    write_png_frames(tmp_path / "results" / "apple_1", made)
    place = result_of(tmp_path / "results", case.name)
    means = measure(with_result(case, place), frozenset({"psnr", "dycheck"})).means
    assert means["mpsnr"] == pytest.approx(10 * np.log10(65025 / 25))
    assert means["psnr"] == pytest.approx(10 * np.log10(65025 / 12.5))
    assert 0.9 < means["mssim"] < 1


def test_a_sequence_of_dychecks_that_is_not_whole_is_refused(iphone):
    (iphone / "apple" / "camera" / "0_00002.json").unlink()
    with pytest.raises(InputError, match=r"0_00002.json cannot be read .*: the data is not whole"):
        dycheck.cases(iphone)
    with pytest.raises(InputError, match="There is no sequence of DyCheck's iPhone data"):
        dycheck.cases(iphone / "apple" / "rgb")


def test_frame_names_of_dychecks_cannot_lead_out_of_their_folder(iphone):
    file = iphone / "apple" / "splits" / "val.json"
    file.write_text(json.dumps({"frame_names": ["../../x"], "camera_ids": [1], "time_ids": [1]}))
    with pytest.raises(InputError, match="names of frames with folders in them"):
        dycheck.cases(iphone)


@pytest.fixture
def eval_data(tmp_path, truth):
    data = tmp_path / "eval_data"
    (data / "recon_and_seg" / "swing").mkdir(parents=True)
    (data / "cameras" / "swing").mkdir(parents=True)
    write_movie(data / "recon_and_seg" / "swing" / "video.mp4", truth, FPS)
    lens = np.tile([60.0, 60.0, WIDTH / 2, HEIGHT / 2], (5, 1))
    still = np.tile(np.eye(4), (5, 1, 1))
    np.savez(data / "recon_and_seg" / "swing" / "cameras.npz", cam_c2w=still, intrinsics=lens)
    path = turning([0, 10, 20, 30, 40]).camera_to_world
    np.savez(data / "cameras" / "swing" / "left-arc.npz", cam_c2w=path, intrinsics=lens)
    with (data / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "video", "camera", "seed", "prompt", "dynamic", "do_sky_seg", "source", "video_id"])
        writer.writerow(["swing_left-arc", "swing", "left-arc", "123", "a swing, moving", "swing", "true", "davis", ""])
    return data


def test_vista4ds_pairs_have_a_clip_and_a_camera_and_no_truth(eval_data, tmp_path, truth):
    ((case, result),) = vista4d.cases(eval_data)
    assert (case.name, case.range, case.truth) == ("swing_left-arc", "large", None)
    assert case.angles == pytest.approx([0, 10, 20, 30, 40])
    assert case.path.intrinsics[0, 0, 0] == 60
    (tmp_path / "results" / case.name).mkdir(parents=True)
    write_movie(tmp_path / "results" / case.name / "video_seed=123.mp4", truth, FPS)
    place = result_of(tmp_path / "results", case.name, result)
    assert place.name == "video_seed=123.mp4"
    assert measure(with_result(case, place), frozenset({"psnr", "flicker"})).means["flicker"] < 3


def test_a_table_of_vista4d_that_names_folders_is_refused(eval_data):
    text = (eval_data / "metadata.csv").read_text()
    (eval_data / "metadata.csv").write_text(text.replace(",swing,left", ",../swing,left"))
    with pytest.raises(InputError, match="a row without a name, or with a folder in it"):
        vista4d.cases(eval_data)


@pytest.fixture
def ptz(tmp_path, truth):
    folder = tmp_path / "ptz" / "scene_01"
    (folder / "camera_poses").mkdir(parents=True)
    write_png_frames(folder / "target_imgs", truth)
    return folder


def test_without_torch_its_files_are_refused_and_nothing_is_unpickled(ptz, monkeypatch):
    from ex4d.metrics.datasets import torch_arrays

    (ptz / "camera_poses" / "source_c2ws.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(torch_arrays, "Package", lambda *_: type("No", (), {"is_there": False, "install": "get it"}))
    with pytest.raises(InputError, match=r"source_c2ws.pt is a file of torch, which only the Python package torch can"):
        iphone_ptz.cases(ptz.parent)


@pytest.mark.wan
def test_the_cameras_of_iphone_ptz_are_read_from_tensors_alone(ptz):
    torch = pytest.importorskip("torch")
    path = turning([0, 20, 40, 60, 80])
    arrays = {"source_Ks": path.intrinsics, "target_c2ws": path.camera_to_world}
    arrays["source_c2ws"] = np.tile(np.eye(4), (5, 1, 1))
    for name, array in arrays.items():
        torch.save(torch.from_numpy(array).float(), ptz / "camera_poses" / f"{name}.pt")
    (case,) = iphone_ptz.cases(ptz.parent)
    assert case.angles == pytest.approx([0, 20, 40, 60, 80], abs=1e-3)
    assert (case.range, case.path.width) == ("extreme", WIDTH)
    torch.save({"poses": [1, 2]}, ptz / "camera_poses" / "source_Ks.pt")
    with pytest.raises(InputError, match="it holds no tensor"):
        iphone_ptz.cases(ptz.parent)


def test_a_folder_of_pairs_needs_a_clip_or_a_truth_in_each(shot):
    (shot.parent / "empty").mkdir()
    with pytest.raises(InputError, match=r"has neither source.mp4 nor truth.mp4"):
        pairs.cases(shot.parent)


def test_scenes_of_an_odd_width_are_refused(tmp_path):
    run = CliRunner().invoke(build_app(), ["evaluate", "scenes", str(tmp_path / "scenes"), "--width", "65"])
    assert str(run.exception) == "Videos have even sides: give --width 66 instead of 65."
    assert not (tmp_path / "scenes").exists()


def test_a_picture_too_large_to_be_decoded_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(media_picture, "LIMIT_PIXELS", 100)
    write_png_frames(tmp_path / "shot", np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="16x16 pixels, which is too large"):
        open_stream(tmp_path / "shot", "result")


def test_rendered_scenes_are_pairs_whose_true_view_sweeps_through_the_range(tmp_path):
    ranges = [each for each in RANGES if each.name in ("small", "full")]
    rendered.write(tmp_path, ["still"], ranges, Recording(96, 54, 5))
    made = {case.name: case for case in pairs.cases(tmp_path)}
    assert set(made) == {"still_small", "still_full"}
    small, full = made["still_small"], made["still_full"]
    assert (small.range, full.range) == ("small", "full")
    assert abs(small.angles[0]) < 1e-6
    assert 28 < abs(small.angles[-1]) < 34
    assert full.angles[0] * full.angles[-1] < 0
    # In frame 0 of the narrow sweep both cameras coincide: the clip is the truth except for its noise and blur.
    as_result = with_result(small, small.source)
    first = measure(as_result, frozenset({"psnr", "invented"})).frames[0]
    assert first["psnr_visible"] > 30
    assert first["invented"] < 0.05
    with pytest.raises(InputError, match="There is no scene 'moon'"):
        rendered.write(tmp_path, ["moon"])


def test_a_shot_that_no_memory_holds_is_refused_before_it_is_rendered(tmp_path):
    with pytest.raises(InputError, match=r"100000 frames of 2000x1124 are 224\.8 billion pixels"):
        rendered.write(tmp_path / "new", recording=Recording(2000, 1124, 100_000))
    with pytest.raises(InputError, match="There is no scene 'moon'"):
        rendered.write(tmp_path / "new", ["street", "moon"])
    assert not (tmp_path / "new").exists()
