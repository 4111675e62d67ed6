"""A clean plate in the add-on: takes name its file, and one that is gone is told."""

import json
from pathlib import Path

import pytest
from test_camera_search import shot  # noqa: F401 - a fixture
from test_panels import draw
from test_takes import take

from blender_addon.shot import takes
from blender_addon.ui import panels
from ex4d.errors import InputError
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Generate, Source
from ex4d.pipeline.take import CAMERA, SIDECAR, TakeRecord, with_inputs, write_record


def prepared(scene):
    steps = takes.prepare(takes.request_take(scene, False))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_take_names_the_plate_and_knows_where_it_lies(scene, shot, tmp_path):  # noqa: F811
    assert json.loads(prepared(scene)[0].source)["plate"] == []
    folder = tmp_path / "plate"
    folder.mkdir()
    for number in range(2):
        (folder / f"frame_{number:05d}.png").write_bytes(bytes([number]))  # they are not looked into here
    scene.ex4d.plate_path = str(folder)
    request, job = prepared(scene)
    assert [Path(request.files[blob.sha256]).name for blob in job.source.plate] == [
        "frame_00000.png",
        "frame_00001.png",
    ]
    assert json.loads(request.source)["plate"] == [vars(blob) for blob in job.source.plate]
    scene.ex4d.plate_path = str(folder / "frame_00001.png")
    assert prepared(scene)[1].source.plate == job.source.plate[1:]


def test_a_plate_that_is_gone_is_named(scene, shot, tmp_path):  # noqa: F811
    scene.ex4d.plate_path = str(tmp_path / "gone.mov")
    with pytest.raises(InputError, match=r"There is no clean plate .*gone\.mov: choose another file as Clean Plate"):
        prepared(scene)


def test_a_take_that_is_made_again_knows_where_its_plate_lies(scene, shot, tmp_path):  # noqa: F811
    take(scene, tmp_path / "one")
    plate = tmp_path / "plate.png"
    plate.write_bytes(b"plate")
    folder, blob = takes.take_folder(scene, 1), blob_of(plate)
    source = Source((Blob("0" * 64, 1, "clip.mp4"),), plate=(blob,))
    record = TakeRecord(
        Generate(source, blob_of(folder / CAMERA)), "a", "a", False, 0, {}, 96, 64, 13, "24", [1.0], [], {}
    )
    write_record(folder / SIDECAR, with_inputs(record, folder, {blob.sha256: plate}))
    request = takes.request_again(scene, 1)
    assert Path(request.files[blob.sha256]) == plate
    assert scene.ex4d.input_files.items() <= request.files.items()


def test_the_plate_is_asked_for_where_the_search_tells_what_moves(scene, shot):  # noqa: F811
    for motion, shown in (("FOUND", True), ("TRIPOD", True), ("STILL", False)):
        scene.ex4d.motion = motion
        assert ("plate_path" in draw(panels.draw_source_camera).shown) == shown
