"""An earlier take in a job: what it invented is shown again, counts as invented, and the take can be remade."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ex4d.depth import registry
from ex4d.depth.base import Spec
from ex4d.depth.estimate import METRES, Estimate
from ex4d.errors import InputError
from ex4d.geometry import camera_path
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.media.movie import read_movie, write_movie
from ex4d.pipeline import earlier, take
from ex4d.pipeline.again import again
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.named import NamedFiles
from ex4d.pipeline.open import SourceFiles, gather
from ex4d.pipeline.requests import Preview, blobs_of
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.progress import silent
from ex4d.source_camera import pose_files
from ex4d.synthetic import scenes
from ex4d.synthetic.footage import Recording, film

SIZE, FRAMES = (256, 128), 13


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A clip of a street with depth, camera and moving mask, and a take of it that shows the truth: the view of a
    second camera is put into the folder of a take along that camera's path."""
    folder = tmp_path_factory.mktemp("walk")
    example = scenes.make("street", FRAMES, *SIZE)
    source, second = example.source, example.second
    write_movie(folder / "clip.mp4", example.clip.frames, example.clip.fps)
    np.savez(folder / "clip.depth.npz", depth=source.depth, intrinsics=source.cameras.intrinsics)
    pose_files.save(folder / "camera.npz", pose_files.SourceCamera(source.cameras.camera_to_world, np.zeros((0, 3))))
    write_movie(folder / "moving.mp4", source.moving * np.uint8(255), example.clip.fps, lossless=True)
    camera_path.save(folder / "second.npz", second.cameras)
    camera_path.save(folder / "near.npz", beside(second.cameras))
    taken(folder, folder / "first", path=folder / "second.npz")
    write_movie(folder / "first" / take.RESULT, second.frames, example.clip.fps)
    return folder, example


def beside(cameras: CameraPath) -> CameraPath:
    """The same cameras 30 cm to the side."""
    poses = cameras.camera_to_world.copy()
    poses[:, :3, 3] += 0.3 * poses[:, :3, 0]
    return replace(cameras, camera_to_world=poses)


@pytest.fixture
def estimated(walk, monkeypatch, tmp_path):
    """Depth of the take's frames by an estimator that is right up to a scale and a shift; yields its calls."""
    _folder, example = walk
    calls = []

    def estimate(clip, request):
        calls.append(clip.source)
        step = (FRAMES - 1) // (len(clip.frames) - 1)
        first = FRAMES - 1 - step * (len(clip.frames) - 1)
        at = slice(first, None, step)
        height, width = clip.frames.shape[1:3]
        lens = example.second.cameras.in_size(width, height).intrinsics[at]
        true = np.stack([cv2.resize(one, (width, height), interpolation=0) for one in example.second.depth[at]])
        return Estimate(DepthVideo((1 / (0.4 / true + 0.02)).astype(np.float32), lens, "made"), METRES, "CC0-1.0")

    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    spec = Spec("made", "Made", "Knows the truth", estimate, licence="CC0-1.0", rank=90)
    known = registry.estimators()
    monkeypatch.setattr(registry, "estimators", lambda: {"made": spec, **known})
    return calls


def files_of(folder, first=None, **others):
    of_take = None if first is None else earlier.of_folder(first)
    return SourceFiles(
        folder / "clip.mp4",
        folder / "clip.depth.npz",
        folder / "camera.npz",
        moving=folder / "moving.mp4",
        earlier=of_take,
        **others,
    )


def taken(folder, out, first=None, path=None, render=None, generation=None, **source):
    """A take by the preview, made like on the command line; the job and the facts."""
    out.mkdir()
    named = NamedFiles()
    job = named.generate(
        files_of(folder, first),
        path or folder / "near.npz",
        SourceSettings(**source),
        PathSettings(),
        render or RenderSettings(),
        generation or GenerateSettings(generator="preview"),
    )
    work = out.with_name(f"{out.name}_work")
    work.mkdir()
    facts = run(job, gather(job, named.locate, work), out, Runtime(), silent)
    record = take.read_record(out / take.SIDECAR)
    take.write_record(out / take.SIDECAR, take.with_inputs(record, out, named.places))
    return job, facts


def frames(path):
    return read_movie(path).frames


def test_what_an_earlier_take_invented_is_kept_counts_as_invented_and_is_not_in_colour_and_mask(
    walk, estimated, tmp_path
):
    folder, _example = walk
    _job, alone = taken(folder, tmp_path / "alone")
    _job, facts = taken(folder, tmp_path / "with", folder / "first")
    assert np.mean(facts["earlier"][4:]) > 0.05
    assert facts["coverage"] == alone["coverage"]
    assert facts["borrowed"] == alone["borrowed"]
    assert alone["earlier"] == []
    for name in (take.COLOUR, take.MASK):
        assert np.array_equal(frames(tmp_path / "with" / name), frames(tmp_path / "alone" / name))
    part = f"{100 * np.mean(facts['earlier']):.2g}% of the picture comes from the earlier take and counts as invented."
    assert part in facts["notes"]
    assert "The earlier take was made by the preview: its invented parts are soft." in facts["notes"]
    record = take.read_record(tmp_path / "with" / take.SIDECAR)
    assert record.earlier == facts["earlier"]


