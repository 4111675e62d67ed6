"""Soft edges of a shot's depth are snapped once, when it is opened, unless that is turned off."""

import sys

import numpy as np
import pytest

from ex4d.depth.edges import SNAPPED, snap
from ex4d.depth.offset import OFFSET
from ex4d.depth.refinement import REFINED
from ex4d.geometry.depth_video import load_depth_npz, save_depth
from ex4d.media.movie import write_movie
from ex4d.pipeline import take
from ex4d.pipeline.again import again
from ex4d.pipeline.named import NamedFiles
from ex4d.pipeline.open import SourceFiles, gather, open_shot
from ex4d.pipeline.requests import Reconstruct, Source
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.plain import from_plain, to_plain
from ex4d.progress import silent
from ex4d.synthetic import depth_errors, scenes
from ex4d.synthetic.depth_errors import DepthErrors

STILL = SourceSettings(camera_motion="file")


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    """The folder with a clip and depth with soft edges beside it; that depth, and the true one."""
    folder = tmp_path_factory.mktemp("soft")
    example = scenes.make("still", 3, 256, 144)
    true = example.source.depth
    depth = depth_errors.wrong(true, DepthErrors(jitter=0, shape=0, edge=2.4), 0)
    write_movie(folder / "clip.mp4", example.clip.frames, example.clip.fps)
    np.savez(folder / "clip.depth.npz", depth=depth, intrinsics=example.source.cameras.intrinsics)
    return folder, depth, true


def wrong_part(depth, true):
    return float((np.abs(np.log(depth / true)) > 0.1).mean())


def test_a_shots_depth_is_snapped_unless_one_does_not_want_it(soft):
    folder, depth, true = soft
    files = SourceFiles(folder / "clip.mp4")
    shot = open_shot(files, STILL, look_beside=True)
    assert wrong_part(shot.depth.depth, true) < 0.5 * wrong_part(depth, true)
    assert sum(note.startswith(SNAPPED) for note in shot.notes) == 1
    settings = SourceSettings(camera_motion="file", depth_edges="off")
    for as_is in (
        open_shot(files, settings, look_beside=True),
        open_shot(files, STILL, look_beside=True, release_lens=True),
    ):
        np.testing.assert_array_equal(as_is.depth.depth, depth)
        assert not any(SNAPPED in note for note in as_is.notes)


def test_depth_that_is_offset_is_moved_back_before_it_is_snapped(tmp_path):
    example = scenes.make("still", 3, 512, 288)
    true = example.source.depth
    depth = depth_errors.wrong(true, DepthErrors(jitter=0, shape=0, edge=1.2), 0)
    aside = np.concatenate([depth[:, :, :1], depth[:, :, :1], depth[:, :, :-2]], axis=2)
    write_movie(tmp_path / "clip.mp4", example.clip.frames, example.clip.fps)
    np.savez(tmp_path / "clip.depth.npz", depth=aside, intrinsics=example.source.cameras.intrinsics)
    files = SourceFiles(tmp_path / "clip.mp4")
    shot = open_shot(files, STILL, look_beside=True)
    unmoved = np.stack([snap(each, frame) for each, frame in zip(depth, shot.clip.frames, strict=True)])
    assert "The depth was offset from the picture by 2 pixels to the right, and was moved back." in shot.notes
    np.testing.assert_array_equal(shot.depth.depth[:, :, 8:-12], unmoved[:, :, 8:-12])
    save_depth(tmp_path / "again.npz", shot.depth)
    again = open_shot(SourceFiles(files.clip, tmp_path / "again.npz"), STILL)
    np.testing.assert_array_equal(again.depth.depth, shot.depth.depth)
    for as_is in (
        open_shot(files, SourceSettings(camera_motion="file", depth_edges="off"), look_beside=True),
        open_shot(files, STILL, look_beside=True, release_lens=True),
    ):
        np.testing.assert_array_equal(as_is.depth.depth, aside)
        assert not any(note.startswith(OFFSET) for note in as_is.notes)


def test_a_shots_depth_is_refined_where_one_wants_it(soft):
    pytest.importorskip("torch", reason="needs the extra depth")
    folder, depth, true = soft
    settings = SourceSettings(camera_motion="file", depth_edges="refine")
    shot = open_shot(SourceFiles(folder / "clip.mp4"), settings, look_beside=True)
    assert wrong_part(shot.depth.depth, true) < 0.6 * wrong_part(depth, true)
    assert sum(note.startswith(REFINED) for note in shot.notes) == 1
    assert not any(SNAPPED in note for note in shot.notes)


def test_without_torch_it_is_snapped_instead_and_a_note_says_so(soft, monkeypatch):
    folder, depth, true = soft
    monkeypatch.setitem(sys.modules, "torch", None)
    settings = SourceSettings(camera_motion="file", depth_edges="refine")
    shot = open_shot(SourceFiles(folder / "clip.mp4"), settings, look_beside=True)
    assert wrong_part(shot.depth.depth, true) < 0.5 * wrong_part(depth, true)
    assert any("edges were snapped, not refined, because refining needs torch" in note for note in shot.notes)
    assert sum(note.startswith(SNAPPED) for note in shot.notes) == 1


def test_without_numba_the_depth_stays_and_a_note_says_so(soft, monkeypatch):
    folder, depth, _ = soft
    monkeypatch.setitem(sys.modules, "numba", None)
    shot = open_shot(SourceFiles(folder / "clip.mp4"), STILL, look_beside=True)
    np.testing.assert_array_equal(shot.depth.depth, depth)
    assert [note for note in shot.notes if "numba" in note and "edges stay as soft" in note]


def test_depth_that_came_out_is_not_snapped_twice_and_takes_are_the_same_again(soft, tmp_path):
    folder, _, _ = soft
    named, outs = NamedFiles(), [tmp_path / name for name in ("opened", "take", "again", "work")]
    for out in outs:
        out.mkdir()
    opened, one, two, work = outs
    job = named.generate(
        SourceFiles(folder / "clip.mp4", folder / "clip.depth.npz"),
        None,
        STILL,
        PathSettings(cam="30"),
        RenderSettings(),
        GenerateSettings(generator="preview"),
    )
    files = gather(job, named.locate, tmp_path, in_place=True)
    run(Reconstruct(job.source), files, opened, Runtime(), silent)
    packed = load_depth_npz(opened / "depth.npz")
    first = open_shot(SourceFiles(folder / "clip.mp4"), STILL, look_beside=True)
    np.testing.assert_allclose(packed.depth, first.depth.depth, rtol=4e-5)
    shot = open_shot(SourceFiles(folder / "clip.mp4", opened / "depth.npz"), STILL)
    np.testing.assert_array_equal(shot.depth.depth, packed.depth)
    assert sum(note.startswith(SNAPPED) for note in shot.notes) == 1

    run(job, files, one, Runtime(), silent)
    record = take.read_record(one / take.SIDECAR)
    take.write_record(one / take.SIDECAR, take.with_inputs(record, one, named.places))
    again(one, two, work, Runtime(), silent)
    for name in (take.RESULT, "mask.mp4", "colour.mp4"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    assert take.read_record(two / take.SIDECAR).notes == record.notes


def test_jobs_from_before_leave_the_edges_of_their_depth():
    old = to_plain(Source(()))["settings"]
    del old["depth_edges"]
    assert from_plain(SourceSettings, old).depth_edges == "off"
    assert SourceSettings().depth_edges == "snap"
