import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ex4d.errors import Cancelled, InputError
from ex4d.geometry import camera_path
from ex4d.geometry.depth_video import load_depth_npz
from ex4d.jobs import messages
from ex4d.jobs.client import blob_of
from ex4d.media.movie import read_movie, write_movie, write_png_frames
from ex4d.pipeline import shot, take
from ex4d.progress import silent


class Files:
    """Finds blobs by their hash, as the server's store does."""

    def __init__(self):
        self.by_hash = {}

    def __call__(self, blob):
        return self.by_hash[blob.sha256]

    def add(self, path):
        blob = blob_of(path)
        self.by_hash[blob.sha256] = path
        return blob


@pytest.fixture
def studio(tmp_path, moving_box):
    """Files of a clip as blobs, a source of them, a path, and an empty folder for results."""
    clip, depth = moving_box
    files = Files()
    write_movie(tmp_path / "clip.mp4", clip.frames, Fraction(24))
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics[0])
    source = messages.Source((files.add(tmp_path / "clip.mp4"),), (files.add(tmp_path / "clip.depth.npz"),), frames=9)
    radius = camera_path.pivot_distance(depth.depth[0])
    camera_path.save(tmp_path / "path.npz", camera_path.preset("30", radius, depth.intrinsics, 64, 48, 9))
    (tmp_path / "out").mkdir()
    return files, source, files.add(tmp_path / "path.npz"), tmp_path / "out"


def test_reconstruct_gives_what_the_viewport_shows(studio, moving_box):
    files, source, _, out = studio
    facts = shot.run(messages.Reconstruct(source), files, out, silent)
    assert {p.name for p in out.iterdir()} == {"source.mp4", "reliable.mp4", "depth.npz"}
    assert (facts["width"], facts["height"], facts["frames"], facts["fps"]) == (64, 48, 9, "24")
    assert facts["shell"] > facts["depth_max"] > facts["depth_min"] == 4
    assert json.loads(json.dumps(facts)) == facts
    depth = load_depth_npz(out / "depth.npz")
    assert np.array_equal(depth.depth, moving_box[1].depth)
    reliable = read_movie(out / "reliable.mp4").frames
    assert set(np.unique(reliable)) == {0, 255}
    assert (reliable[0, 16:32, 18:30] == 255).all()


def test_the_depth_that_stands_gives_the_same_again_and_tells_the_same(studio, tmp_path, monkeypatch):
    """Whatever models come or go meanwhile: what was opened is what is taken."""
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    files, source, _path, out = studio
    guessed = replace(source, depth=(), field_of_view=50.0)
    opened = shot.run(messages.Reconstruct(guessed), files, out, silent)
    assert "a guess" in " ".join(opened["notes"])
    standing = replace(guessed, depth=(files.add(out / "depth.npz"),), estimator="file", field_of_view=None)
    again = tmp_path / "again"
    again.mkdir()
    taken = shot.run(messages.Reconstruct(standing), files, again, silent)
    assert (taken["notes"], taken["depth"]) == (opened["notes"], opened["depth"])
    assert taken["focal_px"] == opened["focal_px"]
    one, two = load_depth_npz(out / "depth.npz"), load_depth_npz(again / "depth.npz")
    assert np.array_equal(one.depth, two.depth)
    assert np.array_equal(one.intrinsics, two.intrinsics)


def test_opening_looks_anew_for_depth_and_taking_does_not(studio, monkeypatch):
    files, source, path, out = studio
    seen, real = [], shot.registry.estimate
    monkeypatch.setattr(shot.registry, "estimate", lambda *args, **more: seen.append(1) or real(*args, **more))
    for number, job in enumerate([messages.Reconstruct(source)] * 2 + [messages.Preview(source, path)] * 2):
        (out / str(number)).mkdir()
        shot.run(job, files, out / str(number), silent)
    assert len(seen) == 2


def test_preview_gives_colour_mask_and_coverage_without_a_result(studio):
    files, source, path, out = studio
    facts = shot.run(messages.Preview(source, path), files, out, silent)
    assert {p.name for p in out.iterdir()} == {"colour.mp4", "mask.mp4"}
    assert facts["coverage"][0] == 1
    assert facts["coverage"][-1] < 0.9


