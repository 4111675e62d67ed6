"""Jobs from input files to result files, as the command line, the worker and the library run them."""

import json
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d.depth import registry
from ex4d.errors import Cancelled, InputError
from ex4d.generate.base import Generated, Spec
from ex4d.generate.registry import generators
from ex4d.geometry import camera_path, presets
from ex4d.geometry.depth_video import load_depth_npz
from ex4d.geometry.packed_depth import relative_error
from ex4d.media.movie import read_movie, write_movie, write_png_frames
from ex4d.pipeline import take
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Fill, Generate, Preview, Reconstruct, Source
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.progress import silent
from ex4d.render import legend
from ex4d.schema import Settings, setting


class Files:
    """Finds blobs by their hash, like the server's store."""

    def __init__(self):
        self.by_hash = {}

    def __call__(self, blob):
        return self.by_hash[blob.sha256]

    def add(self, path):
        blob = blob_of(path)
        self.by_hash[blob.sha256] = path
        return blob


class Worker:
    """Runs jobs like a worker: one runtime, and an empty working directory for the files of each job."""

    def __init__(self, folder, monkeypatch):
        self.runtime, self.folder, self.monkeypatch, self.count = Runtime(), folder, monkeypatch, 0

    def __call__(self, job, files, out, progress=silent):
        self.count += 1
        inputs = self.folder / f"in{self.count}"
        inputs.mkdir()
        out.mkdir(exist_ok=True)
        self.monkeypatch.chdir(inputs)
        return run(job, gather(job, files, type(inputs)()), out, self.runtime, progress)


@pytest.fixture
def work(tmp_path, monkeypatch):
    return Worker(tmp_path, monkeypatch)


@pytest.fixture
def studio(tmp_path, moving_box):
    """Files of a clip as blobs, a source of them, a path, and an empty folder for results."""
    clip, depth = moving_box
    files = Files()
    write_movie(tmp_path / "clip.mp4", clip.frames, Fraction(24))
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics[0])
    source = Source((files.add(tmp_path / "clip.mp4"),), (files.add(tmp_path / "clip.depth.npz"),))
    radius = presets.pivot_distance(depth.depth[0])
    camera_path.save(tmp_path / "path.npz", presets.preset("30", radius, depth.intrinsics, 64, 48, 9))
    (tmp_path / "out").mkdir()
    return files, source, files.add(tmp_path / "path.npz"), tmp_path / "out"


def test_reconstruct_gives_what_the_viewport_shows(work, studio, moving_box):
    files, source, _, out = studio
    facts = work(Reconstruct(source), files, out)
    assert {p.name for p in out.iterdir()} == {"source.mp4", "reliable.mp4", "depth.npz"}
    assert (facts["width"], facts["height"], facts["frames"], facts["fps"]) == (64, 48, 9, "24")
    assert facts["shell"] > facts["depth_max"] > facts["depth_min"] == 4
    assert json.loads(json.dumps(facts)) == facts
    depth = load_depth_npz(out / "depth.npz")
    assert depth.depth == pytest.approx(moving_box[1].depth, rel=relative_error())
    reliable = read_movie(out / "reliable.mp4").frames
    assert set(np.unique(reliable)) == {0, 255}
    assert (reliable[0, 16:32, 18:30] == 255).all()


def test_the_depth_of_a_shot_is_packed_and_takes_of_it_see_what_the_given_depth_sees(work, tmp_path):
    """The sample's depth is scaled, because only then does packing change it by its full error."""
    files, sample = Files(), Path(__file__).parents[2] / "sample"
    with np.load(sample / "clip.depth.npz") as stored:
        arrays = dict(stored)
    exact = arrays["depth"][:3].astype(np.float32) * np.float32(np.pi)
    np.savez(tmp_path / "clip.depth.npz", **(arrays | {"depth": exact}))
    clip, depth = files.add(sample / "clip.mp4"), files.add(tmp_path / "clip.depth.npz")
    source = Source((clip,), (depth,), settings=SourceSettings(frames=3))
    opened, seen = tmp_path / "opened", []
    work(Reconstruct(source), files, opened)
    packed = load_depth_npz(opened / "depth.npz")
    error = np.abs(packed.depth / exact.astype(np.float64) - 1).max()
    assert 0.5 * relative_error() < error <= relative_error() < 1e-4
    assert (opened / "depth.npz").stat().st_size < exact.nbytes / 3
    radius = presets.pivot_distance(exact[0])
    path = presets.preset("60", radius, packed.intrinsics, 512, 288, 3)
    camera_path.save(tmp_path / "path.npz", path)
    for number, given in enumerate((depth, files.add(opened / "depth.npz"))):
        out = tmp_path / f"view{number}"
        work(Preview(replace(source, depth=(given,)), files.add(tmp_path / "path.npz")), files, out)
        seen.append([read_movie(out / name).frames.astype(int) for name in ("mask.mp4", "colour.mp4")])
    (masks, colours), (ours, ours_too) = seen
    assert (masks == ours).mean() > 0.9995
    assert np.abs(colours - ours_too)[masks == ours].mean() < 0.5


