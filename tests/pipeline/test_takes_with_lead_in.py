"""Takes with a lead-in: the generator makes it, and nothing except the shot is left of anything."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_run import studio, work  # noqa: F401 - fixtures

import ex4d
from ex4d.errors import InputError
from ex4d.geometry import camera_path, presets
from ex4d.media.movie import read_movie
from ex4d.pipeline import take
from ex4d.pipeline.again import again
from ex4d.pipeline.requests import Fill, Generate, Preview
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, RenderSettings
from ex4d.progress import silent

ON = GenerateSettings("counting", lead_in=True)
OFF = GenerateSettings("counting")


@pytest.fixture(autouse=True)
def _counting(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "plugins"))
    importlib.invalidate_caches()


@pytest.fixture
def far_path(studio, moving_box, tmp_path):  # noqa: F811
    """A path that begins 30 degrees away and ends at the source view."""
    radius = presets.pivot_distance(moving_box[1].depth[0])
    path = presets.preset("arc", radius, moving_box[1].intrinsics, 64, 48, 9, 30.0)
    path = replace(path, camera_to_world=path.camera_to_world[::-1].copy())
    camera_path.save(tmp_path / "far.npz", path)
    return studio[0].add(tmp_path / "far.npz")


def test_the_generator_makes_it_and_the_take_has_the_shots_length(work, studio, far_path, tmp_path):  # noqa: F811
    files, source, _, out = studio
    facts = work(Generate(source, far_path, generation=ON), files, out)
    record = take.read_record(out / take.SIDECAR)
    lead_in = record.settings["lead_in_frames"]
    assert lead_in == 12
    assert record.settings["given"] == record.settings["cameras"] == lead_in + 9
    assert record.settings["first_is_whole"] is True
    assert (record.frames, facts["frames"], len(facts["coverage"]), len(record.coverage)) == (9, 9, 9, 9)
    for name in (take.RESULT, take.GENERATED, take.COLOUR, take.MASK):
        assert len(read_movie(out / name).frames) == 9, name
    assert len(camera_path.load(out / take.CAMERA, 9, 64, 48)) == 9
    # The frames that are left are the last ones given to the generator, as their holes show.
    holes = read_movie(out / take.MASK).frames[..., 0] == 0
    made = read_movie(out / take.GENERATED).frames
    for number in (0, 4):
        assert np.median(made[number][holes[number]]) == pytest.approx(4 * (lead_in + number), abs=2)
    assert any(f"a lead-in of {lead_in} frames from there was generated" in note for note in facts["notes"])
    assert not any("or turn on Lead-In" in note for note in facts["notes"])


def test_colour_and_mask_are_those_of_a_take_without_to_the_byte_of_the_mask(work, studio, far_path, tmp_path):  # noqa: F811
    files, source, _, out = studio
    work(Generate(source, far_path, generation=ON), files, out)
    facts = work(Generate(source, far_path, generation=OFF), files, tmp_path / "off")
    for name in (take.COLOUR, take.MASK):
        assert np.array_equal(read_movie(out / name).frames, read_movie(tmp_path / "off" / name).frames), name
    assert (out / take.CAMERA).read_bytes() == (tmp_path / "off" / take.CAMERA).read_bytes()
    assert any("start the path there, or turn on Lead-In" in note for note in facts["notes"])
    assert "lead_in_frames" not in take.read_record(tmp_path / "off" / take.SIDECAR).settings


@pytest.mark.parametrize("persistence", ["off", "fill"])
def test_a_preview_of_the_shot_is_the_same_with_and_without(work, studio, far_path, tmp_path, persistence):  # noqa: F811
    """Nothing in it depends on the frames before."""
    files, source, _, out = studio
    job = Generate(source, far_path, render=RenderSettings(persistence=persistence))
    job = replace(job, generation=GenerateSettings("preview"))
    work(replace(job, generation=GenerateSettings("preview", lead_in=True)), files, out)
    work(job, files, tmp_path / "off")
    for name in (take.RESULT, take.GENERATED):
        assert np.array_equal(read_movie(out / name).frames, read_movie(tmp_path / "off" / name).frames), name
    assert take.read_record(out / take.SIDECAR).settings["lead_in_frames"] == 12


def test_a_path_that_begins_at_the_source_view_gets_none_and_nothing_is_said(work, studio, tmp_path):  # noqa: F811
    files, source, path, out = studio
    with_it = work(Generate(source, path, generation=ON), files, out)
    without = work(Generate(source, path, generation=OFF), files, tmp_path / "off")
    assert with_it["notes"] == without["notes"]
    assert take.read_record(out / take.SIDECAR).settings == take.read_record(tmp_path / "off" / take.SIDECAR).settings
    for name in (take.RESULT, take.GENERATED, take.COLOUR, take.MASK, take.CAMERA):
        assert (out / name).read_bytes() == (tmp_path / "off" / name).read_bytes(), name


def test_in_another_size_it_is_made_in_that_size(work, studio, far_path):  # noqa: F811
    files, source, _, out = studio
    work(Generate(source, far_path, generation=replace(ON, width=96, height=48)), files, out)
    record = take.read_record(out / take.SIDECAR)
    assert (record.settings["given"], record.frames, record.width, record.height) == (21, 9, 96, 48)
    assert read_movie(out / take.RESULT).frames.shape == (9, 48, 96, 3)


def test_made_again_the_take_has_the_same_bytes(work, studio, far_path, tmp_path):  # noqa: F811
    files, source, _, out = studio
    work(Generate(source, far_path, generation=replace(ON, seed=3)), files, out)
    record = take.read_record(out / take.SIDECAR)
    places = {blob.sha256: files(blob) for blob in (*source.clip, *source.depth)}
    take.write_record(out / take.SIDECAR, take.with_inputs(record, out, places))
    for name in ("again", "links"):
        (tmp_path / name).mkdir()
    again(out, tmp_path / "again", tmp_path / "links", Runtime(), silent)
    for name in (take.RESULT, take.GENERATED, take.COLOUR, take.MASK, take.CAMERA):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert take.read_record(tmp_path / "again" / take.SIDECAR).settings == record.settings


def test_a_record_of_before_has_none(work, studio):  # noqa: F811
    files, source, path, out = studio
    work(Generate(source, path, generation=OFF), files, out)
    record = json.loads((out / take.SIDECAR).read_text())
    del record["job"]["generation"]["lead_in"]
    (out / take.SIDECAR).write_text(json.dumps(record))
    assert take.read_record(out / take.SIDECAR).job.generation.lead_in is False


def test_where_there_can_be_none_the_sentence_says_why(work, studio, far_path, tmp_path):  # noqa: F811
    files, source, path, out = studio
    with pytest.raises(InputError, match="The EX-4D release makes no lead-in"):
        work(Generate(source, far_path, render=RenderSettings(release_compat=True), generation=ON), files, out)
    work(Preview(source, path), files, out)
    job = Fill((files.add(out / take.COLOUR),), (files.add(out / take.MASK),), generation=ON)
    with pytest.raises(InputError, match="A lead-in is rendered from the clip"):
        work(job, files, tmp_path / "filled")


def test_the_library_takes_it_too(studio, moving_box, tmp_path):  # noqa: F811
    shot = ex4d.open_clip(tmp_path / "clip.mp4", camera_motion="still")
    radius = presets.pivot_distance(moving_box[1].depth[0])
    path = presets.preset("arc", radius, moving_box[1].intrinsics, 64, 48, 9, 30.0)
    view = ex4d.render_path(shot, replace(path, camera_to_world=path.camera_to_world[::-1].copy()))
    made = ex4d.generate_video(view, "counting", lead_in=True)
    assert made.frames.shape == (9, 48, 64, 3)
    assert (made.settings["given"], made.settings["lead_in_frames"]) == (21, 12)
    assert ex4d.generate_video(view, "counting").settings["given"] == 9
