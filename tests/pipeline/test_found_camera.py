"""Jobs that find the clip's own camera: the result, and that it is not searched for twice."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ex4d.depth import lens, registry
from ex4d.depth.base import Spec
from ex4d.depth.estimate import METRES, Estimate
from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz
from ex4d.media.movie import read_movie, write_movie
from ex4d.pipeline import open as opening
from ex4d.pipeline import take
from ex4d.pipeline.again import again
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.named import NamedFiles
from ex4d.pipeline.open import JobFiles, SourceFiles, gather, open_shot
from ex4d.pipeline.requests import Reconstruct, Source
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.plain import from_plain, to_plain
from ex4d.progress import silent
from ex4d.source_camera import pictures, solver
from ex4d.source_camera.error import absolute, angles
from ex4d.source_camera.found import WITH_CAMERA, Found
from ex4d.synthetic import scenes

pytestmark = pytest.mark.skipif(not solver.PYCOLMAP.is_there, reason="needs the extra camera")

FRAMES = 13


@pytest.fixture(scope="module")
def small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "SIDE", 448)
        yield


@pytest.fixture(scope="module")
def flight(tmp_path_factory, small_pictures):
    """The folder with a clip from a drone, and beside it its true depth without a lens."""
    folder = tmp_path_factory.mktemp("flight")
    example = scenes.make("drone", FRAMES, 256, 144)
    write_movie(folder / "clip.mp4", example.clip.frames, example.clip.fps)
    np.savez(folder / "clip.depth.npz", depth=example.source.depth)
    return folder, example.source.cameras


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EX4D_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def nobody_looks(monkeypatch):
    def find(*given):
        raise AssertionError("The camera was looked for once more.")

    monkeypatch.setattr(opening, "find", find)


@pytest.fixture(scope="module")
def opened(flight, cache, tmp_path_factory):
    """The files of a finished `reconstruct`, and its facts."""
    folder, _ = flight
    named, out = NamedFiles(), tmp_path_factory.mktemp("out")
    job = named.generate(
        SourceFiles(folder / "clip.mp4"), None, SourceSettings(), PathSettings(), RenderSettings(), GenerateSettings()
    )
    work = tmp_path_factory.mktemp("work")
    facts = run(Reconstruct(job.source), gather(job, named.locate, work), out, Runtime(), silent)
    return out, facts


def test_opening_a_clip_gives_its_camera_its_points_its_lens_and_what_moves(flight, opened):
    (_, true), (out, facts) = flight, opened
    with np.load(out / "source_camera.npz") as found:
        assert absolute(found["camera_to_world"], true.camera_to_world) < 0.01
        assert angles(found["camera_to_world"], true.camera_to_world).max() < 1.0
        # In metres, like the depth.
        step = np.linalg.norm(found["camera_to_world"][-1, :3, 3])
        assert step == pytest.approx(np.linalg.norm(true.camera_to_world[-1, :3, 3]), rel=0.1)
        assert len(found["points"]) > 100
    assert facts["focal_px"] == pytest.approx(true.intrinsics[0, 0, 0], rel=0.06)
    assert read_movie(out / "moving.mp4").frames.shape[:3] == (FRAMES, 144, 256)
    assert any("The source camera was found" in note for note in facts["notes"])
    assert any("was found with the camera" in note for note in facts["notes"])
    assert not any("54 degrees" in note for note in facts["notes"])


def test_the_second_time_nobody_looks_for_it(flight, opened, nobody_looks):
    folder, true = flight
    shot = open_shot(SourceFiles(folder / "clip.mp4"), SourceSettings(), look_beside=True)
    assert absolute(shot.source_to_world, true.camera_to_world) < 0.01


def test_depth_and_camera_that_came_out_give_the_same_shot_again(flight, opened, nobody_looks):
    (folder, _), (out, _) = flight, opened
    first = open_shot(SourceFiles(folder / "clip.mp4"), SourceSettings(), look_beside=True)
    files = SourceFiles(folder / "clip.mp4", out / "depth.npz", out / "source_camera.npz")
    again_ = open_shot(files, SourceSettings(estimator="file", camera_motion="file"))
    np.testing.assert_array_equal(again_.source_to_world, first.source_to_world)
    np.testing.assert_allclose(again_.depth.intrinsics, first.depth.intrinsics)
    assert again_.notes == first.notes


def preview_of(clip, named):
    """A job for the preview of a clip from 30 degrees, whose files `named` knows."""
    render, generation = RenderSettings(), GenerateSettings(generator="preview")
    return named.generate(SourceFiles(clip), None, SourceSettings(), PathSettings(cam="30"), render, generation)


def test_a_take_is_made_again_with_the_camera_that_was_found_for_it(
    flight, opened, nobody_looks, tmp_path, monkeypatch
):
    folder, _ = flight
    named, one = NamedFiles(), tmp_path / "one"
    one.mkdir()
    job = preview_of(folder / "clip.mp4", named)
    run(job, gather(job, named.locate, tmp_path, in_place=True), one, Runtime(), silent)
    record = take.read_record(one / take.SIDECAR)
    take.write_record(one / take.SIDECAR, take.with_inputs(record, one, named.places))
    assert (one / take.SOURCE_CAMERA).is_file()
    assert (one / take.MOVING).is_file()
    assert max(record.borrowed) > 0.005, "other frames filled something"
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "another cache"))
    two, work = tmp_path / "two", tmp_path / "work"
    two.mkdir()
    work.mkdir()
    again(one, two, work, Runtime(), silent)
    for name in (take.RESULT, take.COLOUR, take.MASK, take.MOVING):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    assert take.read_record(two / take.SIDECAR).notes == record.notes
    assert take.read_record(two / take.SIDECAR).borrowed == record.borrowed


def test_jobs_and_records_from_before_mean_the_file_or_a_still_camera(flight):
    old = to_plain(Source(()))["settings"]
    del old["camera_motion"], old["zooms"]
    assert from_plain(SourceSettings, old).camera_motion == "file"
    assert SourceSettings().camera_motion == "auto"
    assert json.loads(json.dumps(old)) == old


def test_a_camera_that_is_to_come_from_a_file_is_not_looked_for(flight, nobody_looks):
    folder, _ = flight
    for motion in ("file", "still"):
        shot = open_shot(SourceFiles(folder / "clip.mp4"), SourceSettings(camera_motion=motion), look_beside=True)
        assert (shot.source_to_world, shot.moving) == (None, None)


def test_the_release_is_reproduced_without_looking_for_a_camera(flight, nobody_looks):
    folder, _ = flight
    shot = open_shot(SourceFiles(folder / "clip.mp4"), SourceSettings(), look_beside=True, release_lens=True)
    assert shot.source_to_world is None


def test_a_camera_file_and_a_still_camera_contradict_each_other(flight, opened):
    (folder, _), (out, _) = flight, opened
    files = SourceFiles(folder / "clip.mp4", camera=out / "source_camera.npz")
    with pytest.raises(InputError, match="leave one of them out"):
        open_shot(files, SourceSettings(camera_motion="still"), look_beside=True)


def test_a_mask_of_another_length_is_refused_with_both_numbers(flight, tmp_path):
    folder, _ = flight
    write_movie(tmp_path / "mask.mp4", np.zeros((7, 144, 256), np.uint8), Fraction(24), lossless=True)
    files = SourceFiles(folder / "clip.mp4", moving=tmp_path / "mask.mp4")
    with pytest.raises(InputError, match=r"mask.mp4 has 7 frames, but the clip uses 13 of 13"):
        open_shot(files, SourceSettings(), look_beside=True)


@pytest.fixture(scope="module")
def pumping(flight, cache, tmp_path_factory):
    """The folder with the same clip and depth whose scale changes by 5 % from frame to frame; the true depth.

    Its camera was already searched for once.
    """
    folder = tmp_path_factory.mktemp("pumping")
    shutil.copyfile(flight[0] / "clip.mp4", folder / "clip.mp4")
    true = np.load(flight[0] / "clip.depth.npz")["depth"]
    jitter = np.exp(0.05 * np.random.default_rng(4).standard_normal((FRAMES, 1, 1))).astype(np.float32)
    np.savez(folder / "clip.depth.npz", depth=true * jitter)
    open_shot(SourceFiles(folder / "clip.mp4"), SourceSettings(), look_beside=True)
    return folder, true


def pumps(depth, true):
    """Median change of a depth's scale from frame to frame."""
    return np.median(np.abs(np.diff(np.log(np.median(depth / true, axis=(1, 2))))))


