"""A clean plate in a job: it is a file of the take, joins if it shows the same place, and is refused otherwise."""

import cv2
import numpy as np
import pytest

from ex4d.depth import registry
from ex4d.depth.base import Spec
from ex4d.depth.estimate import METRES, Estimate
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.posed_depth import open_posed
from ex4d.media.clip import read_clip
from ex4d.media.movie import read_movie, write_movie, write_png_frames
from ex4d.pipeline import plate as plates
from ex4d.pipeline import render as rendering
from ex4d.pipeline import take
from ex4d.pipeline.again import again
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.named import NamedFiles
from ex4d.pipeline.open import JobFiles, SourceFiles, gather
from ex4d.pipeline.requests import Preview, blobs_of
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.progress import silent
from ex4d.render.donors import PLATE_FRAMES
from ex4d.source_camera import masks, pose_files
from ex4d.synthetic import scenes

SIZE = 256, 144


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    """A clip from a drone with depth, camera and moving mask; plates of the same and of another place."""
    folder = tmp_path_factory.mktemp("flight")
    example = scenes.make("drone", 9, *SIZE)
    source = example.source
    write_movie(folder / "clip.mp4", example.clip.frames, example.clip.fps)
    np.savez(folder / "clip.depth.npz", depth=source.depth, intrinsics=source.cameras.intrinsics)
    pose_files.save(folder / "camera.npz", pose_files.SourceCamera(source.cameras.camera_to_world, np.zeros((0, 3))))
    write_movie(folder / "moving.mp4", source.moving * np.uint8(255), example.clip.fps, lossless=True)
    plate, other = scenes.clean_plate("drone", 3, *SIZE), scenes.clean_plate("street", 3, *SIZE)
    write_movie(folder / "plate.mp4", plate.frames, example.clip.fps)
    write_movie(folder / "other.mp4", other.frames, example.clip.fps)
    return folder, source, plate


@pytest.fixture
def known_depth(flight, monkeypatch):
    """The plate's estimated depth is the true one; yields the focal lengths passed to the estimator."""
    _folder, _source, plate = flight
    told = []

    def estimate(wish, clip, *, focal_px, **_):
        told.append(focal_px)
        count = len(clip.frames)
        k = np.tile(plate.cameras.intrinsics[:1], (count, 1, 1))
        return Estimate(DepthVideo(plate.depth[:count], k, "made"), METRES, "")

    monkeypatch.setattr(plates.registry, "estimate", _only_for_plates(estimate))
    return told


def _only_for_plates(estimate):
    whole = plates.registry.estimate

    def either(wish, clip, **known):
        return estimate(wish, clip, **known) if "video" not in known else whole(wish, clip, **known)

    return either


def taken(folder, out, plate, render=None, **source):
    out.mkdir()
    named = NamedFiles()
    depth, camera = folder / "clip.depth.npz", folder / "camera.npz"
    files = SourceFiles(folder / "clip.mp4", depth, camera, moving=folder / "moving.mp4", plate=plate)
    job = named.generate(
        files,
        None,
        SourceSettings(**source),
        PathSettings(cam="30"),
        render or RenderSettings(),
        GenerateSettings(generator="preview"),
    )
    work = out.with_name(f"{out.name}_work")
    work.mkdir()
    facts = run(job, gather(job, named.locate, work), out, Runtime(), silent)
    record = take.read_record(out / take.SIDECAR)
    take.write_record(out / take.SIDECAR, take.with_inputs(record, out, named.places))
    return job, facts


