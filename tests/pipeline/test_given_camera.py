"""Shots whose camera comes from a file, such as a matchmove: what the clip itself adds to that."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from ex4d.depth.lens import GIVEN
from ex4d.geometry.depth_video import save_depth
from ex4d.media.movie import read_movie, write_movie
from ex4d.pipeline import open as opening
from ex4d.pipeline import take
from ex4d.pipeline.again import again
from ex4d.pipeline.named import NamedFiles
from ex4d.pipeline.open import SourceFiles, gather, open_shot
from ex4d.pipeline.requests import Reconstruct
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.progress import silent
from ex4d.source_camera.found import OF_CAMERA_FILE
from ex4d.synthetic import depth_errors, scenes

FRAMES, SIZE = 17, (320, 176)


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    """A folder with a clip, depth as a model would estimate it, and its camera in inches; and the truth."""
    folder, made = tmp_path_factory.mktemp("flight"), scenes.make("drone", FRAMES, *SIZE)
    write_movie(folder / "clip.mp4", made.clip.frames, made.clip.fps)
    wrong = depth_errors.wrong(made.depth.depth, depth_errors.usual(0), 0)
    save_depth(folder / "clip.depth.npz", replace(made.depth, depth=wrong))
    np.savez(folder / "no_lens.npz", depth=wrong)
    poses = made.source.cameras.camera_to_world.copy()
    np.savez(folder / "metres.npz", camera_to_world=poses)
    poses[:, :3, 3] *= 39.37
    lens = {"intrinsics": made.depth.intrinsics, "width": SIZE[0], "height": SIZE[1]}
    np.savez(folder / "inches.npz", camera_to_world=poses)
    np.savez(folder / "with_lens.npz", camera_to_world=poses, **lens)
    return folder, made


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EX4D_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def opened(folder, camera="inches.npz", depth="clip.depth.npz", **settings):
    files = SourceFiles(folder / "clip.mp4", folder / depth, folder / camera)
    return open_shot(files, SourceSettings(frames=None, depth_edges="off", **settings))


def unit(depth, made):
    """Units of a depth per metre."""
    return float(np.median(depth / made.source.depth))


def test_its_unit_is_found_without_points_in_the_file(flight):
    folder, made = flight
    shot = opened(folder)
    true = made.source.cameras.camera_to_world
    way = np.linalg.norm(shot.source_to_world[-1, :3, 3] - shot.source_to_world[0, :3, 3])
    wanted = np.linalg.norm(true[-1, :3, 3] - true[0, :3, 3]) * unit(shot.depth.depth, made)
    assert way == pytest.approx(wanted, rel=0.03)
    assert any("points that were followed through the clip" in note for note in shot.notes)
    assert any("The camera given fits the clip" in note for note in shot.about_camera)


def test_a_unit_that_is_right_is_not_touched_and_neither_is_true_depth(flight, tmp_path):
    folder, made = flight
    save_depth(tmp_path / "true.npz", made.depth)
    shot = open_shot(
        SourceFiles(folder / "clip.mp4", tmp_path / "true.npz", folder / "metres.npz"),
        SourceSettings(frames=None, depth_edges="off"),
    )
    np.testing.assert_array_equal(shot.depth.depth, made.depth.depth)
    true = made.source.cameras.camera_to_world
    np.testing.assert_allclose(shot.source_to_world, np.linalg.inv(true[0]) @ true, atol=1e-12)


def test_a_scale_that_is_asked_for_wins(flight):
    shot = opened(flight[0], camera_scale=2.0)
    assert any("scaled by 2, as requested" in note for note in shot.notes)
    assert shot.moving is not None


def test_its_depth_is_put_right_and_the_notes_say_so(flight):
    folder, made = flight

    def off(depth):
        error = np.log(depth / made.source.depth)
        return np.median(np.abs(error - np.median(error)))

    before, after = opened(folder, steady_depth=False), opened(folder)
    assert off(after.depth.depth) < 0.5 * off(before.depth.depth)
    assert any("The depth was bent or drifted by" in note for note in after.notes)
    assert not any("bent" in note for note in before.notes)


def test_with_from_file_the_camera_is_used_as_it_is_and_nothing_else_happens(flight):
    shot = opened(flight[0], camera_motion="file")
    assert shot.moving is None
    assert shot.about_camera == ()
    assert shot.source_to_world[-1, :3, 3] == pytest.approx(
        np.load(flight[0] / "inches.npz")["camera_to_world"][-1, :3, 3]
    )
    assert not any("bent" in note or "scaled" in note for note in shot.notes)


def test_the_lens_of_the_file_is_used_if_the_depth_has_none(flight):
    folder, made = flight
    shot = opened(folder, "with_lens.npz", "no_lens.npz")
    np.testing.assert_allclose(shot.depth.intrinsics, made.depth.intrinsics)
    assert any(OF_CAMERA_FILE in note for note in shot.notes)
    assert not any("54 degrees" in note for note in shot.notes)
    asked = opened(folder, "with_lens.npz", "no_lens.npz", field_of_view=60.0)
    assert asked.depth.intrinsics[0, 0, 0] == pytest.approx(SIZE[0] / 2 / np.tan(np.radians(30)))
    assert asked.about_camera == (opening.NOT_COMPARED,)
    assert (asked.moving, asked.steadied) == (None, False)
    assert any("The source camera's file has a lens of" in note for note in asked.notes)


def test_the_lens_of_the_file_comes_before_one_that_is_estimated_or_assumed_and_follows_its_zoom(flight, tmp_path):
    folder, made = flight
    lens = made.depth.intrinsics * np.linspace(1, 1.2, FRAMES)[:, None, None]
    lens[:, :2, 2], lens[:, 2, 2] = made.depth.intrinsics[:, :2, 2], 1
    poses = made.source.cameras.camera_to_world
    np.savez(tmp_path / "zoom.npz", camera_to_world=poses, intrinsics=lens, width=SIZE[0], height=SIZE[1])
    shutil.copyfile(folder / "clip.mp4", tmp_path / "clip.mp4")
    files = SourceFiles(tmp_path / "clip.mp4", camera=tmp_path / "zoom.npz")
    shot = open_shot(files, SourceSettings(frames=None, estimator="plane"), look_beside=True)
    np.testing.assert_allclose(shot.depth.intrinsics, lens)
    (note,) = [note for note in shot.notes if OF_CAMERA_FILE in note]
    assert "It zooms to" in note
    assert not any(note.startswith(GIVEN) for note in shot.notes)
    as_it_is = open_shot(files, SourceSettings(frames=None, estimator="plane", camera_motion="file"), look_beside=True)
    assert any("54 degrees" in note for note in as_it_is.notes), "as in records of earlier versions"


def test_a_camera_of_something_else_changes_nothing_but_is_told(flight, tmp_path):
    folder, made = flight
    poses = made.source.cameras.camera_to_world[::-1]
    np.savez(tmp_path / "other.npz", camera_to_world=poses)
    files = SourceFiles(folder / "clip.mp4", folder / "clip.depth.npz", tmp_path / "other.npz")
    shot, bare = (
        open_shot(files, SourceSettings(frames=None, depth_edges="off", camera_motion=motion))
        for motion in ("auto", "file")
    )
    np.testing.assert_array_equal(shot.depth.depth, bare.depth.depth)
    np.testing.assert_array_equal(shot.source_to_world, bare.source_to_world)
    assert shot.moving is None
    assert "does not fit the clip" in shot.about_camera[0]


def test_points_of_the_file_come_before_those_of_the_clip(flight, tmp_path):
    folder, made = flight
    poses, depth = made.source.cameras.camera_to_world, made.source.depth
    row, column = np.mgrid[8 : SIZE[1] : 16, 8 : SIZE[0] : 16].reshape(2, -1)
    rays = np.stack([column + 0.5, row + 0.5, np.ones(len(row))], axis=1) @ np.linalg.inv(made.depth.intrinsics[0]).T
    points = rays * depth[0][row, column][:, None]
    points = points @ poses[0, :3, :3].T + poses[0, :3, 3]
    np.savez(tmp_path / "solve.npz", camera_to_world=poses, points=points)
    files = SourceFiles(folder / "clip.mp4", folder / "clip.depth.npz", tmp_path / "solve.npz")
    shot = open_shot(files, SourceSettings(frames=None, depth_edges="off"))
    assert any(f"using {len(points)} of its points" in note for note in shot.notes)
    assert len(shot.points) == len(points)


def test_other_frames_fill_its_takes_and_a_take_is_remade_to_the_byte(flight, tmp_path):
    folder, _ = flight
    named, one, two, work = NamedFiles(), tmp_path / "one", tmp_path / "two", tmp_path / "work"
    for each in (one, two, work):
        each.mkdir()
    files = SourceFiles(folder / "clip.mp4", camera=folder / "inches.npz")
    settings = SourceSettings(frames=13)
    job = named.generate(
        files, None, settings, PathSettings(cam="30"), RenderSettings(), GenerateSettings(generator="preview")
    )
    run(job, gather(job, named.locate, tmp_path, in_place=True), one, Runtime(), silent)
    record = take.read_record(one / take.SIDECAR)
    take.write_record(one / take.SIDECAR, take.with_inputs(record, one, named.places))
    assert max(record.borrowed) > 0.005, "other frames filled something"
    again(one, two, work, Runtime(), silent)
    for name in (take.RESULT, take.COLOUR, take.MASK):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    assert take.read_record(two / take.SIDECAR).notes == record.notes


def test_what_comes_out_gives_the_same_shot_again_without_another_look(flight, tmp_path, monkeypatch):
    folder, _ = flight
    named, out, work = NamedFiles(), tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    files = SourceFiles(folder / "clip.mp4", camera=folder / "inches.npz")
    job = named.generate(files, None, SourceSettings(), PathSettings(), RenderSettings(), GenerateSettings())
    facts = run(Reconstruct(job.source), gather(job, named.locate, work), out, Runtime(), silent)
    assert facts["depth_steadied"]
    assert read_movie(out / "moving.mp4").frames.shape[:3] == (FRAMES, SIZE[1], SIZE[0])
    first = open_shot(files, SourceSettings(), look_beside=True)

    def look(*given):
        raise AssertionError("The camera was looked at once more.")

    monkeypatch.setattr(opening, "compared", look)
    files = SourceFiles(folder / "clip.mp4", out / "depth.npz", out / "source_camera.npz")
    same = open_shot(files, SourceSettings(estimator="file", camera_motion="file", depth_edges="off"))
    np.testing.assert_allclose(same.source_to_world, first.source_to_world, atol=1e-9)
    np.testing.assert_allclose(same.depth.depth, first.depth.depth, rtol=2e-3)