def test_depth_that_pumps_is_steadied_by_the_points_of_the_camera_unless_one_does_not_want_it(pumping):
    folder, true = pumping
    made, kept_as_is = (
        open_shot(SourceFiles(folder / "clip.mp4"), SourceSettings(steady_depth=steady), look_beside=True)
        for steady in (True, False)
    )
    assert pumps(kept_as_is.depth.depth, true) > 0.03
    assert pumps(made.depth.depth, true) < 0.005
    assert sum("depth's scale pumped by" in note for note in made.notes) == 1
    assert not any("pumped" in note for note in kept_as_is.notes)
    assert absolute(made.source_to_world, kept_as_is.source_to_world) < 1e-3  # the unit differs by less than 1 %


def test_depth_of_a_camera_that_stands_still_is_steadied_too(cache, tmp_path):
    example = scenes.make("still", FRAMES, 256, 144)
    true = example.source.depth
    jitter = np.exp(0.05 * np.random.default_rng(4).standard_normal((FRAMES, 1, 1))).astype(np.float32)
    write_movie(tmp_path / "clip.mp4", example.clip.frames, example.clip.fps)
    np.savez(tmp_path / "clip.depth.npz", depth=true * jitter)
    made, kept_as_is = (
        open_shot(SourceFiles(tmp_path / "clip.mp4"), SourceSettings(steady_depth=steady), look_beside=True)
        for steady in (True, False)
    )
    assert (made.source_to_world, made.steadied, kept_as_is.steadied) == (None, True, False)
    assert made.choice_notes == ("The clip's own camera stands still.",)
    assert pumps(kept_as_is.depth.depth, true) > 0.03
    assert pumps(made.depth.depth, true) < 0.005
    assert sum("depth's scale pumped by" in note for note in made.notes) == 1
    np.savez(tmp_path / "clip.depth.npz", depth=true)
    sound = open_shot(SourceFiles(tmp_path / "clip.mp4"), SourceSettings(), look_beside=True)
    assert (sound.steadied, any("pumped" in note for note in sound.notes)) == (False, False)


