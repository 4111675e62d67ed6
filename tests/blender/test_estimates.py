"""Estimates of time and disk space before long tasks, learned from finished jobs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import announced
import bpy
import numpy as np
import pytest
import shots
from test_panels import draw
from test_takes import deliver

from blender_addon.shot import asking, estimates, part, takes
from blender_addon.ui import open_dialog, panels
from blender_addon.ui.preferences import preferences
from blender_addon.work import pace, session, state
from blender_addon.work.requests import OpenRequest
from ex4d.jobs.client import JobUpdate
from ex4d.media.movie import write_movie

JOB = "11111111-1111-4111-8111-111111111111"
PIXELS = shots.FRAMES * shots.WIDTH * shots.HEIGHT


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test controls."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    made = Clock()
    monkeypatch.setattr("blender_addon.work.learning.time", made)
    return made


def go_through(clock, request, update, stages):
    """Run the session through a job whose stages take the given seconds, without a server."""
    here = session.current()
    here.state = state.State("working", request, JOB, stage="Queued")
    here.learning.watch.begin(clock.now)
    here.learning.watch.see("Queued", clock.now)
    for stage, took in stages.items():
        here.dispatch(state.Updated(JobUpdate(JOB, "running", stage=stage, step=1, steps=2)))
        clock.now += took
    here.dispatch(state.Updated(replace(update, job_id=JOB)))
    while here.state.busy:
        here._step()


def test_an_estimate_grows_with_frames_and_pixels_and_not_with_what_is_done_once():
    learned = {
        "open dice": pace.learn(None, {"Guessing": 6.0, "Loading the Model": 20.0, "Queued": 500.0}, 3_000_000, 48e6)
    }
    found = pace.estimate("open dice", 30_000_000, learned)
    assert found == pace.Estimate(pytest.approx(60 + 20), pytest.approx(480e6), True)
    assert found.lines == ("About 80 s, 480 MB on disk",)
    assert found.is_worth_telling
    assert not pace.estimate("open dice", 1000, {"open dice": pace.Known({"Guessing": 2.0}, {}, 16)}).is_worth_telling


def test_a_job_whose_depth_was_there_already_does_not_make_the_next_estimate_small():
    known = pace.learn(None, {"Guessing": 8.0, "Writing": 2.0}, 1_000_000, 16e6)
    known = pace.learn(known, {"Writing": 4.0}, 1_000_000, 16e6)
    seconds = pace.estimate("open dice", 1_000_000, {"open dice": known}).seconds
    assert seconds == pytest.approx(8 + 2 / 3 * 4 + 1 / 3 * 2), "the newest counts double"


def test_a_tiny_job_teaches_little_and_a_large_one_much():
    tiny = pace.learn(None, {"Importing": 5.0}, 300_000, 16 * 300_000)
    assert pace.estimate("open plane", 145_700_000, {"open plane": tiny}).seconds == pytest.approx(206, rel=0.1)
    assert not pace.estimate("open plane", 145_700_000, {"open plane": tiny}).is_learned
    large = pace.learn(tiny, {"Importing": 14.0}, 28_900_000, 16 * 28_900_000)
    assert pace.estimate("open plane", 28_900_000, {"open plane": large}).seconds == pytest.approx(15, rel=0.1)
    assert pace.estimate("open plane", 28_900_000, {"open plane": large}).is_learned
    after = pace.learn(large, {"Importing": 5.0}, 300_000, 16 * 300_000)
    assert pace.estimate("open plane", 28_900_000, {"open plane": after}).seconds == pytest.approx(15, rel=0.1)


def test_what_nobody_knows_is_said_to_be_unknown():
    found = pace.estimate("generate painter final", 100_000_000, {})
    assert (found.seconds, found.is_worth_telling) == (None, True)
    assert found.told == "About 20 MB on disk; time will be known after the first run"
    elsewhere = pace.estimate("open plane", 145_700_000, {})
    assert elsewhere.told == "About 3 min, 233 MB on disk (measured on another machine)"


def test_a_clip_that_was_opened_tells_how_long_more_of_it_will_take(scene, tmp_path, addon, clock):
    announced.by()
    depth = replace(shots.small_depth(), provider="dice")
    update = shots.deliver(tmp_path / "job", depth, of=400)
    update = replace(update, facts={**update.facts, "frames": shots.FRAMES, "width": 96, "height": 64})
    request = OpenRequest("Scene", "shot", "small.mp4", "", "", {}, source=shots.source_of("small.mp4"))
    request = replace(request, scene_uid=scene.session_uid)
    go_through(clock, request, update, {"Guessing the depth": 6.5, "Writing files": 1.3})
    facts = scene.ex4d
    folder = sum(file.stat().st_size for file in facts.folder.rglob("*") if file.is_file())
    facts.part_frames, facts.estimator_name, facts.motion = 130, "dice", "STILL"
    found = estimates.of_opening(facts, Path("other.mp4"), 10 * PIXELS)
    assert found.seconds == pytest.approx(78, rel=1e-6)
    assert found.bytes == pytest.approx(10 * folder, rel=1e-6)
    assert "About 78 s, " in draw(panels.draw_frames).text
    assert "another machine" not in draw(panels.draw_frames).text
    facts.motion = "FOUND"
    camera = estimates.of_camera(facts).seconds
    assert estimates.of_part(facts, part.asked(facts)).seconds > 78 + camera, "the camera is looked for as well"
    facts.motion = "STILL"

    session.current().learning.known = None  # as after a restart of Blender
    assert estimates.of_opening(facts, Path("other.mp4"), PIXELS).seconds == pytest.approx(7.8, rel=1e-6)
    bpy.context.preferences.addons["blender_addon"].preferences.address = "tcp://127.0.0.1:5999"
    assert estimates.of_opening(facts, Path("other.mp4"), PIXELS).seconds is None, "another server has another pace"


def test_a_take_tells_how_long_the_next_one_will_take_by_generator_and_quality(scene, tmp_path, addon, clock):
    shots.open_small(tmp_path)
    announced.by()
    scene.ex4d.generator = "painter"
    assert "Time will be known after the first run" in draw(panels.draw_generate).text
    request, update = deliver(scene, tmp_path / "one", made_by="painter")
    go_through(clock, request, update, {"Sampling": 50.0, "Loading the model": 30.0})
    assert estimates.of_take(scene.ex4d).seconds == pytest.approx(80, rel=1e-6)
    assert [text for text in draw(panels.draw_generate).labels if text.startswith("About 80 s, ")]
    scene.ex4d_generators.painter.quality = "draft"
    assert estimates.of_take(scene.ex4d).seconds is None
    scene.ex4d.frames = 130
    scene.ex4d_generators.painter.quality = "final"
    assert estimates.of_take(scene.ex4d).seconds == pytest.approx(530, rel=1e-6)


def test_a_take_made_again_says_what_it_takes_beside_its_buttons_and_when_it_begins(
    scene, tmp_path, addon, monkeypatch
):
    shots.open_small(tmp_path)
    announced.by()
    request, update = deliver(scene, tmp_path / "one", made_by="painter")
    shots.outcome(takes.bring_in(request, update, session.current().capabilities))
    entry = scene.ex4d.takes[0]
    entry.quality = "draft"
    slow = {name: pace.Known({"Sampling": each}, {}, 0.2, 1e9) for name, each in (("draft", 3e3), ("final", 9e3))}
    known = {f"generate painter {name}": pace_of for name, pace_of in slow.items()}
    known["view"] = pace.Known({"Rendering": 1e3}, {}, 0.1, 1e9)
    session.current().learning.known = (preferences().address, known)
    lines = [text for text, _ in draw(panels.draw_takes).lines]
    assert "Take Again: about 4 min, 16 kB on disk" in lines, "13 frames of 96x64 px are 0.08 million pixels"
    assert "As Final: about 12 min, 16 kB on disk" in lines

    here, pressed = session.current(), []
    monkeypatch.setattr(session.Session, "press", lambda self, request: pressed.append(request))
    monkeypatch.setattr(session.Session, "finish", lambda self: self.state)
    again = replace(request, generation={**request.generation, "generator": "painter"})
    assert estimates.told_at_start(again) == "About 12 min, 64 kB on disk.", "in the size of the clip, as asked for"
    bpy.ops.ex4d.preview()
    assert here.state.message == "About 80 s, 8 kB on disk."
    here.state = state.State("working", pressed[0], JOB, stage="Queued", message=here.state.message)
    drawn = draw(panels.draw_status)
    assert [text for text, _ in drawn.lines] == ["About 80 s, 8 kB on disk."], "until the server says how long"
    here.state = replace(here.state, eta_s=70.0)
    drawn = draw(panels.draw_status)
    assert "70 s left" in drawn.labels
    assert [text for text, _ in drawn.lines] == [""]
    here.state = state.State()


def test_waiting_for_a_server_and_following_after_a_restart_teach_nothing(scene, tmp_path, addon, clock):
    shots.open_small(tmp_path)
    announced.by()
    request, update = deliver(scene, tmp_path / "one", made_by="painter")
    here = session.current()
    here.dispatch(state.Reopened(request, JOB))
    here.dispatch(state.Updated(replace(update, job_id=JOB)))
    while here.state.busy:
        here._step()
    assert here.learning.paces == {}
    watch = pace.Stopwatch()
    watch.begin(0.0)
    for stage, now in (("Sampling", 0.0), ("", 5.0), ("Sampling", 500.0), ("", 503.0)):
        watch.see(stage, now)
    assert watch.stages == {"Sampling": 8.0}


def test_what_opening_will_take_is_told_when_it_begins(scene, addon, tmp_path, monkeypatch):
    clip = tmp_path / "long.mp4"
    write_movie(clip, np.zeros((200, 64, 96, 3), np.uint8), shots.FPS)
    here = session.current()
    here.learning.known = (preferences().address, {"open auto": pace.Known({"all": 100.0}, {}, 16.0)})
    monkeypatch.setattr(session.Session, "press", lambda self, request: None)
    monkeypatch.setattr(session.Session, "finish", lambda self: self.state)
    bpy.ops.ex4d.open_clip(filepath=str(clip), frames=200)
    assert here.state.message == "About 2 min, 20 MB on disk."


@pytest.mark.parametrize(
    "text", ["", "[]", '{"tcp://127.0.0.1:5750": 3}', '{"tcp://127.0.0.1:5750": {"view": {"odd": 1}}}']
)
def test_a_damaged_memory_is_no_memory(tmp_path, text):
    (tmp_path / "pace.json").write_text(text)
    assert pace.load(tmp_path / "pace.json", "tcp://127.0.0.1:5750") == {}
    pace.save(tmp_path / "pace.json", "a", {"view": pace.Known({"x": 1.0}, {}, 2.0)})
    assert pace.load(tmp_path / "pace.json", "a") == {"view": pace.Known({"x": 1.0}, {}, 2.0)}


def test_fewer_frames_are_estimated_as_what_they_are_a_depth_that_is_there(scene, tmp_path, addon):
    shots.open_small(tmp_path, of=40)
    facts = scene.ex4d
    facts.estimator_name = "dice"
    session.current().learning.known = (
        preferences().address,
        {"open dice": pace.Known({"all": 1e4}, {}, 16.0), "open file": pace.Known({"all": 1e3}, {}, 16.0, 1e9)},
    )
    facts.part_frames, facts.motion = 10, "STILL"
    facts.asked = asking.asked(facts)
    assert "About 61 s, " in draw(panels.draw_frames).text
    again = bpy.types.EX4D_OT_open_again
    assert again.description(bpy.context, SimpleNamespace(estimate=False)).endswith("About 61 s, 1 MB on disk")
    assert "About 10 min" in again.description(bpy.context, SimpleNamespace(estimate=True))


def test_of_more_frames_only_the_new_ones_and_those_they_are_fitted_to_count_as_estimated(scene, tmp_path, addon):
    shots.open_small(tmp_path, of=40)
    facts = scene.ex4d
    facts.estimator_name, facts.motion = "dice", "STILL"
    facts.asked = asking.asked(facts)
    session.current().learning.known = (
        preferences().address,
        {"open dice": pace.Known({"all": 1e4}, {}, 16.0), "open file": pace.Known({"all": 0.0}, {}, 16.0, 1e9)},
    )
    facts.part_frames = 20
    # 7 new frames and 8 next to them, of 96x64 pixels, at about a minute each. Disk space is for all 20.
    assert estimates.of_part(facts, part.asked(facts)).seconds == pytest.approx(15 * 61.44)
    assert estimates.of_part(facts, part.asked(facts)).bytes == 20 * 96 * 64 * 16
    assert "About 15 min, " in draw(panels.draw_frames).text
    facts.depth_detail = "full"
    assert estimates.of_part(facts, part.asked(facts)).seconds == pytest.approx(20 * 61.44), "all are estimated again"


def test_what_is_told_when_more_frames_begin_is_what_stood_beside_the_button_with_the_search(scene, tmp_path, addon):
    shots.open_small(tmp_path, of=40)
    facts = scene.ex4d
    facts.estimator_name, facts.motion = "dice", "FOUND"
    facts.asked = asking.asked(facts)
    write_movie(Path(facts.opened), np.zeros((40, 64, 96, 3), np.uint8), shots.FPS)
    session.current().learning.known = (
        preferences().address,
        {
            "open dice": pace.Known({"all": 1e4}, {}, 16.0),
            pace.CAMERA: pace.Known({"all": 1e4}, {}, 16.0, 1e9),
        },
    )
    facts.part_frames = 20
    found = estimates.of_part(facts, part.asked(facts))
    assert found.seconds > 30 * 61.44, "15 frames are estimated, and the camera is looked for in 20"
    assert estimates.told_at_start(asking.request_again(scene, estimate=False)) == f"{found.told}."


def in_dialog(clip, scene, **settings):
    """What the sidebar of the file dialog says about the chosen file."""
    operator = SimpleNamespace(
        **{"first_frame": 1, "frames": 49, "longest_side": 1024, "step": 1, "fps": "", "gaps": "hold", **settings}
    )
    return draw(lambda layout, context: open_dialog.draw_clip(layout, operator, clip, scene.ex4d)).labels


def test_the_file_dialog_says_how_much_of_a_clip_is_opened_and_what_that_takes(scene, addon, tmp_path):
    clip = tmp_path / "long.mp4"
    write_movie(clip, np.zeros((200, 128, 192, 3), np.uint8), shots.FPS)
    session.current().learning.known = (preferences().address, {"open auto": pace.Known({"all": 100.0}, {}, 16.0)})
    assert in_dialog(clip, scene) == [], "nobody has looked at the clip yet, and drawing must be quick"
    session.current().tick()
    assert not bpy.data.images.get("long.mp4")
    assert in_dialog(clip, scene) == ["Frames 1 to 49 of 200", "About 2 min, 19 MB on disk"]
    assert in_dialog(clip, scene, first_frame=101, frames=999, longest_side=96) == [
        "Frames 101 to 200 of 200",
        "About 61 s, 10 MB on disk",
    ]
    assert in_dialog(clip, scene, first_frame=201) == ["The clip has 200 frames"]
    assert in_dialog(clip, scene, frames=49, step=3)[0] == "Frames 1 to 145 of 200, every 3rd one"
    assert in_dialog(clip, scene, fps="12") == [], "how many there are at another rate, Blender cannot tell"
    clip.with_name("long.depth.npz").touch()
    session.current().learning.paces["open file"] = pace.Known({"all": 10.0}, {}, 16.0, 1e9)
    assert in_dialog(clip, scene)[1] == "About 12 s, 19 MB on disk"
    text = tmp_path / "text.mp4"
    text.write_text("no movie")
    for _again in range(2):
        assert in_dialog(text, scene) == []
        session.current().tick()


def test_set_viewport_detail_tells_seconds_that_follow_from_rate_and_points_and_learns(scene, tmp_path, addon):
    shots.open_small(tmp_path, depth=shots.small_depth(3, 512, 288))
    facts = scene.ex4d
    known = pace.ELSEWHERE[pace.DETAIL]
    assert estimates.of_detail(facts, 1_000_000).seconds == pytest.approx(3 * known.each["all"])
    facts.detail = "FULL"
    assert "About" not in draw(panels.draw_frames).text, "moments are not worth a word"
    session.current().learning.learn_here(pace.DETAIL, 600.0, 12_000_000, 144e6)
    points = 512 * 288
    found = estimates.of_detail(facts, points)
    share = 12e6**2 / (12e6**2 + pace.ENOUGH**2)
    rate = share * 600 / 12 + (1 - share) * known.each["all"]
    assert found.seconds == pytest.approx(3 * points / 1e6 * rate)
    assert found.lines[0] in draw(panels.draw_frames).text
    before = session.current().learning.here[pace.DETAIL]
    bpy.ops.ex4d.set_detail()
    after = session.current().learning.here[pace.DETAIL]
    assert after.pixels == pytest.approx(((3 * points) ** 2 + before.pixels**2 / 2) ** 0.5)
    assert after.seconds(10**6) < before.seconds(10**6), "this run was faster than ten minutes"


@pytest.mark.parametrize("written", ["ALEMBIC", "USD"])
def test_export_shot_tells_seconds_by_format_and_learns_from_what_was_written(scene, tmp_path, addon, written):
    shots.open_small(tmp_path)
    points = shots.FRAMES * 96 * 64
    kind = pace.kind_of_export(written)
    assert estimates.of_export(scene, written).seconds == pytest.approx(points / 1e6 * pace.ELSEWHERE[kind].each["all"])
    file = tmp_path / f"shot.{'abc' if written == 'ALEMBIC' else 'usdc'}"
    bpy.ops.ex4d.export_shot(filepath=str(file), format=written)
    learned = session.current().learning.here[kind]
    assert learned.pixels == points
    assert learned.bytes == pytest.approx(file.stat().st_size / points)
    assert set(session.current().learning.here) == {kind}, "the other format has its own pace"
    session.current().learning.learn_here(kind, 40.0, 40 * points, 1.0)
    assert estimates.of_export(scene, written).seconds > pace.ELSEWHERE[kind].seconds(points)
