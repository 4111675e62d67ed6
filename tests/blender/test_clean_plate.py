"""Clean plates in the add-on: takes refer to the file, and a missing one is reported."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import announced
import pytest
import shots
from test_camera_search import shot  # noqa: F401 - a fixture
from test_panels import draw
from test_takes import deliver, take

from blender_addon.scene import live_camera
from blender_addon.shot import new_shot, takes
from blender_addon.ui import panels
from blender_addon.work import queue, session, state
from ex4d.errors import InputError
from ex4d.jobs.messages import Seen
from ex4d.pipeline.hashing import Hasher, blob_of
from ex4d.pipeline.requests import Blob, Generate, Source
from ex4d.pipeline.take import CAMERA, PLATE, SIDECAR, TakeRecord, with_inputs, write_record


def prepared(scene, preview=False):
    steps = takes.prepare(takes.request_take(scene, preview))
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
        (folder / f"frame_{number:05d}.png").write_bytes(bytes([number]))  # their content is not read here
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


def said(panel):
    return " ".join(draw(panel).labels)


def test_with_other_frames_off_the_plate_is_neither_read_nor_sent_and_the_panel_says_so(scene, shot, tmp_path):  # noqa: F811
    scene.ex4d.plate_path = str(tmp_path / "gone.mov")  # would be refused
    sentence = "The clean plate is not used while Other Frames is off."
    assert sentence not in said(panels.draw_source_camera)
    scene.ex4d.persistence = "off"
    assert prepared(scene)[1].source.plate == ()
    assert sentence in said(panels.draw_source_camera)
    scene.ex4d.persistence = "fill"
    with pytest.raises(InputError, match=r"gone\.mov"):
        prepared(scene)


NEXT = "Live Coverage does not count the clean plate yet: press Preview Path."
NOT_USED = "The clean plate was not used, so Live Coverage does not count it: see the take's notes."
MISSING = "This server does not have the clean plate: press Preview Path."


def test_the_panel_says_from_when_on_live_coverage_counts_the_plate(scene, shot):  # noqa: F811
    facts = scene.ex4d
    for plate, shown, persistence, expected in (
        ("", True, "fill", False),
        ("/a/plate.png", True, "fill", True),
        ("/a/plate.png", True, "all", True),
        ("/a/plate.png", True, "off", False),
        ("/a/plate.png", False, "fill", False),
    ):
        facts.plate_path, facts.show_coverage, facts.persistence = plate, shown, persistence
        assert (NEXT in said(panels.draw_check)) == expected


@pytest.fixture
def with_plate(scene, shot, tmp_path):  # noqa: F811
    """The scene with a clean plate and with a known mask of what moves."""
    plate, facts = tmp_path / "plate.png", scene.ex4d
    plate.write_bytes(b"plate")
    source = json.loads(facts.source)
    source["moving"] = [{"sha256": "c" * 64, "size": 1, "name": "moving.mp4"}]
    facts.source, facts.plate_path, facts.show_coverage = json.dumps(source), str(plate), True
    return scene


def result(scene, folder, preview=True, placed=b"placed"):
    """The request and the result of a take or path preview, with the file of the placed plate unless it is None."""
    _request, update = deliver(scene, folder, preview=preview)
    request, _job = prepared(scene, preview)
    if placed is not None:
        (folder / PLATE).write_bytes(placed)
        update = replace(update, files={**update.files, PLATE: folder / PLATE})
    return request, update


def bring_in(request, update):
    for _step in takes.bring_in(request, update):
        pass


def plate_of_looks(scene):
    return live_camera.Along(scene, live_camera.standing(scene, None)).look(3).plate


@pytest.mark.parametrize("preview", [True, False])
def test_a_placed_plate_is_kept_with_the_scene_and_asked_for_until_the_plate_changes(with_plate, tmp_path, preview):
    scene, facts = with_plate, with_plate.ex4d
    before = live_camera.standing(scene, None)
    assert (before.plate, bool(before.others)) == (None, True)
    bring_in(*result(scene, tmp_path / "made", preview))
    sha256 = hashlib.sha256(b"placed").hexdigest()
    after = live_camera.standing(scene, before)
    assert (after.plate, plate_of_looks(scene)) == (sha256, sha256)
    assert live_camera.standing(scene, after) is after
    assert NEXT not in said(panels.draw_check)
    assert NOT_USED not in said(panels.draw_check)
    plate, facts.plate_path = facts.plate_path, str(tmp_path / "other.png")
    assert live_camera.standing(scene, after).plate is None
    assert NEXT in said(panels.draw_check)
    facts.plate_path = plate
    assert plate_of_looks(scene) == sha256
    facts.persistence = "off"
    assert plate_of_looks(scene) is None


@pytest.mark.parametrize("what", ["clip", "depth", "camera", "poses"])
def test_a_placed_plate_is_dropped_with_the_clip_the_depth_and_the_source_camera(with_plate, tmp_path, what):
    scene, facts = with_plate, with_plate.ex4d
    bring_in(*result(scene, tmp_path / "made"))
    assert plate_of_looks(scene)
    if what == "poses":
        facts.path = json.dumps(shots.walk().tolist())
    else:
        blob = {"sha256": "d" * 64, "size": 1, "name": "other.npz"}
        facts.source = json.dumps({**json.loads(facts.source), what: blob if what == "camera" else [blob]})
    assert plate_of_looks(scene) is None
    assert NEXT in said(panels.draw_check)


def test_a_result_for_another_plate_or_source_does_not_count(with_plate, tmp_path):
    scene, facts = with_plate, with_plate.ex4d
    late, plate = result(scene, tmp_path / "late"), facts.plate_path
    other = tmp_path / "other.png"
    other.write_bytes(b"other")
    facts.plate_path = str(other)
    bring_in(*late)
    assert not facts.placed_plate
    late, source, facts.plate_path = result(scene, tmp_path / "later"), facts.source, plate
    facts.plate_path = str(other)
    facts.source = json.dumps({**json.loads(source), "moving": []})
    bring_in(*late)
    assert not facts.placed_plate
    facts.source = source
    bring_in(*result(scene, tmp_path / "now"))
    assert plate_of_looks(scene)
    facts.plate_path = ""
    bring_in(*result(scene, tmp_path / "without", placed=None))
    facts.plate_path = str(other)
    assert plate_of_looks(scene), "a take without a plate says nothing about the plate"


def test_a_folder_in_which_two_images_are_the_same_counts_too(with_plate, tmp_path):
    folder = tmp_path / "plates"
    folder.mkdir()
    for number, content in enumerate((b"same", b"same", b"other")):
        (folder / f"frame_{number:05d}.png").write_bytes(content)
    with_plate.ex4d.plate_path = str(folder)
    late = result(with_plate, tmp_path / "late")
    bring_in(*result(with_plate, tmp_path / "made"))
    assert plate_of_looks(with_plate)
    with_plate.ex4d.placed_plate = ""
    (folder / "frame_00003.png").write_bytes(b"added")
    bring_in(*late)
    assert not with_plate.ex4d.placed_plate


def test_a_plate_that_was_not_placed_is_not_promised_again(with_plate, tmp_path):
    scene = with_plate
    bring_in(*result(scene, tmp_path / "made", placed=None))
    assert plate_of_looks(scene) is None
    assert NOT_USED in said(panels.draw_check)
    assert NEXT not in said(panels.draw_check)


def test_a_new_scene_knows_no_placed_plate(with_plate, tmp_path):
    bring_in(*result(with_plate, tmp_path / "made"))
    assert with_plate.ex4d.placed_plate
    assert not new_shot.make_scene("Other").ex4d.placed_plate


def test_a_plate_belongs_to_its_clip(scene, addon, tmp_path):
    facts = scene.ex4d
    facts.plate_path = str(tmp_path / "plates")
    cleared = "The clean plate plates was cleared: it belongs to the clip that was open before."
    assert cleared not in shots.said_when_opened(tmp_path), "chosen before the first clip, it is meant for that"
    assert facts.plate_path
    assert cleared not in shots.said_when_opened(tmp_path), "the same clip as a new shot"
    shots.open_again(tmp_path, shots.small_depth(), of=13)
    assert facts.plate_path
    assert cleared in shots.said_when_opened(tmp_path / "other")
    assert not facts.plate_path
    facts.plate_path, facts.seed = "/a/plate.png", 7
    other = new_shot.make_scene("Other").ex4d
    assert (other.plate_path, other.seed) == ("", 7), "a new shot is of another clip"
    assert facts.plate_path


def test_a_queued_take_with_a_large_plate_is_handed_over_in_steps_and_the_plate_is_read_once(
    scene,
    shot,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    plate = tmp_path / "plate.mov"
    plate.write_bytes(bytes(40 << 20))
    scene.ex4d.plate_path = str(plate)
    read, submitted = [], []
    step = Hasher.step

    def counted(hasher, size=1 << 20):
        read.append(hasher.path)
        return step(hasher, size)

    def submit(job, files, **about):
        submitted.append((job, files))
        return f"job {len(submitted) + 1}"

    monkeypatch.setattr(Hasher, "step", counted)
    announced.by()
    now = session.current()
    monkeypatch.setattr(session.Session, "connect", lambda self: SimpleNamespace(submit=submit))
    first, *others = (takes.request_take(scene, False) for _ in range(3))
    now.state = state.State("working", first, "job 1")
    for request in others:
        now.dispatch(state.Pressed(request))
    assert read == []  # Blender is not blocked
    now.tick(0)
    assert len(read) == 1
    now.dispatch(queue.CancelWaiting(others[0].path))
    later = takes.request_take(scene, False)
    now.dispatch(state.Pressed(later))
    for _ in range(200):
        now.tick(0)
    assert now.queue.lost == ()
    assert read.count(plate) == 41  # a megabyte at a time, and a final empty read
    assert [Path(files[job.path.sha256]) for job, files in submitted] == [Path(others[1].path), Path(later.path)]
    assert {job.source.plate for job, _files in submitted} == {(blob_of(plate),)}
    assert [each.job_id for each in now.queue.waiting] == ["job 2", "job 3"]
    now.state, now.queue = state.State(), queue.Queue()


def test_the_panel_says_that_a_server_does_not_have_the_plate_and_no_longer_once_it_has(with_plate, tmp_path):
    bring_in(*result(with_plate, tmp_path / "made"))
    along = live_camera.Along(with_plate, live_camera.standing(with_plate, None))
    looking = session.current().coverage._looking
    assert MISSING not in said(panels.draw_check)
    for frame, has_plate in enumerate((False, True)):
        look = along.look(frame)
        looking.want(look)
        (sent,) = looking.next(0)
        looking.hear(Seen(sent.number, look.width, look.height, 0.5, b"", has_plate), 0)
        assert (MISSING in said(panels.draw_check)) == (not has_plate)