def test_what_came_out_of_a_depth_that_pumps_is_not_steadied_twice_and_takes_are_the_same_again(
    pumping, nobody_looks, tmp_path
):
    folder, true = pumping
    named, outs = NamedFiles(), [tmp_path / name for name in ("opened", "take", "again", "work")]
    for out in outs:
        out.mkdir()
    job = preview_of(folder / "clip.mp4", named)
    opened, one, two, work = outs
    files = gather(job, named.locate, tmp_path, in_place=True)
    run(Reconstruct(job.source), files, opened, Runtime(), silent)
    with np.load(opened / "source_camera.npz") as camera:
        assert "steady_depth" not in camera
    shot = open_shot(
        SourceFiles(folder / "clip.mp4", opened / "depth.npz", opened / "source_camera.npz"),
        SourceSettings(estimator="file", camera_motion="file"),
    )
    assert pumps(shot.depth.depth, true) < 0.005
    assert sum("depth's scale pumped by" in note for note in shot.notes) == 1
    run(job, files, one, Runtime(), silent)
    record = take.read_record(one / take.SIDECAR)
    take.write_record(one / take.SIDECAR, take.with_inputs(record, one, named.places))
    again(one, two, work, Runtime(), silent)
    assert (two / take.RESULT).read_bytes() == (one / take.RESULT).read_bytes()
    assert take.read_record(two / take.SIDECAR).notes == record.notes


@pytest.fixture(scope="module")
def bent(flight, cache, tmp_path_factory):
    """The folder with the same clip and depth, 20 % too far at one side and too near at the other; the true depth."""
    folder = tmp_path_factory.mktemp("bent")
    shutil.copyfile(flight[0] / "clip.mp4", folder / "clip.mp4")
    true = np.load(flight[0] / "clip.depth.npz")["depth"]
    np.savez(folder / "clip.depth.npz", depth=true * np.exp(np.linspace(-0.2, 0.2, true.shape[2], dtype=np.float32)))
    return folder, true


def off(depth, true):
    """Median error of a depth, relative to its scale."""
    ratio = np.log(depth / true)
    return np.median(np.abs(ratio - np.median(ratio)))


def test_bent_depth_is_straightened_by_the_points_of_the_camera_unless_one_does_not_want_it(bent):
    folder, true = bent
    made, kept_as_is, cached = (
        open_shot(SourceFiles(folder / "clip.mp4"), SourceSettings(steady_depth=steady), look_beside=True)
        for steady in (True, False, True)
    )
    assert off(kept_as_is.depth.depth, true) > 0.09
    assert off(made.depth.depth, true) < 0.02
    assert np.array_equal(cached.depth.depth, made.depth.depth)
    assert made.steadied
    assert sum("depth was bent or drifted by" in note for note in made.notes) == 1
    assert not any("bent" in note for note in kept_as_is.notes)


