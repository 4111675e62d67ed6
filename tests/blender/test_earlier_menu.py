"""The Earlier Take menu: the takes it offers, what goes into a job, and messages for takes that cannot be used."""

import json
from pathlib import Path

import bpy
import pytest
from test_camera_search import shot  # noqa: F401 - a fixture
from test_panels import draw
from test_takes import take

from blender_addon.shot import earlier, takes
from blender_addon.ui import panels
from ex4d.errors import InputError
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, EarlierTake, Generate, Source
from ex4d.pipeline.take import CAMERA, EARLIER_DEPTH, RESULT, SIDECAR, TakeRecord, with_inputs, write_record


@pytest.fixture
def with_take(scene, shot, tmp_path):  # noqa: F811
    """The folder of take 1 of the shot."""
    take(scene, tmp_path / "one")
    folder = takes.take_folder(scene, 1)
    source = Source((Blob("0" * 64, 1, "clip.mp4"),))
    write_record(folder / SIDECAR, record_of(Generate(source, blob_of(folder / CAMERA))))
    return folder


def record_of(job):
    return TakeRecord(job, "preview", "Preview", True, 0, {}, 96, 64, 13, "24", [1.0], [], {})


def prepared(scene):
    steps = takes.prepare(takes.request_take(scene, False))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_the_menu_offers_the_takes_of_the_shot_and_is_there_once_there_are_any(scene, shot, tmp_path):  # noqa: F811
    assert "earlier" not in draw(panels.draw_generator).shown
    take(scene, tmp_path / "one")
    take(scene, tmp_path / "view", preview=True)
    assert "earlier" in draw(panels.draw_generator).shown
    assert earlier.choices(scene.ex4d) == [(1, scene.ex4d.takes[0].title)]
    assert scene.ex4d.earlier == "NONE"
    scene.ex4d.earlier = "1"
    assert (scene.ex4d.earlier, earlier.chosen(scene.ex4d)) == ("1", 1)
    scene.ex4d.persistence = "off"
    assert "earlier" not in draw(panels.draw_generator).shown
    scene.ex4d.shot = "another"
    assert scene.ex4d.earlier == "NONE"


def test_a_job_names_the_files_of_the_earlier_take_by_content_and_knows_where_they_lie(scene, with_take):
    assert json.loads(prepared(scene)[0].source)["earlier"] is None
    scene.ex4d.earlier = "1"
    request, job = prepared(scene)
    assert job.source.earlier == EarlierTake(
        blob_of(with_take / RESULT), blob_of(with_take / CAMERA), None, is_preview=True
    )
    assert Path(request.files[job.source.earlier.result.sha256]) == with_take / RESULT
    assert Path(request.files[job.source.earlier.camera.sha256]) in (with_take / CAMERA, Path(request.path))
    assert request.earlier == ""
    scene.ex4d.persistence = "off"
    assert prepared(scene)[1].source.earlier is None


def test_an_earlier_take_that_is_gone_or_of_another_part_is_told(scene, with_take):
    scene.ex4d.earlier = "1"
    entry = scene.ex4d.takes[0]
    entry.start = 3
    with pytest.raises(InputError, match="shows another part of the clip: choose another Earlier Take, or None"):
        takes.request_take(scene, False)
    entry.start, entry.moved = 0, json.dumps([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(InputError, match="was made before the shot was opened again"):
        takes.request_take(scene, False)
    entry.moved = ""
    request = takes.request_take(scene, False)
    (with_take / RESULT).unlink()
    with pytest.raises(InputError, match=r"result\.mp4 of the earlier take is gone"):
        next(takes.prepare(request))
    with pytest.raises(InputError, match=r"The files of .* are gone: choose another Earlier Take, or None"):
        takes.request_take(scene, False)


def test_a_take_that_is_made_again_brings_the_depth_of_its_earlier_take_along(scene, with_take, tmp_path):
    take(scene, tmp_path / "two")
    second = takes.take_folder(scene, 2)
    named = EarlierTake(blob_of(with_take / RESULT), blob_of(with_take / CAMERA), is_preview=True)
    source = Source((Blob("0" * 64, 1, "clip.mp4"),), earlier=named)
    known = {named.result.sha256: with_take / RESULT, named.camera.sha256: with_take / CAMERA}
    record = record_of(Generate(source, blob_of(second / CAMERA)))
    write_record(second / SIDECAR, with_inputs(record, second, known))
    (second / EARLIER_DEPTH).write_bytes(b"depth")
    request = takes.request_again(scene, 2)
    depth = blob_of(second / EARLIER_DEPTH)
    assert json.loads(request.source)["earlier"]["depth"] == vars(depth)
    assert {sha: Path(path) for sha, path in request.files.items()}.items() >= {
        **known, depth.sha256: second / EARLIER_DEPTH,
    }.items()  # fmt: skip


def test_the_choice_is_kept_in_the_file(scene, with_take, tmp_path):
    scene.ex4d.earlier = "1"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert bpy.context.scene.ex4d.earlier == "1"
