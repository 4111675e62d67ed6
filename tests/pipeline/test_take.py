"""Records of takes: their content, those written by 0.1, and remaking a take."""

import json
import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.media.movie import read_movie, write_movie, write_png_frames
from ex4d.pipeline import since_0_1, take
from ex4d.pipeline.again import again
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import JobFiles, SourceFiles, gather
from ex4d.pipeline.requests import Fill, Generate, Source, blobs_of
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings
from ex4d.plain import from_plain
from ex4d.progress import silent

OLD = Path(__file__).resolve().parent.parent / "data" / "shot_of_0_1"
OLD_TAKES = sorted(OLD.glob("ex4d/*/takes/take_*/take.json"))


@pytest.fixture
def made(tmp_path, moving_box) -> Path:
    """A folder with a clip, its depth, and a take of them."""
    clip, depth = moving_box
    shoot = tmp_path / "shoot"
    shoot.mkdir()
    write_movie(shoot / "clip.mp4", clip.frames, Fraction(24))
    np.savez(shoot / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics[0])
    files = [shoot / "clip.mp4", shoot / "clip.depth.npz"]
    source = Source(*((blob_of(file),) for file in files))
    job = Generate(source, preset=PathSettings(cam="60"), generation=GenerateSettings(seed=3))
    folder = shoot / "take"
    folder.mkdir()
    run(job, JobFiles(SourceFiles(*files)), folder, Runtime(), silent)
    record = take.read_record(folder / take.SIDECAR)
    places = {blob_of(file).sha256: file for file in files}
    take.write_record(folder / take.SIDECAR, take.with_inputs(record, folder, places))
    return shoot


def once_more(folder: Path, out: Path, video: Path | None = None) -> Path:
    work = out.with_name(f"{out.name}_work")
    out.mkdir()
    work.mkdir()
    again(folder, out, work, Runtime(), silent, video)
    return out


def same(one: Path, other: Path) -> bool:
    names = [path.name for path in one.iterdir() if path.name != take.SIDECAR]
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_a_take_made_again_has_the_same_bytes(made, tmp_path):
    assert same(made / "take", once_more(made / "take", tmp_path / "again"))


def test_a_take_that_moved_with_its_clip_is_made_again(made, tmp_path):
    record = json.loads((made / "take" / take.SIDECAR).read_text())
    assert sorted(record["inputs"].values()) == ["../clip.depth.npz", "../clip.mp4"]
    shutil.move(made, tmp_path / "elsewhere")
    assert same(tmp_path / "elsewhere" / "take", once_more(tmp_path / "elsewhere" / "take", tmp_path / "again"))


def test_a_take_made_again_can_be_made_again(made, tmp_path):
    first = once_more(made / "take", tmp_path / "again")
    assert same(first, once_more(first, tmp_path / "and_again"))


def test_a_clip_that_moved_is_linked_again_by_its_content(made, tmp_path):
    moved = made / "take_of_the_day.mp4"
    (made / "clip.mp4").rename(moved)
    with pytest.raises(InputError, match=r"clip\.mp4 is gone: bring it back, or say where"):
        once_more(made / "take", tmp_path / "lost")
    assert same(made / "take", once_more(made / "take", tmp_path / "again", moved))


def test_another_clip_of_the_same_name_is_refused(made, tmp_path, moving_box):
    (tmp_path / "other").mkdir()
    write_movie(tmp_path / "other" / "clip.mp4", moving_box[0].frames[::-1], Fraction(24))
    with pytest.raises(InputError, match="is not the file that the take was made from"):
        once_more(made / "take", tmp_path / "a", tmp_path / "other" / "clip.mp4")
    shutil.copyfile(tmp_path / "other" / "clip.mp4", made / "clip.mp4")
    with pytest.raises(InputError, match="has changed since the take was made"):
        once_more(made / "take", tmp_path / "b")


