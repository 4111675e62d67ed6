"""Datasets from ordinary videos: the same files however they were made, and bad videos do not stop good ones."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import folder_of, panned, written

from ex4d.errors import InputError
from ex4d.geometry import intrinsics
from ex4d.geometry.depth_video import DepthVideo, save_depth
from ex4d.synthetic import scenes
from ex4d.training import making
from ex4d.training.clips import pieces, true_cuts
from ex4d.training.dataset import Dataset, DatasetSettings
from ex4d.training.making import left_out, make
from ex4d.training.reserved import LOCK, reserved
from ex4d.training.sources import Video, videos
from ex4d.training.workers import in_processes

SETTINGS = DatasetSettings(frames=9, size=96, masks=3, depth_estimator="plane", seed=7)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_clips_are_the_videos_frames_cropped_about_the_middle(tmp_path):
    frames = panned(0, 20)
    (video,) = videos(written(tmp_path / "film.mp4", frames))
    made = make([video], tmp_path / "set", SETTINGS, processes=1)
    assert [made.about_clip(clip).start for clip in made.clips] == [0, 9]
    for clip, start in zip(made.clips, (0, 9), strict=True):
        sample = made.load(clip, 0)
        assert sample.frames.shape == (9, 96, 96, 3)
        expected = _scaled(frames[start + 4]).astype(int)[8:-8, 8:-8]
        errors = {
            (dx, dy): np.abs(sample.frames[4, 8 + dy : 88 + dy, 8 + dx : 88 + dx] - expected).mean()
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
        }
        assert min(errors, key=lambda shift: errors[shift]) == (0, 0)
        assert errors[0, 0] < 6
    assert made.about.videos[0].notes[0].startswith("The depth is a guess")


def _scaled(frame: np.ndarray) -> np.ndarray:
    """160x112 becomes 138x97, the smallest size that covers 96x96 with the same aspect, of which the middle is used."""
    return cv2.resize(frame, (138, 97), interpolation=cv2.INTER_AREA)[:96, 21:117]


def test_the_same_seed_gives_the_same_bytes_with_one_process_and_with_two(tmp_path):
    source = videos(folder_of(tmp_path / "films", 3))
    one = contents(make(source, tmp_path / "one", SETTINGS, processes=1).folder)
    two = contents(make(source, tmp_path / "two", SETTINGS, processes=2).folder)
    assert one == two
    assert sum(name.endswith("frames.mkv") for name in one) == 6
    other = DatasetSettings(**{**SETTINGS.__dict__, "seed": 8})
    third = contents(make(source, tmp_path / "three", other, processes=2).folder)
    masks = [name for name in one if name.endswith("masks.npz")]
    assert all(one[name] != third[name] for name in masks)


SCRIPT = """
import sys
from pathlib import Path
from ex4d.training.dataset import DatasetSettings
from ex4d.training.making import make
from ex4d.training.sources import videos

if __name__ == "__main__":
    settings = DatasetSettings(frames=9, size=96, masks=3, depth_estimator="plane", seed=7)
    make(videos(Path(sys.argv[1])), Path(sys.argv[2]), settings, processes=2)