def test_generate_gives_a_take_that_says_how_to_make_it_again(studio):
    files, source, path, out = studio
    job = messages.Generate(source, path, seed=5, fps="24000/1001")
    stages = []
    facts = shot.run(job, files, out, lambda stage, step, steps, picture=None: stages.append(stage))
    assert {p.name for p in out.iterdir()} == {
        "result.mp4",
        "colour.mp4",
        "mask.mp4",
        "camera.npz",
        "take.json",
        "generated.mp4",
    }
    record = take.read_record(out / "take.json")
    assert record.is_preview
    assert facts["is_preview"]
    assert record.job == messages.to_plain(job)
    assert record.seed == 5
    assert (record.width, record.height, record.frames, record.fps) == (64, 48, 9, "24000/1001")
    assert set(record.seconds) == set(stages)
    movie = read_movie(out / "result.mp4")
    assert movie.fps == Fraction(24000, 1001)
    assert movie.frames.shape == (9, 48, 64, 3)


def test_an_image_folder_comes_as_one_blob_a_picture(studio, moving_box, tmp_path):
    files, source, _, out = studio
    write_png_frames(tmp_path / "clip", moving_box[0].frames)
    pictures = tuple(files.add(p) for p in sorted((tmp_path / "clip").iterdir()))
    folder_source = messages.Source(pictures, source.depth, frames=9, fps="12")
    facts = shot.run(messages.Reconstruct(folder_source), files, out, silent)
    assert facts["fps"] == "12"
    assert facts["frames"] == 9


def test_the_second_job_on_a_shot_does_not_read_it_again(studio):
    files, source, path, out = studio
    shot.run(messages.Preview(source, path), files, out, silent)
    stages = []
    shot.run(messages.Preview(source, path), files, out, lambda stage, step, steps, picture=None: stages.append(stage))
    assert stages
    assert not any("clip" in stage for stage in stages)


def test_cancel_stops_between_two_steps(studio):
    files, source, path, out = studio

    def stop(stage, step, steps, picture=None):
        if "Filling" in stage and step == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        shot.run(messages.Generate(source, path), files, out, stop)
    assert not (out / take.RESULT).exists()


def test_a_path_for_another_number_of_frames_is_refused(studio):
    files, source, path, out = studio
    short = messages.Source(source.clip, source.depth, frames=5)
    with pytest.raises(InputError, match="9 poses but the clip has 5"):
        shot.run(messages.Preview(short, path), files, out, silent)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 99, "version": "9.9"}'])
def test_a_sidecar_that_cannot_be_read_is_refused(text, tmp_path):
    (tmp_path / "take.json").write_text(text)
    with pytest.raises(InputError, match=r"take\.json"):
        take.read_record(tmp_path / "take.json")


def test_an_error_names_the_users_own_file_and_not_where_it_lies_for_the_moment(studio, tmp_path):
    files, source, _, out = studio
    (tmp_path / "My Clip.mp4").write_text("no video")
    broken = messages.Source((files.add(tmp_path / "My Clip.mp4"),), source.depth, frames=9)
    with pytest.raises(InputError, match=r"^My Clip\.mp4 cannot be read as a video"):
        shot.run(messages.Reconstruct(broken), files, out, silent)


def test_the_pictures_of_a_folder_keep_their_names_in_errors(studio, moving_box, tmp_path):
    files, source, _, out = studio
    write_png_frames(tmp_path / "shots", moving_box[0].frames)
    (tmp_path / "shots" / "frame_00004.png").write_text("no picture")
    pictures = tuple(files.add(p) for p in sorted((tmp_path / "shots").iterdir()))
    with pytest.raises(InputError, match=r"frame_00004\.png cannot be read") as caught:
        shot.run(messages.Reconstruct(messages.Source(pictures, source.depth, frames=9, fps="12")), files, out, silent)
    assert str(tmp_path) not in str(caught.value)


def test_a_job_that_wants_the_model_is_refused_before_anything_is_read(studio):
    files, source, path, out = studio
    told = []
    with pytest.raises(InputError, match=r"The EX-4D model needs|Files of the EX-4D model are missing"):
        shot.run(messages.Generate(source, path, generator="wan"), files, out, lambda *step: told.append(step))
    assert not told
    assert not list(out.iterdir())


def test_without_the_sources_pixels_the_other_video_has_them(studio):
    files, source, path, out = studio
    for keep in (True, False):
        folder = out / str(keep)
        folder.mkdir()
        facts = shot.run(messages.Generate(source, path, keep_source=keep), files, folder, silent)
        assert any("preview" in note for note in facts["notes"])
        assert any("EX-4D model" in note for note in facts["notes"])
    kept, raw = ((read_movie(out / f"{keep}" / "result.mp4").frames) for keep in (True, False))
    assert np.array_equal(kept, read_movie(out / "False" / "composited.mp4").frames)
    assert np.array_equal(raw, read_movie(out / "True" / "generated.mp4").frames)
    assert not np.array_equal(kept, raw)
    assert take.read_record(out / "False" / "take.json").settings["keep_source"] is False
