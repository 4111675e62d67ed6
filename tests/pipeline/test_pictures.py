"""Jobs of sequences: only the images of the range are sent, and give the same as the whole sequence."""

import json
import shutil
import uuid
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import ex4d
from ex4d.errors import InputError
from ex4d.geometry.intrinsics import fit_frame
from ex4d.jobs.codec import encode
from ex4d.jobs.messages import Submit
from ex4d.media.movie import read_movie, write_movie
from ex4d.pipeline import take
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.named import NamedFiles
from ex4d.pipeline.open import SourceFiles, gather, open_shot
from ex4d.pipeline.pictures import frames_to_use, note_on_crop
from ex4d.pipeline.render import resized, scene_of
from ex4d.pipeline.requests import Fill, Generate, Reconstruct, job_hash
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.progress import silent

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def walk(tmp_path) -> Path:
    """A folder walk with the images 101 to 130 except 110 to 112, and 16-bit depth for each of them beside it."""
    for folder in ("walk", "walk_depth"):
        (tmp_path / folder).mkdir()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for number in [*range(101, 110), *range(113, 131)]:
        shade = np.dstack([4 * y, 3 * x, np.full_like(x, 2 * (number - 100))]).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "walk" / f"walk.{number}.png"), shade)
        cv2.imwrite(str(tmp_path / "walk_depth" / f"walk.{number}.png"), (2000 + 10 * number + x).astype(np.uint16))
    return tmp_path / "walk"


def job_of(clip: Path, **settings) -> tuple[Generate, NamedFiles]:
    named = NamedFiles()
    source = SourceSettings(**settings)
    return named.generate(
        SourceFiles(clip), None, source, PathSettings("30"), RenderSettings(), GenerateSettings("preview")
    ), named


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"start": 2, "frames": 5}, [103, 104, 105, 106, 107]),
        ({"start": 7, "frames": 8}, [108, 109, 113, 114, 115]),
        ({"start": 7, "frames": 6, "gaps": "leave"}, [108, 109, 113, 114, 115, 116]),
        ({"start": 1, "frames": 6, "step": 4}, [102, 106, 109, 114, 118, 122]),
        ({"start": 25}, [126, 127, 128, 129, 130]),
        ({"frames": 27}, [*range(101, 110), *range(113, 128)]),  # as many as there are images
    ],
)
def test_only_the_pictures_of_the_range_go_along_and_give_the_same_shot(walk, tmp_path, settings, sent):
    job, named = job_of(walk, **settings)
    assert [blob.name for blob in job.source.clip] == [f"walk.{number}.png" for number in sent]
    work = tmp_path / "work"
    work.mkdir()
    files = gather(job, named.locate, work, in_place=True).source
    part = open_shot(files, job.source.settings)
    whole = open_shot(SourceFiles(walk), job.source.settings, look_beside=True)
    assert np.array_equal(part.clip.frames, whole.clip.frames)
    assert np.array_equal(part.depth.depth, whole.depth.depth)
    assert (part.clip.source_frames, part.clip.fps) == (whole.clip.source_frames, whole.clip.fps)
    total = 27 if settings.get("gaps") == "leave" else 30
    assert part.clip.source_frames == total
    assert part.notes[0].startswith(
        f"{frames_to_use(total, job.source.settings)} of the {total} frames of walk are used"
    )
    assert any("Missing from walk: 110 to 112." in note for note in part.notes)


def test_as_many_frames_as_pictures_are_used_and_each_takes_the_depth_of_the_picture_that_it_shows(walk):
    shot = ex4d.open_clip(walk, frames=27)
    shown = [*range(101, 110), 109, 109, 109, *range(113, 128)]
    assert np.allclose(shot.depth.depth[:, 0, 0], (2000 + 10 * np.array(shown)) / 1000)