def test_the_depth_that_stands_gives_the_same_again_and_tells_the_same(work, studio, tmp_path, monkeypatch):
    """Whatever models come or go meanwhile, takes are made from what was opened."""
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    files, source, _path, out = studio
    guessed = replace(source, depth=(), settings=SourceSettings(field_of_view=50.0))
    opened = work(Reconstruct(guessed), files, out)
    assert "a guess" in " ".join(opened["notes"])
    standing = replace(guessed, depth=(files.add(out / "depth.npz"),), settings=SourceSettings(estimator="file"))
    again = tmp_path / "again"
    again.mkdir()
    taken = work(Reconstruct(standing), files, again)
    assert opened["notes"][0].startswith("Nothing better than")  # it is about today, and not about the depth
    assert (taken["notes"], taken["depth"]) == (opened["notes"][1:], opened["depth"])
    assert taken["focal_px"] == opened["focal_px"]
    one, two = load_depth_npz(out / "depth.npz"), load_depth_npz(again / "depth.npz")
    assert np.array_equal(one.depth, two.depth)
    assert np.array_equal(one.intrinsics, two.intrinsics)


def test_opening_looks_anew_for_depth_and_taking_does_not(work, studio, monkeypatch):
    files, source, path, out = studio
    seen, real = [], registry.estimate
    monkeypatch.setattr(registry, "estimate", lambda *args, **more: seen.append(1) or real(*args, **more))
    for number, job in enumerate([Reconstruct(source)] * 2 + [Preview(source, path)] * 2):
        (out / str(number)).mkdir()
        work(job, files, out / str(number))
    assert len(seen) == 2


def test_preview_gives_colour_mask_and_coverage_without_a_result(work, studio):
    files, source, path, out = studio
    facts = work(Preview(source, path), files, out)
    assert {p.name for p in out.iterdir()} == {"colour.mp4", "mask.mp4", "view.mp4", "thumbnail.jpg"}
    assert facts["coverage"][0] == 1
    assert facts["coverage"][-1] < 0.9
    colour, mask, view = (read_movie(out / name).frames.astype(int) for name in ("colour.mp4", "mask.mp4", "view.mp4"))
    real = mask[..., 0] > 127
    assert colour[~real].mean() < 20
    plain = ~real & ~legend.stripes(*real.shape[1:])
    assert np.median(np.abs(view - legend.INVENTED)[plain]) < 20
    assert view[~real & ~plain].mean() < view[plain].mean() - 40
    assert np.median(np.abs(view - colour)[real]) < 6


def test_generate_gives_a_take_that_says_how_to_make_it_again(work, studio):
    files, source, path, out = studio
    job = Generate(source, path, generation=GenerateSettings(seed=5, fps="24000/1001"))
    stages = []
    facts = work(job, files, out, lambda stage, step, steps, picture=None: stages.append(stage))
    assert {p.name for p in out.iterdir()} == {
        "result.mp4",
        "colour.mp4",
        "mask.mp4",
        "camera.npz",
        "take.json",
        "generated.mp4",
        "thumbnail.jpg",
    }
    record = take.read_record(out / "take.json")
    assert record.is_preview
    assert facts["is_preview"]
    assert record.job == job
    assert record.seed == 5
    assert (record.width, record.height, record.frames, record.fps) == (64, 48, 9, "24000/1001")
    assert set(record.seconds) == set(stages)
    movie = read_movie(out / "result.mp4")
    assert movie.fps == Fraction(24000, 1001)
    assert movie.frames.shape == (9, 48, 64, 3)