"""


def test_a_run_keeps_others_out_until_it_is_killed_and_goes_on_to_the_same_bytes(tmp_path):
    films, script = folder_of(tmp_path / "films", 4), tmp_path / "script.py"
    script.write_text(SCRIPT)
    whole = contents(make(videos(films), tmp_path / "whole", SETTINGS, processes=2).folder)
    out = tmp_path / "set"
    run = subprocess.Popen([sys.executable, str(script), str(films), str(out)])
    children: list[int] = []
    try:
        for _ in range(1200):
            children = children or _children(run.pid)
            if len(list((out / "clips").glob("[!.]*"))) >= 2:
                break
            assert run.poll() is None
            time.sleep(0.05)
        with pytest.raises(
            InputError, match=r"Another `ex4d train masks` is working in .*set: wait until it has ended"
        ):
            make(videos(films), out, SETTINGS, processes=2)
        assert run.poll() is None
    finally:
        children = _children(run.pid)
        run.send_signal(signal.SIGKILL)
        run.wait()
    before = {path: path.stat().st_mtime_ns for path in (out / "clips").glob("[!.]*/frames.mkv")}
    assert before
    for _ in range(200):  # the processes that it started end too
        if not any(_runs(child) for child in children):
            break
        time.sleep(0.05)
    assert len(children) >= 2
    assert not any(_runs(child) for child in children)
    with pytest.raises(InputError, match="not finished"):
        Dataset.open(out)
    (out / "clips" / ".1234abcd.part.0123456789abcdef-000000").mkdir()  # left by a kill in the middle of writing
    assert contents(make(videos(films), out, SETTINGS, processes=2).folder) == whole
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())  # finished work is not repeated


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    try:
        return [int(child) for child in path.read_text().split() if b"spawn_main" in _command(int(child))]
    except OSError:
        return []


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _runs(process: int) -> bool:
    return b"spawn_main" in _command(process)


def test_bad_videos_among_good_ones_are_left_out_with_their_reasons(tmp_path):
    films = folder_of(tmp_path / "films", 2, 12)
    whole = (films / "film_0.mp4").read_bytes()
    (films / "bad_cut.mp4").write_bytes(whole[: len(whole) // 3])
    (films / "bad_text.mov").write_text("no video")
    (films / "copy.mp4").write_bytes((films / "film_1.mp4").read_bytes())
    written(films / "short.mp4", panned(4, 5))
    written(films / "small.mp4", panned(4, 12, size=(80, 64)))
    source = [*videos(films), Video(films / "gone.mp4")]
    made = make(source, tmp_path / "set", SETTINGS, processes=2)
    assert len(made.clips) == 2
    why = {video.video: video.why for video in made.about.videos if not video.clips}
    assert set(why) == {"bad_cut.mp4", "bad_text.mov", "film_1.mp4", "short.mp4", "small.mp4", "gone.mp4"}
    assert why["short.mp4"] == "it has 5 frames, and a clip needs 9"
    assert why["small.mp4"] == "its pictures of 80x64 are smaller than 96 pixels"
    assert why["film_1.mp4"] == "it is the same as copy.mp4"
    assert "cannot be read as a video" in why["bad_text.mov"]
    assert not any(str(tmp_path) in text for text in (why["bad_text.mov"], why["bad_cut.mp4"]))
    assert left_out(made.about)[0] == "6 of 8 videos were left out."
    samples = [made.load(clip, mask) for clip in made.clips for mask in range(3)]
    assert all(sample.mask[0].all() for sample in samples)


def test_no_clip_goes_over_a_cut(tmp_path):
    example = scenes.make("cut", 40, 192, 128, noise=0)
    (cut,) = example.cuts
    video = written(tmp_path / "cut.mp4", example.source.frames)
    found = list(pieces(video, 9, 96, 0))
    assert [piece.clip.start for piece in found] == [0, 9, cut, cut + 9]
    assert sum(piece.cuts for piece in found) == 1
    with pytest.raises(InputError, match="cut 1 times, and no shot in it has 24 frames"):
        list(pieces(video, 24, 96, 0))


def test_points_that_get_lost_on_bare_walls_are_no_cut():
    one, other = panned(0, 10), panned(1, 10)
    assert true_cuts(one, [3, 7]) == []
    assert true_cuts(np.concatenate([one, other]), [4, 10, 15]) == [10]
    assert true_cuts(one, []) == []


def test_so_many_clips_of_a_video_and_no_more(tmp_path):
    video = written(tmp_path / "film.mp4", panned(0, 30))
    assert [len(list(pieces(video, 9, 96, most))) for most in (0, 1, 2)] == [3, 1, 2]


def test_depth_of_a_file_beside_the_video_is_used(tmp_path):
    frames = panned(0, 18)
    depth = np.full((18, 112, 160), 4, np.float32)
    depth[:, 30:80, 60:100] = 2
    k = intrinsics.from_focal(150, 160, 112)
    written(tmp_path / "film.mp4", frames)
    save_depth(tmp_path / "film.depth.npz", DepthVideo(depth, k, "truth"))
    settings = DatasetSettings(**{**SETTINGS.__dict__, "depth_estimator": "auto"})
    made = make(videos(tmp_path / "film.mp4"), tmp_path / "set", settings, processes=1)
    assert len(made.clips) == 2
    assert {made.about_clip(clip).depth for clip in made.clips} == {"truth"}
    (video,) = videos(tmp_path / "film.mp4")
    (first, _) = pieces(video.path, 9, 96, 0)
    source, _ = making._known(making._Item(video, tmp_path, settings, False, 1), first)
    # Columns 60 to 100 and rows 30 to 80 of the source, scaled by 138 / 160, minus 21 columns.
    board = np.argwhere(source.depth.depth[0] < 3)
    assert np.allclose(board.min(axis=0), (26, 31), atol=1)
    assert np.allclose(board.max(axis=0) + 1, (69, 65), atol=1)
    assert source.depth.intrinsics[0, 0, 0] == pytest.approx(150 * 138 / 160, rel=0.01)
    assert source.depth.intrinsics[0, :2, 2] == pytest.approx((48, 48), abs=0.6)


def test_other_settings_or_files_in_the_folder_are_refused(tmp_path):
    source = videos(folder_of(tmp_path / "films", 1, 9))
    make(source, tmp_path / "set", SETTINGS, processes=1)
    with pytest.raises(InputError, match="begun with other settings"):
        make(source, tmp_path / "set", DatasetSettings(**{**SETTINGS.__dict__, "masks": 4}), processes=1)
    with pytest.raises(InputError, match="holds something else than a dataset"):
        make(source, tmp_path / "films", SETTINGS, processes=1)
    with pytest.raises(InputError, match="There is no depth estimator 'magic'"):
        make(source, tmp_path / "new", DatasetSettings(**{**SETTINGS.__dict__, "depth_estimator": "magic"}))
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "films" / LOCK).exists()


def test_a_run_that_is_at_work_is_named_before_the_settings_of_its_dataset(tmp_path):
    source, out = videos(folder_of(tmp_path / "films", 1, 9)), tmp_path / "set"
    other = DatasetSettings(**{**SETTINGS.__dict__, "masks": 4})
    with reserved(out), pytest.raises(InputError, match=r"Another `ex4d train masks` is working in .*set: wait"):
        make(source, out, SETTINGS, processes=1)
    make(source, out, SETTINGS, processes=1)
    before = contents(out)
    with reserved(out), pytest.raises(InputError, match=r"Another `ex4d train masks` is working in .*set: wait"):
        make(source, out, other, processes=1)
    assert contents(out) == before


def test_where_no_video_gives_a_clip_the_reasons_are_told(tmp_path):
    source = videos(folder_of(tmp_path / "films", 2, 4))
    with pytest.raises(InputError, match=r"No clip could be made. 2 of 2 .*film_0.mp4, film_1.mp4: it has 4 frames"):
        make(source, tmp_path / "set", SETTINGS, processes=1)


def test_a_full_disk_stops_the_run_and_blames_no_video(tmp_path, monkeypatch):
    def full(*_):
        raise InputError("clips cannot be written because the disk is full: free some space.")

    monkeypatch.setattr(making, "write_clip", full)
    (video,) = videos(folder_of(tmp_path / "films", 1, 9))
    item = making._Item(video, tmp_path / "set", SETTINGS, False, 1)
    with pytest.raises(InputError, match="the disk is full"):
        making._of_video(item)


def dies_at_three(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == 100:
        raise InputError("the disk is full")
    return item * 2


def test_a_process_that_crashes_costs_its_own_item_alone():
    results = dict(in_processes(dies_at_three, range(8), 2))
    assert results == {0: 0, 1: 2, 2: 4, 3: None, 4: 8, 5: 10, 6: 12, 7: 14}
    with pytest.raises(InputError, match="the disk is full"):
        list(in_processes(dies_at_three, [1, 100, 2], 2))


def test_clips_that_were_deleted_or_damaged_since_are_made_again_with_the_same_bytes(tmp_path):
    found = videos(folder_of(tmp_path / "films", 3, 10))
    made = make(found, tmp_path / "set", SETTINGS, processes=1)
    before = contents(tmp_path / "set")
    folders = [tmp_path / "set" / "clips" / clip for clip in made.clips]
    shutil.rmtree(folders[0])
    (folders[1] / "masks.npz").write_bytes((folders[1] / "masks.npz").read_bytes()[:100])
    (record,) = (tmp_path / "set" / "videos").glob(f"{made.clips[2].split('-')[0]}*")
    record.write_text("{")
    make(found, tmp_path / "set", SETTINGS, processes=1)
    assert contents(tmp_path / "set") == before


def test_videos_that_cannot_be_read_for_one_reason_are_told_in_one_sentence(tmp_path):
    films = folder_of(tmp_path / "films", 1, 10)
    for name in ("a.mp4", "b.mp4"):
        (films / name).write_bytes(b"")
    made = make(videos(films), tmp_path / "set", SETTINGS, processes=1)
    assert left_out(made.about)[0] == "2 of 3 videos were left out."
    assert len(left_out(made.about)) == 2
    assert left_out(made.about)[1].startswith("a.mp4, b.mp4: it cannot be read as a video")


def test_a_part_that_shows_one_colour_gives_no_clip(tmp_path):
    frames = panned(0, 18)
    black = np.zeros_like(frames[:9])
    found = videos(written(tmp_path / "film.mp4", np.concatenate([black, frames[:9]])))
    found += videos(written(tmp_path / "black.mp4", np.concatenate([black, black])))
    made = make(found, tmp_path / "set", SETTINGS, processes=1)
    assert [made.about_clip(clip).start for clip in made.clips] == [9]
    assert made.about.videos[1].why == "its pictures show nothing but one colour"