@pytest.mark.parametrize(("start", "frames"), [(0, 27), (7, 6)])
def test_depth_of_missing_pictures_is_left_out_with_them(walk, tmp_path, start, frames):
    depths = walk.with_name("walk_depth")
    for number in (110, 111, 112):
        shutil.copyfile(depths / "walk.109.png", depths / f"walk.{number}.png")
    shown = [*range(101, 110), *range(113, 131)][start : start + frames]
    shot = ex4d.open_clip(walk, start=start, frames=frames, gaps="leave")
    assert np.allclose(shot.depth.depth[:, 0, 0], (2000 + 10 * np.array(shown)) / 1000)
    assert any("walk_depth has depth for the missing images of walk too" in note for note in shot.notes)
    job, named = job_of(walk, start=start, frames=frames, gaps="leave")
    assert [blob.name for blob in job.source.depth] == [f"walk.{number}.png" for number in shown]
    work = tmp_path / "work"
    work.mkdir()
    part = open_shot(gather(job, named.locate, work, in_place=True).source, job.source.settings)
    assert np.array_equal(part.depth.depth, shot.depth.depth)


def test_depth_in_the_clips_own_folder_goes_along_without_the_clips_pictures(walk, tmp_path):
    for depth in walk.with_name("walk_depth").iterdir():
        shutil.move(depth, walk / f"{depth.stem}_depth.png")
    chosen = walk / "walk.105_depth.png"
    for depth in (walk, chosen):
        named = NamedFiles()
        job = named.generate(SourceFiles(walk, depth), None, SourceSettings(start=2, frames=3), PathSettings("30"),
                             RenderSettings(), GenerateSettings("preview"))  # fmt: skip
        assert [blob.name for blob in job.source.depth] == [f"walk.{n}_depth.png" for n in (103, 104, 105)]
        shot = open_shot(SourceFiles(walk, depth), job.source.settings)
        assert np.allclose(shot.depth.depth[:, 0, 0], [3.03, 3.04, 3.05])
    alone = tmp_path / "alone.png"
    shutil.copyfile(walk / "walk.105.png", alone)
    job = named.generate(SourceFiles(alone, chosen), None, SourceSettings(), PathSettings("30"), RenderSettings(),
                         GenerateSettings("preview"))  # fmt: skip
    assert [blob.name for blob in job.source.depth] == [chosen.name]


def test_thousands_of_pictures_cost_only_those_of_the_range(tmp_path):
    folder = tmp_path / "long"
    folder.mkdir()
    png = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
    for number in range(3000):
        (folder / f"shot.{number:04d}.png").write_bytes(png + b"%d" % number)  # data after the end is not read
    job, named = job_of(folder, start=2000, frames=49)
    assert len(named.places) == len(job.source.clip) == 49
    assert job.source.clip[0].name == "shot.2000.png"
    assert len(encode(Submit(str(uuid.uuid4()), job_hash(job), job))) < 10_000
    work = tmp_path / "work"
    work.mkdir()
    shot = open_shot(gather(job, named.locate, work, in_place=True).source, job.source.settings)
    assert shot.notes[0] == "49 of the 3000 frames of long are used, beginning with frame 2000 (from 0 in the file)."


@pytest.mark.parametrize(
    ("size", "longest", "said"),
    [
        ((1280, 720), 640, "640x360 to 640x352 pixels (4 off the top, 4 off the bottom)"),
        ((50, 65), None, "49x64 to 48x64 pixels (1 off the right)"),
        ((512, 288), None, ""),
    ],
)
def test_the_pixels_that_are_cropped_to_multiples_of_16_are_told_and_only_where_there_are_any(size, longest, said):
    notes = note_on_crop(fit_frame(*size, longest))
    assert notes == ((f"The picture was cropped from {said}: both sides must be multiples of 16.",) if said else ())


def test_a_shot_says_that_its_pictures_were_cropped(walk):
    assert "(4 off the top, 4 off the bottom)" in " ".join(ex4d.open_clip(walk, longest_side=32, frames=2).notes)


def test_a_script_names_one_picture_of_a_sequence(walk):
    shot = ex4d.open_clip(walk / "walk.105.png", start=4, frames=3, step=2)
    assert shot.clip.stored.tolist() == [4, 6, 8]
    assert shot.clip.frames[:, 0, 0, 0].tolist() == [10, 14, 18]
    assert np.isclose(shot.depth.depth[:, 0, 0], [3.05, 3.07, 3.09]).all()