@pytest.mark.parametrize("file", OLD_TAKES, ids=lambda file: file.parent.name)
def test_a_record_of_0_1_is_read_with_every_setting(file):
    old = json.loads(file.read_text())
    record = take.read_record(file)
    job, source = old["job"], old["job"]["source"]
    assert record.generator == old["generator"]
    assert record.job.generation.seed == job["seed"]
    assert record.job.generation.keep_source == job["keep_source"]
    assert record.job.generation.fps == job["fps"]
    assert record.job.generation.options == {"wan": {"quality": job["quality"], "model_size": job["model_size"]}}
    settings = record.job.source.settings
    assert (settings.start, settings.frames, settings.longest_side) == (
        source["start"],
        source["frames"],
        source["longest_side"],
    )
    assert settings.encoding.unit == source["reading"]["unit"]
    assert settings.encoding.convention == source["reading"]["convention"]
    assert [blob.sha256 for blob in blobs_of(record.job)] == [
        blob["sha256"] for blob in (*source["clip"], *source["depth"], source["camera"], job["path"]) if blob
    ]


def test_a_source_of_0_1_is_read_and_a_new_one_stays_as_it_is(made):
    old = json.loads(OLD_TAKES[0].read_text())["job"]["source"]
    new = since_0_1.source(old)
    assert from_plain(Source, new, "source").settings.frames == old["frames"]
    assert since_0_1.source(new) is new


def test_a_record_survives_being_written_and_read(made, tmp_path):
    record = take.read_record(made / "take" / take.SIDECAR)
    changed = replace(record, notes=["Größe"], seconds={"a": 0.5})
    take.write_record(tmp_path / take.SIDECAR, changed)
    assert take.read_record(tmp_path / take.SIDECAR) == changed


def taken(job: Generate | Fill, paths: list[Path], folder: Path) -> Path:
    """A take in a folder, whose record says where its files are."""
    places = {blob_of(path).sha256: path for path in paths}
    links = folder.with_name("links")
    for new in (folder, links):
        new.mkdir()
    run(job, gather(job, lambda blob: places[blob.sha256], links, in_place=True), folder, Runtime(), silent)
    record = take.read_record(folder / take.SIDECAR)
    take.write_record(folder / take.SIDECAR, take.with_inputs(record, folder, places))
    return folder


def test_the_depth_file_that_moved_with_its_clip_is_found_beside_it(made, tmp_path):
    (tmp_path / "new").mkdir()
    for name in ("clip.mp4", "clip.depth.npz"):
        (made / name).rename(tmp_path / "new" / name)
    assert same(made / "take", once_more(made / "take", tmp_path / "again", tmp_path / "new" / "clip.mp4"))


@pytest.fixture
def pictures(tmp_path, moving_box) -> Path:
    """A folder with rgb/ and dep/ whose images have the same names, and a take of them."""
    clip, depth = moving_box
    shoot = tmp_path / "rd"
    for name in ("rgb", "dep"):
        (shoot / name).mkdir(parents=True)
    for number, (frame, distance) in enumerate(zip(clip.frames, depth.depth, strict=True)):
        cv2.imwrite(str(shoot / "rgb" / f"f_{number}.png"), frame)
        cv2.imwrite(str(shoot / "dep" / f"f_{number}.png"), (distance * 1000).astype(np.uint16))
    rgb, dep = (sorted((shoot / name).iterdir()) for name in ("rgb", "dep"))
    source = Source(tuple(map(blob_of, rgb)), tuple(map(blob_of, dep)), folder="rgb")
    taken(Generate(source), [*rgb, *dep], shoot / "take")
    return shoot


def test_pictures_that_moved_are_linked_again_though_their_depth_has_the_same_names(pictures, tmp_path):
    shutil.move(pictures / "rgb", tmp_path / "new")
    assert same(pictures / "take", once_more(pictures / "take", tmp_path / "again", tmp_path / "new"))


def test_pictures_and_depth_that_moved_are_found_in_the_folder_that_holds_both(pictures, tmp_path):
    (tmp_path / "new").mkdir()
    for name in ("rgb", "dep"):
        shutil.move(pictures / name, tmp_path / "new" / name)
    assert same(pictures / "take", once_more(pictures / "take", tmp_path / "again", tmp_path / "new"))


def test_depth_that_is_gone_is_not_taken_for_the_pictures_of_the_same_names(pictures, tmp_path):
    shutil.move(pictures / "rgb", tmp_path / "new")
    (pictures / "dep" / "f_3.png").unlink()
    with pytest.raises(InputError, match=r"dep/f_3\.png is gone"):
        once_more(pictures / "take", tmp_path / "again", tmp_path / "new")