def test_a_plate_of_the_same_place_adds_to_a_take_is_named_in_it_and_makes_it_again(flight, known_depth, tmp_path):
    folder, source, _plate = flight
    _job, alone = taken(folder, tmp_path / "alone", None)
    job, facts = taken(folder, tmp_path / "with", folder / "plate.mp4")
    assert np.mean(facts["borrowed"]) > np.mean(alone["borrowed"]) + 0.003
    assert (
        "The clean plate plate.mp4 shows the same place in 3 of 3 frames, which fill what no frame saw."
        in facts["notes"]
    )
    (part,) = [note for note in facts["notes"] if "% of the picture comes from" in note]
    assert part.endswith("% of the picture comes from other frames of the clip or the clean plate.")
    assert any(note.endswith("% of the picture comes from other frames of the clip.") for note in alone["notes"])
    assert known_depth == [pytest.approx(source.cameras.intrinsics[0, 0, 0], rel=0.01)]
    record = take.read_record(tmp_path / "with" / take.SIDECAR)
    (plate,) = record.job.source.plate
    assert plate in blobs_of(job)
    assert record.inputs[plate.sha256].endswith("plate.mp4")
    (tmp_path / "made").mkdir()
    (tmp_path / "links").mkdir()
    again(tmp_path / "with", tmp_path / "made", tmp_path / "links", Runtime(), silent)
    for name in (take.COLOUR, take.MASK, take.PLATE):
        assert (tmp_path / "made" / name).read_bytes() == (tmp_path / "with" / name).read_bytes()
    assert {path.name for path in (tmp_path / "with").iterdir()} <= take.FILES


def test_a_path_preview_and_its_takes_leave_the_same_placed_plate_in_the_world_of_the_shot(
    flight, known_depth, tmp_path
):
    folder, _source, plate = flight
    job, _facts = taken(folder, tmp_path / "take", folder / "plate.mp4")
    preview = Preview(job.source, blob_of(tmp_path / "take" / take.CAMERA), job.render)
    files = SourceFiles(
        folder / "clip.mp4",
        folder / "clip.depth.npz",
        folder / "camera.npz",
        moving=folder / "moving.mp4",
        plate=folder / "plate.mp4",
    )
    (tmp_path / "view").mkdir()
    run(preview, JobFiles(files, tmp_path / "take" / take.CAMERA), tmp_path / "view", Runtime(), silent)
    assert (tmp_path / "view" / take.PLATE).read_bytes() == (tmp_path / "take" / take.PLATE).read_bytes()
    with open_posed(tmp_path / "view" / take.PLATE, PLATE_FRAMES) as (depth, poses):
        assert depth.shape == (3, *SIZE[::-1])
        assert np.abs(np.log(depth.frames(0, 3) / plate.depth)).mean() < 0.02
        assert np.abs(poses[:, :3, 3] - plate.cameras.camera_to_world[:, :3, 3]).max() < 0.2


def test_one_picture_is_a_plate_too(flight, known_depth, tmp_path):
    folder, _source, plate = flight
    write_png_frames(tmp_path / "plate", plate.frames[:1])
    (picture,) = (tmp_path / "plate").iterdir()
    _job, facts = taken(folder, tmp_path / "take", picture)
    said = f"The clean plate {picture.name} shows the same place and fills what no frame of the clip saw."
    assert said in facts["notes"]


def test_a_picture_is_the_plate_alone_whatever_is_numbered_beside_it(flight, known_depth, tmp_path):
    folder, _source, plate = flight
    pictures = tmp_path / "pictures"
    write_png_frames(pictures, plate.frames)
    picture = sorted(pictures.iterdir())[0]
    job, facts = taken(folder, tmp_path / "take", picture)
    assert job.source.plate == (blob_of(picture),)
    said = f"The clean plate {picture.name} shows the same place and fills what no frame of the clip saw."
    assert said in facts["notes"]
    for other in set(pictures.iterdir()) - {picture}:
        other.write_bytes(b"no picture any more")
    for name in ("made", "links"):
        (tmp_path / name).mkdir()
    again(tmp_path / "take", tmp_path / "made", tmp_path / "links", Runtime(), silent)
    assert (tmp_path / "made" / take.COLOUR).read_bytes() == (tmp_path / "take" / take.COLOUR).read_bytes()