def test_an_image_folder_comes_as_one_blob_a_picture(work, studio, moving_box, tmp_path):
    files, source, _, out = studio
    write_png_frames(tmp_path / "clip", moving_box[0].frames)
    pictures = tuple(files.add(p) for p in sorted((tmp_path / "clip").iterdir()))
    folder_source = Source(pictures, source.depth, settings=SourceSettings(fps="12"), folder="clip")
    facts = work(Reconstruct(folder_source), files, out)
    assert facts["fps"] == "12"
    assert facts["frames"] == 9


def test_the_second_job_on_a_shot_does_not_read_it_again(work, studio):
    files, source, path, out = studio
    work(Preview(source, path), files, out)
    stages = []
    work(Preview(source, path), files, out, lambda stage, step, steps, picture=None: stages.append(stage))
    assert stages
    assert not any("clip" in stage for stage in stages)


def test_cancel_stops_between_two_steps(work, studio):
    files, source, path, out = studio

    def stop(stage, step, steps, picture=None):
        if "Filling" in stage and step == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        work(Generate(source, path), files, out, stop)
    assert not (out / take.RESULT).exists()


def test_colour_and_mask_are_written_while_the_generator_runs(work, studio, monkeypatch):
    files, source, path, out = studio

    class Slow:
        def generate(self, request, progress):
            end = time.monotonic() + 20
            while not all((out / name).exists() for name in (take.COLOUR, take.MASK)):
                assert time.monotonic() < end
                time.sleep(0.01)
            return Generated(request.conditioning.colour, {})

    monkeypatch.setattr(work.runtime, "generator", lambda spec: Slow())
    work(Generate(source, path), files, out)
    assert read_movie(out / take.RESULT).frames.shape == (9, 48, 64, 3)
    assert "Writing files" in take.read_record(out / take.SIDECAR).seconds


def test_a_path_with_fewer_poses_than_frames_is_refused_with_both_numbers(work, studio, tmp_path):
    files, source, _path, out = studio
    short = camera_path.load(tmp_path / "path.npz", 9, 64, 48)
    camera_path.save(
        tmp_path / "short.npz",
        replace(short, camera_to_world=short.camera_to_world[:7], intrinsics=short.intrinsics[:7]),
    )
    with pytest.raises(InputError, match=r"7 poses but the clip has 9 frames.*use 7 frames"):
        work(Preview(source, files.add(tmp_path / "short.npz")), files, out)


def test_a_path_for_the_whole_clip_is_taken_for_the_frames_that_are_used(work, studio, tmp_path):
    files, source, path, out = studio
    used = replace(source, settings=SourceSettings(start=3, frames=5))
    facts = work(Generate(used, path), files, out)
    kept, whole = camera_path.load(out / take.CAMERA, 5, 64, 48), camera_path.load(tmp_path / "path.npz", 9, 64, 48)
    assert np.array_equal(kept.camera_to_world, whole.camera_to_world[3:8])
    assert any(
        "9 poses, one for each frame of the whole clip; those of the 5 frames" in note for note in facts["notes"]
    )


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 99, "version": "9.9"}'])
def test_a_sidecar_that_cannot_be_read_is_refused(text, tmp_path):
    (tmp_path / "take.json").write_text(text)
    with pytest.raises(InputError, match=r"take\.json"):
        take.read_record(tmp_path / "take.json")


def test_an_error_names_the_users_own_file_and_not_where_it_lies_for_the_moment(work, studio, tmp_path):
    files, source, _, out = studio
    (tmp_path / "My Clip.mp4").write_text("no video")
    broken = Source((files.add(tmp_path / "My Clip.mp4"),), source.depth)
    with pytest.raises(InputError, match=r"^My Clip\.mp4 cannot be read as a video"):
        work(Reconstruct(broken), files, out)


def test_the_pictures_of_a_folder_keep_their_names_in_errors(work, studio, moving_box, tmp_path):
    files, source, _, out = studio
    write_png_frames(tmp_path / "shots", moving_box[0].frames)
    (tmp_path / "shots" / "frame_00004.png").write_text("no picture")
    pictures = tuple(files.add(p) for p in sorted((tmp_path / "shots").iterdir()))
    with pytest.raises(InputError, match=r"shots/frame_00004\.png cannot be read") as caught:
        work(Reconstruct(Source(pictures, source.depth, settings=SourceSettings(fps="12"), folder="shots")), files, out)
    assert str(tmp_path) not in str(caught.value)