def test_colour_and_mask_of_the_same_names_are_linked_again_by_the_folder_that_holds_both(made, tmp_path):
    view = made / "view"
    view.mkdir()
    for what in ("colour", "mask"):
        write_png_frames(view / what, read_movie(made / "take" / f"{what}.mp4").frames)
    colour, mask = (sorted((view / what).iterdir()) for what in ("colour", "mask"))
    job = Fill(tuple(map(blob_of, colour)), tuple(map(blob_of, mask)))
    folder = taken(job, [*colour, *mask], made / "filled")
    view.rename(tmp_path / "moved")
    assert same(folder, once_more(folder, tmp_path / "again", tmp_path / "moved"))


def test_a_take_that_was_written_through_a_link_of_a_folder_is_found_by_its_real_path(made, tmp_path):
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "deep" / "down" / "takes").mkdir()
    os.symlink(tmp_path / "deep" / "down" / "takes", tmp_path / "takes")
    shutil.copytree(made / "take", tmp_path / "takes" / "one")
    record = take.read_record(made / "take" / take.SIDECAR)
    places = {blob.sha256: made / blob.name for blob in blobs_of(record.job)}
    linked, real = tmp_path / "takes" / "one", tmp_path / "deep" / "down" / "takes" / "one"
    take.write_record(linked / take.SIDECAR, take.with_inputs(record, linked, places))
    record = take.read_record(linked / take.SIDECAR)
    for folder in (linked, real):
        assert [take.place_of(record, folder, blob) for blob in blobs_of(record.job)] == list(places.values())


def test_places_stay_as_the_user_names_them_where_clip_and_take_are_reached_by_the_same_link(made, tmp_path):
    os.symlink(made, tmp_path / "link")
    record = take.read_record(made / "take" / take.SIDECAR)
    places = {blob.sha256: tmp_path / "link" / blob.name for blob in blobs_of(record.job)}
    record = take.with_inputs(record, tmp_path / "link" / "take", places)
    assert sorted(record.inputs.values()) == ["../clip.depth.npz", "../clip.mp4"]
    place = take.place_of(record, tmp_path / "link" / "take", record.job.source.clip[0])
    assert place == tmp_path / "link" / "clip.mp4"


GENERATION = ("job", "generation")


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("inputs",), [], "take.inputs must be a map, not list."),
        (("inputs",), None, "take.inputs must be a map, not NoneType."),
        (("inputs",), {"a": 1}, "take.inputs.a must be of type str, not int."),
        (("coverage",), ["all"], "take.coverage[0] must be of type float, not str."),
        (("notes",), "none", "take.notes must be a list, not str."),
        (("seconds",), {"a": "b"}, "take.seconds.a must be of type float, not str."),
        (("depth",), {"provider": None}, "take.depth.provider must be of type str, not NoneType."),
        (("settings",), 3, "take.settings must be of type dict, not int."),
        (("width",), 10**400, "take.width must be between 1 and"),
        (("fps",), "fast", "take.fps must be a frame rate such as 24"),
        (("mood",), "good", "take has no field 'mood' in this version."),
        (("job", "kind"), "preview", "take.job.kind must be one of generate, fill, not 'preview'."),
        ((*GENERATION, "seed"), 10**400, "Seed is far too large a number."),
        ((*GENERATION, "width"), 64, "Width and height of the result belong together: give both or neither."),
        ((*GENERATION, "x"), 1, "There is no setting 'x' here; known are: "),
        ((*GENERATION, "fps"), "\u0663", "'\u0663' is not a frame rate"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_a_record_that_was_edited_wrongly_says_which_field_is_wrong(made, where, value, said):
    file = made / "take" / take.SIDECAR
    data = inner = json.loads(file.read_text())
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    file.write_text(json.dumps(data))
    with pytest.raises(InputError) as caught:
        take.read_record(file)
    assert str(caught.value).startswith(f"{file} is the record of a take that this version cannot read: {said}")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": 2, "seed": ' + "9" * 5000 + "}", '{"format": "2"}', "\xff"]
)
def test_what_is_no_record_at_all_is_refused(tmp_path, text):
    (tmp_path / take.SIDECAR).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"take\.json is not the record of a take\.$"):
        take.read_record(tmp_path / take.SIDECAR)