def test_a_take_of_bent_depth_is_the_same_again_and_a_damaged_field_is_refused(bent, nobody_looks, tmp_path):
    folder, _true = bent
    named, outs = NamedFiles(), [tmp_path / name for name in ("take", "again", "work")]
    for out in outs:
        out.mkdir()
    one, two, work = outs
    job = preview_of(folder / "clip.mp4", named)
    run(job, gather(job, named.locate, tmp_path, in_place=True), one, Runtime(), silent)
    record = take.read_record(one / take.SIDECAR)
    assert sum("depth was bent or drifted by" in note for note in record.notes) == 1
    take.write_record(one / take.SIDECAR, take.with_inputs(record, one, named.places))
    again(one, two, work, Runtime(), silent)
    assert (two / take.RESULT).read_bytes() == (one / take.RESULT).read_bytes()
    camera = one / take.SOURCE_CAMERA
    arrays = dict(np.load(camera))
    assert arrays["depth_field"].shape[0] == FRAMES
    clip = SourceFiles(folder / "clip.mp4", folder / "clip.depth.npz", camera)
    settings = SourceSettings(estimator="file", camera_motion="file")
    field = arrays["depth_field"]
    wide = np.zeros((FRAMES, 1, 1000))
    for damaged in (np.full_like(field, np.nan), field[..., 0], field + 90, wide, np.array(1.0), field.astype(str)):
        np.savez(camera, **{**arrays, "depth_field": damaged})
        with pytest.raises(InputError, match=r"What steadies the depth in the camera file .* is damaged"):
            open_shot(clip, settings)


@pytest.fixture
def pumping_estimator(cache, tmp_path, monkeypatch):
    """A clip, its true depth, and an estimator whose runs each have their own scale and pump by 4 %."""
    example = scenes.make("drone", 20, 256, 144)
    clip, true = tmp_path / "clip.mp4", example.source.depth
    write_movie(clip, example.clip.frames, example.clip.fps)
    jitter = np.exp(0.04 * np.random.default_rng(1).standard_normal((len(true), 1, 1))).astype(np.float32)
    k = example.source.cameras.intrinsics[0]

    def estimated(frames, request):
        depth = true * jitter * np.float32(1 + 0.1 * len(frames.frames))
        return Estimate(DepthVideo(depth[frames.numbers], k, "pumping"), METRES, "free")

    known = {**registry.estimators(), "pumping": Spec("pumping", "Pumping", "Pumps", estimated)}
    monkeypatch.setattr(registry, "estimators", lambda: known)
    return clip, true


def opened_part(clip, out, start, frames, standing=None, **settings):
    """Depth and notes of a part of a clip after opening it."""
    out.mkdir()
    wanted = SourceSettings(start=start, frames=frames, estimator="pumping", **settings)
    source = Source((blob_of(clip),), settings=wanted, standing=blob_of(standing) if standing else None)
    files = JobFiles(SourceFiles(clip, standing=standing))
    facts = run(Reconstruct(source), files, out, Runtime(), silent)
    return load_depth_npz(out / "depth.npz").depth, facts["notes"]


@pytest.mark.slow
def test_frames_that_were_steadied_stay_to_the_bit_when_more_are_opened_and_only_new_ones_are_steadied(
    pumping_estimator, tmp_path
):
    clip, true = pumping_estimator
    before, _notes = opened_part(clip, tmp_path / "some", 4, 12)
    assert pumps(before, true[4:16]) < 0.005
    after, notes = opened_part(clip, tmp_path / "more", 4, 16, tmp_path / "some" / "depth.npz")
    assert np.array_equal(after[:4], before[:4]), "the other eight go over into the new ones"
    assert pumps(after, true[4:]) < 0.01
    assert sum("depth's scale pumped by" in note for note in notes) == 1


@pytest.mark.slow
def test_frames_that_nobody_had_steadied_are_steadied_with_the_new_ones(pumping_estimator, tmp_path):
    """The artist opened more without waiting for the camera."""
    clip, true = pumping_estimator
    before, _notes = opened_part(clip, tmp_path / "some", 4, 12, camera_motion="file")
    assert pumps(before, true[4:16]) > 0.02
    after, _notes = opened_part(clip, tmp_path / "more", 4, 16, tmp_path / "some" / "depth.npz")
    assert pumps(after, true[4:]) < 0.01


