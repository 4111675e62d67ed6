"""Records of takes: what they hold, what 0.1 wrote, and making a take again."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.media.movie import write_movie
from ex4d.pipeline import since_0_1, take
from ex4d.pipeline.again import again
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import JobFiles, SourceFiles
from ex4d.pipeline.requests import Generate, Source, blobs_of
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
    with pytest.raises(InputError, match=r"clip\.mp4 is gone: .*--input_video"):
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