def test_a_job_that_cannot_be_done_is_refused_before_anything_is_read(work, studio):
    files, source, path, out = studio
    told, preview = [], next(name for name, spec in generators().items() if spec.is_preview)
    for generation, said in [
        (GenerateSettings("telepathy"), "There is no generator 'telepathy' here: choose one of auto, .*preview"),
        (GenerateSettings(options={preview: {"magic": 1}}), "There is no setting 'magic'"),
    ]:
        with pytest.raises(InputError, match=said):
            work(Generate(source, path, generation=generation), files, out, lambda *step: told.append(step))
    with pytest.raises(InputError, match="leave Stereo out"):
        work(Generate(source, path, render=RenderSettings(stereo=0.1)), files, out, lambda *step: told.append(step))
    assert not told
    assert not list(out.iterdir())


def test_a_preset_gives_what_its_path_gives(work, studio, tmp_path):
    files, source, path, out = studio
    work(Generate(source, path), files, out)
    work(Generate(source, preset=PathSettings(cam="30")), files, tmp_path / "preset")
    assert (out / take.RESULT).read_bytes() == (tmp_path / "preset" / take.RESULT).read_bytes()
    assert (out / take.CAMERA).read_bytes() == (tmp_path / "preset" / take.CAMERA).read_bytes()


def test_colour_and_mask_that_were_rendered_before_become_a_take(work, studio, tmp_path):
    files, source, path, out = studio
    work(Preview(source, path), files, out)
    job = Fill((files.add(out / take.COLOUR),), (files.add(out / take.MASK),))
    facts = work(job, files, tmp_path / "filled")
    record = take.read_record(tmp_path / "filled" / take.SIDECAR)
    assert record.job == job
    assert facts["angle"] == [None] * 9
    assert not (tmp_path / "filled" / take.CAMERA).exists()
    assert read_movie(tmp_path / "filled" / take.RESULT).frames.shape == (9, 48, 64, 3)


def test_without_the_sources_pixels_the_other_video_has_them(work, studio):
    files, source, path, out = studio
    for keep in (True, False):
        folder = out / str(keep)
        folder.mkdir()
        facts = work(Generate(source, path, generation=GenerateSettings(keep_source=keep)), files, folder)
        assert any("preview" in note for note in facts["notes"])
        assert any("would be better" in note for note in facts["notes"])
    kept, raw = ((read_movie(out / f"{keep}" / "result.mp4").frames) for keep in (True, False))
    assert np.array_equal(kept, read_movie(out / "False" / "composited.mp4").frames)
    assert np.array_equal(raw, read_movie(out / "True" / "generated.mp4").frames)
    assert not np.array_equal(kept, raw)
    assert take.read_record(out / "False" / "take.json").settings["keep_source"] is False


def test_the_record_has_every_setting_of_the_generator_also_those_that_nobody_changed(work, studio, monkeypatch):
    @dataclass(frozen=True)
    class Brush(Settings):
        prompt: str = setting("a sunny day", "Prompt", "What it should look like")
        steps: int | None = setting(None, "Steps", "How many", minimum=1)
        radius: int = setting(5, "Radius", "How wide", minimum=1)

    class Painter:
        def generate(self, request, progress):
            return Generated(request.conditioning.colour.copy(), {"steps": 7}, ())

        def unload(self):
            pass

    painter = Spec("painter", "Painter", "Paints", Brush, lambda device: Painter(), lambda deep: "")
    known = {**generators(), "painter": painter}
    monkeypatch.setattr("ex4d.pipeline.generate.generators", lambda: known)
    files, source, path, out = studio
    asked = GenerateSettings(generator="painter", options={"painter": {"radius": 2}})
    facts = work(Generate(source, path, generation=asked), files, out)
    recorded = take.read_record(out / "take.json").settings
    assert {name: recorded[name] for name in ("prompt", "steps", "radius")} == {
        "prompt": "a sunny day",
        "steps": 7,
        "radius": 2,
    }
    assert "prompt" not in facts["settings"], "a long text has no place in an event"