@pytest.mark.slow
def test_looking_for_the_camera_once_more_leaves_depth_that_was_steadied_and_says_it_once(pumping_estimator, tmp_path):
    clip, _true = pumping_estimator
    before, _notes = opened_part(clip, tmp_path / "some", 0, 20)
    depth = tmp_path / "some" / "depth.npz"
    start, frames = 3, 9
    wanted = SourceSettings(start=start, frames=frames, estimator="file")
    shot = open_shot(SourceFiles(clip, depth), wanted)
    assert shot.found is not None
    assert np.array_equal(shot.depth.depth, before[start:][:frames])
    assert sum("depth's scale pumped by" in note for note in shot.notes) == 1


@pytest.fixture
def lens_unknown(pumping_estimator, tmp_path, monkeypatch):
    """The same clip, with an estimator that does not know the lens either."""
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))  # the other cache has depth with a lens
    spec = registry.estimators()["pumping"]

    def estimated(clip, request):
        made, (k, note) = spec.run(clip, request), lens.given_or_assumed(clip, None)
        return replace(made, depth=replace(made.depth, intrinsics=k, notes=(note,)))

    monkeypatch.setattr(registry, "estimators", lambda: {"pumping": replace(spec, run=estimated)})
    return pumping_estimator[0]


@pytest.mark.slow
def test_where_a_lens_comes_from_is_said_when_more_frames_are_opened_too(lens_unknown, tmp_path):
    _depth, before = opened_part(lens_unknown, tmp_path / "some", 4, 12)
    _depth, after = opened_part(lens_unknown, tmp_path / "more", 4, 16, tmp_path / "some" / "depth.npz")
    (found,) = [note for note in before if WITH_CAMERA in note]
    assert [note for note in after if WITH_CAMERA in note] == [found]
    assert lens.ASSUMED not in after
    lenses = [load_depth_npz(tmp_path / name / "depth.npz").intrinsics for name in ("some", "more")]
    assert (lenses[1] == lenses[0][0]).all()


@pytest.mark.parametrize("is_found", [True, False])
def test_a_lens_that_zooms_is_found_anew_for_all_frames_and_says_so_or_stays_where_it_was(
    lens_unknown, tmp_path, monkeypatch, is_found
):
    def find(frames, depth, wish, progress):
        assert not wish.lens_known
        asked.append(wish.intrinsics[:, 0, 0])
        k = wish.intrinsics.copy()
        k[:, [0, 1], [0, 1]] = np.linspace(200, 300, len(k))[:, None]
        note = f"The lens was {WITH_CAMERA}: it zooms in {len(k)} frames."
        turns = np.tile(np.eye(4), (len(k), 1, 1))
        return Found("rotation", turns, lens=k, lens_note=note) if len(asked) == 1 or is_found else Found("still")

    asked = []
    monkeypatch.setattr(opening, "find", find)
    _depth, before = opened_part(lens_unknown, tmp_path / "some", 4, 12, zooms=True)
    assert [note for note in before if WITH_CAMERA in note] == [
        "The lens was found with the camera: it zooms in 12 frames."
    ]
    assert opening.ANEW not in before
    _depth, after = opened_part(lens_unknown, tmp_path / "more", 4, 16, tmp_path / "some" / "depth.npz", zooms=True)
    np.testing.assert_allclose(
        asked[1], [*np.linspace(200, 300, 12), *[300] * 4], err_msg="it is begun with what was known"
    )
    focal = load_depth_npz(tmp_path / "more" / "depth.npz").intrinsics[:, 0, 0]
    if is_found:
        np.testing.assert_allclose(focal, np.linspace(200, 300, 16))
        assert [note for note in after if WITH_CAMERA in note] == [
            "The lens was found with the camera: it zooms in 16 frames."
        ]
        assert after.count(opening.ANEW) == 1
        assert lens.GOES_ON not in after
    else:
        np.testing.assert_allclose(focal, asked[1])
        assert lens.GOES_ON in after


def test_jobs_from_before_leave_their_depth_as_it_is():
    old = to_plain(Source(()))["settings"]
    del old["steady_depth"]
    assert from_plain(SourceSettings, old).steady_depth is False
    assert SourceSettings().steady_depth is True