def test_what_is_kept_agrees_with_the_truth_and_stands_still(walk, estimated, tmp_path):
    """The earlier take shows the truth from 30 degrees, so what is kept can be checked 30 cm beside it."""
    folder, _example = walk
    target = filmed_beside()
    taken(folder, tmp_path / "alone")
    taken(folder, tmp_path / "with", folder / "first")
    mask, result, before = (
        frames(tmp_path / "with" / take.MASK)[..., 0],
        frames(tmp_path / "with" / take.RESULT),
        frames(tmp_path / "alone" / take.RESULT),
    )
    changed = (np.abs(result.astype(int) - before).max(axis=-1) > 8) & (mask == 0)
    late = slice(5, None)
    error, error_before = (
        np.mean((shown[late][changed[late]].astype(float) - target.frames[late][changed[late]]) ** 2)
        for shown in (result, before)
    )
    assert changed[late].mean() > 0.04
    assert 10 * np.log10(255**2 / error) > 20  # over the changed pixels; small pictures, compressed twice
    assert 10 * np.log10(error_before / error) > 2.5
    assert np.mean(target.moving[late][changed[late]]) < 0.05


def filmed_beside():
    """What a camera on the second path of `walk`'s "near.npz" truly sees."""
    world = scenes.SCENES["street"](FRAMES, 0)

    def camera(t):
        pose = world.second_camera(t).copy()
        pose[:3, 3] += 0.3 * pose[:3, 0]
        return pose

    return film(replace(world, camera=camera), Recording(*SIZE, FRAMES, seed=1))


def test_a_take_names_the_earlier_takes_files_and_is_made_again_to_the_byte_without_estimating(
    walk, estimated, tmp_path
):
    folder, _example = walk
    job, _facts = taken(folder, tmp_path / "with", folder / "first")
    record = take.read_record(tmp_path / "with" / take.SIDECAR)
    named = record.job.source.earlier
    assert {named.result, named.camera} <= set(blobs_of(job))
    assert (named.result, named.camera, named.is_preview) == (
        blob_of(folder / "first" / take.RESULT),
        blob_of(folder / "first" / take.CAMERA),
        True,
    )
    assert Path(record.inputs[named.result.sha256]).name == take.RESULT
    assert estimated == [take.RESULT]
    made_again(tmp_path / "with", tmp_path / "made")
    assert estimated == [take.RESULT]  # its depth is kept with the take
    for name in (take.RESULT, take.GENERATED, take.COLOUR, take.MASK, take.EARLIER_DEPTH):
        assert (tmp_path / "made" / name).read_bytes() == (tmp_path / "with" / name).read_bytes(), name
    made_again(tmp_path / "made", tmp_path / "once_more")  # of a take that was itself remade
    assert (tmp_path / "once_more" / take.RESULT).read_bytes() == (tmp_path / "with" / take.RESULT).read_bytes()


def made_again(folder, out):
    out.mkdir()
    work = out.with_name(f"{out.name}_work")
    work.mkdir()
    return again(folder, out, work, Runtime(), silent)


def test_an_earlier_take_that_has_changed_since_is_told_and_not_used(walk, estimated, tmp_path):
    folder, _example = walk
    first = tmp_path / "first"
    shutil.copytree(folder / "first", first)
    taken(folder, tmp_path / "with", first)
    (first / take.RESULT).write_bytes((folder / "clip.mp4").read_bytes())
    with pytest.raises(InputError, match="has changed since the take was made"):
        made_again(tmp_path / "with", tmp_path / "made")


def test_without_a_model_for_depth_what_is_behind_goes_on_and_a_note_says_so(walk, monkeypatch, tmp_path):
    folder, _example = walk
    monkeypatch.setattr(earlier, "estimator_like", lambda provider: "plane")
    _job, facts = taken(folder, tmp_path / "with", folder / "first")
    assert np.mean(facts["earlier"][4:]) > 0.05
    assert (
        "The depth of the earlier take's invented parts could not be estimated: the background was assumed to continue"
        " there." in facts["notes"]
    )
    made_again(tmp_path / "with", tmp_path / "made")
    assert (tmp_path / "made" / take.RESULT).read_bytes() == (tmp_path / "with" / take.RESULT).read_bytes()