def test_a_picture_is_the_mask_of_all_frames_whatever_is_numbered_beside_it(flight, tmp_path):
    folder, _source, _plate = flight
    masks_of = tmp_path / "masks"
    masks_of.mkdir()
    clip = read_clip(folder / "clip.mp4", frames=3)
    white, black = np.full((*SIZE[::-1], 3), 255, np.uint8), np.zeros((*SIZE[::-1], 3), np.uint8)
    left = black.copy()
    left[:, : SIZE[0] // 2] = 255
    write_png_frames(masks_of, np.stack([left, white, black]))  # as many as the clip uses
    picture = sorted(masks_of.iterdir())[0]
    mask = masks.read(picture, clip)
    assert mask[:, :, : SIZE[0] // 2].all()
    assert not mask[:, :, SIZE[0] // 2 :].any()
    assert np.array_equal(masks.read(masks_of, clip).mean(axis=(1, 2)), [0.5, 1, 0])
    job = NamedFiles().generate(
        SourceFiles(folder / "clip.mp4", folder / "clip.depth.npz", moving=picture),
        None, SourceSettings(), PathSettings(), RenderSettings(), GenerateSettings(generator="preview"),
    )  # fmt: skip
    assert job.source.moving == (blob_of(picture),)


def test_a_plate_of_another_place_is_refused_in_a_sentence_and_lends_nothing(flight, known_depth, tmp_path):
    folder, _source, _plate = flight
    taken(folder, tmp_path / "alone", None)
    _job, facts = taken(folder, tmp_path / "with", folder / "other.mp4")
    (said,) = [note for note in facts["notes"] if "other.mp4" in note]
    assert said.startswith("The clean plate other.mp4 was not used: it shows another place")
    assert not (tmp_path / "with" / take.PLATE).exists()
    for name in (take.COLOUR, take.MASK):  # their notes differ, but their pictures do not
        assert _frames(tmp_path / "with" / name) == _frames(tmp_path / "alone" / name)


def test_without_a_model_for_depth_a_plate_is_not_used_and_the_note_says_why(flight, tmp_path, monkeypatch):
    folder, _source, _plate = flight
    monkeypatch.setattr(plates, "estimator_like", lambda provider: "plane")
    _job, facts = taken(folder, tmp_path / "take", folder / "plate.mp4")
    assert (
        "The clean plate plate.mp4 was not used: both the clip and the plate need real depth, and one of them has only"
        " a guess." in facts["notes"]
    )


@pytest.mark.parametrize("edges", ["snap", "off"])
def test_depth_of_a_plate_is_snapped_as_the_clips_is_and_what_made_it_is_named(flight, tmp_path, monkeypatch, edges):
    """The plate's depth has blurred edges, and comes from another model than the clip's."""
    folder, _source, plate = flight
    k = np.tile(plate.cameras.intrinsics[:1], (3, 1, 1))
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 1.5) for one in plate.depth])

    def made(clip, request):
        return Estimate(DepthVideo(soft, k, "blurry", ("It is blurred.",)), METRES, "CC0-1.0")

    spec = Spec("blurry", "Blurry", "Blurs what is true", made, licence="CC0-1.0")
    known = registry.estimators()
    monkeypatch.setattr(registry, "estimators", lambda: {**known, "blurry": spec})
    monkeypatch.setattr(plates, "estimator_like", lambda provider: "blurry")
    used = []
    drawn = rendering.scene_of
    monkeypatch.setattr(rendering, "scene_of", lambda shot, *rest: (used.append(shot), drawn(shot, *rest))[1])
    _job, facts = taken(folder, tmp_path / "take", folder / "plate.mp4", depth_edges=edges)
    (shot,) = used
    assert "The clean plate's depth is by Blurry. Its licence: CC0-1.0." in facts["notes"]
    assert "Clean plate: It is blurred." in facts["notes"]
    assert not any(METRES in note for note in facts["notes"] if note.startswith("Clean plate"))
    ratio = shot.plate.depth.depth / np.median(shot.plate.depth.depth / soft, axis=(1, 2), keepdims=True) / soft
    moved = float(np.mean(np.abs(ratio - 1) > 0.02))
    snapped = any(note.startswith("Clean plate: The depth's soft edges were snapped") for note in facts["notes"])
    assert snapped == (moved > 0.01) == (edges == "snap")


def test_with_other_frames_off_a_plate_is_not_even_opened_and_the_note_says_why(flight, tmp_path):
    folder, _source, _plate = flight
    (tmp_path / "plate.mp4").write_bytes(b"whoever opens this fails")
    _job, facts = taken(folder, tmp_path / "take", tmp_path / "plate.mp4", RenderSettings(persistence="off"))
    said = [note for note in facts["notes"] if "clean plate" in note]
    assert said == ["The clean plate was not used: Other Frames is off."]


def _frames(path):
    return read_movie(path).frames.tobytes()