def test_a_range_beyond_the_end_is_refused_with_the_whole_length(walk, tmp_path):
    for settings, said in (({"start": 40}, "walk has 30 frames: start at frame 29"), ({"frames": 31}, "at most 30")):
        job, named = job_of(walk, **settings)
        work = tmp_path / str(settings)
        work.mkdir()
        with pytest.raises(InputError, match=said):
            open_shot(gather(job, named.locate, work).source, job.source.settings)


def test_a_take_of_a_part_is_made_again_though_the_folder_has_grown(walk, tmp_path):
    from ex4d.pipeline.again import again

    job, named = job_of(walk, start=7, frames=8)
    folders = [tmp_path / name for name in ("take", "work", "second", "links")]
    for folder in folders:
        folder.mkdir()
    first, work, second, links = folders
    run(job, gather(job, named.locate, work, in_place=True), first, Runtime(), silent)
    take.write_record(
        first / take.SIDECAR, take.with_inputs(take.read_record(first / take.SIDECAR), first, named.places)
    )
    shutil.copyfile(walk / "walk.101.png", walk / "walk.100.png")
    again(first, second, links, Runtime(), silent)
    assert (first / take.RESULT).read_bytes() == (second / take.RESULT).read_bytes()


def test_a_record_without_numbers_takes_its_pictures_as_they_are(walk, tmp_path):
    job, _named = job_of(walk, frames=10)
    pictures = sorted(walk.iterdir())[:10]  # with the gap
    old = replace(job.source, clip=tuple(map(blob_of, pictures)), depth=(), numbering=None)
    places = {blob_of(file).sha256: file for file in pictures}
    work = tmp_path / "work"
    work.mkdir()
    files = gather(Reconstruct(old), lambda blob: places[blob.sha256], work).source
    clip = open_shot(files, replace(old.settings, frames=None)).clip
    assert len(clip.frames) == clip.source_frames == 10
    assert not any("Missing" in note for note in clip.notes)


def test_the_preview_knows_what_moves_with_other_frames_off_too_but_not_where_the_release_is_reproduced(walk):
    shot = open_shot(SourceFiles(walk), SourceSettings(frames=1), look_beside=True)
    shot = replace(shot, moving=np.ones(shot.depth.depth.shape, np.bool_))
    off = scene_of(shot, None, PathSettings("30"), RenderSettings(persistence="off"))
    assert off.persistence == "off"
    assert off.moving is not None
    assert off.moving.all()
    assert scene_of(shot, None, PathSettings("30"), RenderSettings(release_compat=True)).moving is None


def test_another_aspect_is_cropped_or_squeezed_and_told(walk):
    shot = open_shot(SourceFiles(walk), SourceSettings(frames=1), look_beside=True)
    scene = scene_of(shot, None, PathSettings("30"), RenderSettings())
    k = scene.path.intrinsics[0]
    cropped, said = resized(scene, 96, 96, "crop")
    assert said == (
        "The result is 96x96 and the clip 64x48, another aspect: 25% of the picture was cropped at the sides.",
    )
    assert np.allclose(cropped.path.intrinsics[0], [[2 * k[0, 0], 0, 48], [0, 2 * k[1, 1], 48], [0, 0, 1]])
    squeezed, said = resized(scene, 96, 96, "squeeze")
    assert said == (
        "The result is 96x96 and the clip 64x48, another aspect: the picture was squeezed to 75% of its width.",
    )
    assert np.allclose(squeezed.path.intrinsics[0], [[1.5 * k[0, 0], 0, 48], [0, 2 * k[1, 1], 48], [0, 0, 1]])
    same, said = resized(scene, 128, 96, "crop")
    assert said == ()
    assert np.allclose(same.path.intrinsics[0][:2], 2 * k[:2])