def test_a_result_of_the_clips_own_size_keeps_the_same_pixels(walk, estimated, tmp_path):
    folder, example = walk
    _job, facts = taken(folder, tmp_path / "small", folder / "first")
    path = tmp_path / "near.npz"
    camera_path.save(path, beside(example.second.cameras).in_size(128, 64))
    _job, large = taken(folder, tmp_path / "large", folder / "first", path, longest_side=128)
    assert large["width"] == SIZE[0]
    assert np.mean(large["earlier"]) == pytest.approx(np.mean(facts["earlier"]), rel=0.35)
    mask = frames(tmp_path / "large" / take.MASK)[..., 0]
    alone = (
        taken(folder, tmp_path / "alone", None, path, longest_side=128)
        and frames(tmp_path / "alone" / take.MASK)[..., 0]
    )
    assert np.array_equal(mask, alone)
    target, result = filmed_beside().frames, frames(tmp_path / "large" / take.RESULT)
    before = frames(tmp_path / "alone" / take.RESULT)
    changed = (np.abs(result.astype(int) - before).max(axis=-1) > 8) & (mask == 0)
    error, error_before = (np.mean((shown[changed].astype(float) - target[changed]) ** 2) for shown in (result, before))
    assert changed[5:].mean() > 0.03
    assert error < error_before / 1.5


def test_a_preview_of_a_path_dots_what_is_kept_and_its_colour_is_black_there(walk, estimated, tmp_path):
    folder, _example = walk
    out, work, named = tmp_path / "view", tmp_path / "links", NamedFiles()
    out.mkdir()
    work.mkdir()
    job = named.generate(
        files_of(folder, folder / "first"), folder / "near.npz", SourceSettings(), PathSettings(), RenderSettings(),
        GenerateSettings(generator="preview"),
    )  # fmt: skip
    look = Preview(job.source, job.path, job.render)
    facts = run(look, gather(look, named.locate, work), out, Runtime(), silent)
    colour, mask = frames(out / take.COLOUR), frames(out / take.MASK)[..., 0]
    assert colour[mask == 0].mean() < 3
    magenta = np.all(np.abs(frames(out / take.VIEW)[-1].astype(int) - (255, 0, 255)) < 60, axis=-1)
    assert facts["earlier"][-1] > 0.05
    hidden = 1 - facts["coverage"][-1] - facts["earlier"][-1]
    assert magenta.mean() == pytest.approx(0.75 * hidden + facts["earlier"][-1] / 16, abs=0.08)  # stripes are dark


def test_a_take_of_another_clip_or_part_is_refused_in_words(walk, tmp_path):
    folder, _example = walk
    other = tmp_path / "other"
    shutil.copytree(folder / "first", other)
    record = json.loads((other / take.SIDECAR).read_text())
    record["job"]["source"]["clip"][0] |= {"sha256": "0" * 64, "name": "elsewhere.mp4"}
    (other / take.SIDECAR).write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"The earlier take is of another clip, elsewhere\.mp4"):
        taken(folder, tmp_path / "a", other)
    with pytest.raises(InputError, match="begins at frame 0 with a step of 1, and the shot at frame 2 with 1"):
        taken(folder, tmp_path / "b", folder / "first", start=2)
    with pytest.raises(InputError, match="The earlier take has 13 frames and the shot 9"):
        taken(folder, tmp_path / "c", folder / "first", frames=9)
    with pytest.raises(InputError, match="is not the folder of a take"):
        earlier.of_folder(tmp_path)


def test_a_take_that_does_not_fit_the_shot_any_more_is_not_used_and_a_note_says_why(walk, estimated, tmp_path):
    folder, example = walk
    turned = tmp_path / "turned"
    shutil.copytree(folder / "first", turned)
    poses = example.second.cameras.camera_to_world.copy()
    poses[:, :3, 3] += (1.5, 0, 2.0)
    camera_path.save(turned / take.CAMERA, replace(example.second.cameras, camera_to_world=poses))
    _job, facts = taken(folder, tmp_path / "with", turned)
    assert facts["earlier"] == []
    (said,) = [note for note in facts["notes"] if "earlier take" in note]
    assert said.startswith("The earlier take was not used: it does not match the shot.")


def test_with_other_frames_off_an_earlier_take_is_not_opened(walk, tmp_path):
    folder, _example = walk
    broken = tmp_path / "broken"
    shutil.copytree(folder / "first", broken)
    (broken / take.RESULT).write_bytes(b"whoever opens this fails")
    _job, facts = taken(folder, tmp_path / "with", broken, render=RenderSettings(persistence="off"))
    said = [note for note in facts["notes"] if "earlier take" in note]
    assert said == ["The earlier take was not used: Other Frames is off."]


@pytest.mark.parametrize(
    ("count", "frames"),
    [
        (1, [0]),
        (2, [0, 1]),
        (8, list(range(8))),
        (14, [1, 3, 5, 7, 9, 11, 13]),
        (49, [6, 12, 18, 24, 30, 36, 42, 48]),
        (50, [0, 7, 14, 21, 28, 35, 42, 49]),
    ],
)
def test_the_frames_that_are_used_are_spread_over_the_whole_take(count, frames):
    assert list(earlier._spread(count)) == frames