@pytest.mark.parametrize(
    ("generation", "compat", "squeezed"),
    [({}, False, False), ({"fit": "squeeze"}, False, True), ({}, True, True)],
)
def test_a_take_of_another_aspect_keeps_circles_round_unless_it_is_squeezed(tmp_path, generation, compat, squeezed):
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.circle(picture, (32, 24), 12, (255, 255, 255), -1)
    write_movie(tmp_path / "clip.mp4", np.stack([picture]), Fraction(24))
    np.savez(tmp_path / "clip.depth.npz", depth=np.full((1, HEIGHT, WIDTH), 5, np.float32))
    named = NamedFiles()
    job = named.generate(
        SourceFiles(tmp_path / "clip.mp4"),
        None,
        SourceSettings(),
        PathSettings("30"),
        RenderSettings(release_compat=compat),
        GenerateSettings("preview", width=96, height=96, **generation),
    )
    for folder in ("out", "work"):
        (tmp_path / folder).mkdir()
    facts = run(job, gather(job, named.locate, tmp_path / "work"), tmp_path / "out", Runtime(), silent)
    white = read_movie(tmp_path / "out" / take.COLOUR).frames[0, ..., 0] > 127
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    assert abs(np.ptp(columns) / np.ptp(rows) - (0.75 if squeezed else 1)) < 0.08
    assert any(("squeezed" if squeezed else "cropped") in note for note in facts["notes"])


def test_a_record_from_before_there_was_a_choice_squeezes(walk, tmp_path):
    job, named = job_of(walk, frames=1)
    for folder in ("out", "work"):
        (tmp_path / folder).mkdir()
    run(job, gather(job, named.locate, tmp_path / "work"), tmp_path / "out", Runtime(), silent)
    path = tmp_path / "out" / take.SIDECAR
    assert take.read_record(path).job.generation.fit == "crop"
    plain = json.loads(path.read_text())
    del plain["job"]["generation"]["fit"]
    path.write_text(json.dumps(plain))
    assert take.read_record(path).job.generation.fit == "squeeze"


@pytest.fixture
def conditioning(tmp_path) -> tuple[np.ndarray, np.ndarray]:
    """Colour and mask as recon makes them: all of frame 0 is real, and less and less of the others."""
    rng = np.random.default_rng(4)
    colour = rng.integers(60, 220, (5, HEIGHT, WIDTH, 3), np.uint8)
    mask = np.full((5, HEIGHT, WIDTH), 255, np.uint8)
    for t in range(5):
        mask[t, :, WIDTH - 8 * t :] = 0
    return colour * (mask[..., None] > 0), mask


def fill(folder: Path, colour: np.ndarray, mask: np.ndarray, **generation) -> tuple[dict, np.ndarray]:
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    write_movie(folder / "color.mp4", colour, Fraction(24))
    write_movie(folder / "mask.mp4", mask, Fraction(24), lossless=True)
    named = NamedFiles()
    job = named.fill(folder / "color.mp4", folder / "mask.mp4", None, GenerateSettings("preview", **generation), False)
    assert isinstance(job, Fill)
    facts = run(job, gather(job, named.locate, folder / "work"), folder / "out", Runtime(), silent)
    return facts, read_movie(folder / "out" / take.MASK).frames[..., 0]


def test_an_inverted_mask_is_noticed_and_read_the_other_way_round(conditioning, tmp_path):
    colour, mask = conditioning
    right, real = fill(tmp_path / "right", colour, mask)
    assert not any("inverted" in note for note in right["notes"])
    inverted, same = fill(tmp_path / "inverted", colour, 255 - mask)
    assert "mask.mp4 is inverted: it is black where color.mp4 shows something" in " ".join(inverted["notes"])
    assert np.array_equal(real, same)
    assert inverted["coverage"] == right["coverage"] == [1, 0.875, 0.75, 0.625, 0.5]


def test_an_inverted_mask_of_a_dark_clip_is_noticed_by_its_first_frame(conditioning, tmp_path):
    colour, mask = conditioning
    dark = np.where(colour > 200, colour, colour // 16)
    assert "is inverted" in " ".join(fill(tmp_path / "dark", dark, 255 - mask)[0]["notes"])
    assert "is inverted" not in " ".join(fill(tmp_path / "right", dark, mask)[0]["notes"])


def test_colour_and_mask_are_squeezed_and_fewer_frames_are_told(conditioning, tmp_path):
    colour, mask = conditioning
    facts, real = fill(tmp_path / "a", np.repeat(colour, 12, 0), np.repeat(mask, 12, 0), width=96, height=96)
    assert real.shape == (49, 96, 96)
    said = " ".join(facts["notes"])
    assert "49 of the 60 frames of color.mp4 are used, beginning with frame 0 (from 0 in the file)." in said
    assert "squeezed to 75% of its width" in said
