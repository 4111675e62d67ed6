"""Waiting takes: their order, cancelling, errors, and what the .blend stores of them."""

import json
from dataclasses import replace
from pathlib import Path

import announced
import bpy
import numpy as np
import pytest
import shots
from test_panels import draw

from blender_addon.shot import variations
from blender_addon.ui import panels
from blender_addon.work import memory, queue, session, state
from blender_addon.work.queue import Queue, Waiting
from blender_addon.work.requests import OpenRequest, TakeRequest
from blender_addon.work.state import State
from ex4d.geometry import camera_path
from ex4d.jobs.client import JobUpdate

OPEN = OpenRequest("Scene", "shot", "clip.mp4", "", "", {})


def asked(seed, **more):
    return TakeRequest("Scene", "shot", f"{seed}/camera.npz", "{}", {}, {"generator": "auto", "seed": seed}, **more)


ONE, TWO, THREE = asked(1), asked(2), asked(3)


def after(*events, now=None, held=None):
    now, held, effects = now or State(), held or Queue(), ()
    for event in events:
        now, held, effects = queue.transition(now, held, event)
    return now, held, effects


def under_way():
    """The first take is on the server, and so are two waiting ones."""
    now, held, _effects = after(
        state.Pressed(ONE),
        state.Prepared(ONE, "a job"),
        state.Submitted("job 1"),
        state.Pressed(TWO),
        queue.HandedOver(TWO, "job 2"),
        state.Pressed(THREE),
        queue.HandedOver(THREE, "job 3"),
    )
    return now, held


def seeds(held):
    return [each.request.generation["seed"] for each in held.waiting]


def test_a_take_that_is_asked_for_while_one_is_made_is_handed_to_the_server_at_once_and_kept():
    now, held, effects = after(state.Pressed(TWO), now=State("working", ONE, "job 1"))
    assert (now.request, held.waiting) == (ONE, (Waiting(TWO),))
    assert effects == (queue.HandOver(TWO), queue.Keep())


def test_the_server_gets_takes_in_the_order_in_which_they_were_asked_for():
    """Waiting takes are handed over after the first one, whose files are still being read."""
    now, held, effects = after(state.Pressed(ONE), state.Pressed(TWO), state.Pressed(THREE))
    assert queue.HandOver(TWO) not in effects
    assert seeds(held) == [2, 3]
    _now, _held, effects = after(state.Prepared(ONE, "a job"), state.Submitted("job 1"), now=now, held=held)
    assert effects == (state.Remember(ONE, "job 1"), queue.HandOver(TWO), queue.HandOver(THREE))


def test_when_one_is_in_the_scene_the_next_takes_its_place_with_what_was_heard_of_it():
    now, held = under_way()
    now, held, effects = after(
        state.Updated(JobUpdate("job 1", "done")),
        state.Updated(JobUpdate("job 2", "running", stage="rendering", step=3, steps=9)),
        state.Imported("Take 001 is there."),
        now=now,
        held=held,
    )
    assert (now.phase, now.request, now.job_id, now.stage, now.step) == ("working", TWO, "job 2", "Rendering", 3)
    assert now.message == "Take 001 is there.", "it can be read while the next is made"
    assert seeds(held) == [3]
    assert effects == (
        state.Forget(ONE),
        state.PushUndo("EX-4D: Generate"),
        state.ShowResult(ONE),
        state.Remember(TWO, "job 2", True),
        queue.Keep(),
    )


def test_one_that_was_done_before_its_turn_is_brought_in_at_its_turn():
    now, held = under_way()
    done = JobUpdate("job 2", "done")
    now, held, effects = after(state.Updated(done), state.CancelPressed(), now=now, held=held)
    assert (now.phase, now.request) == ("importing", TWO)
    assert state.Import(TWO, done) in effects
    assert state.CancelJob("job 1") in effects


@pytest.mark.parametrize(
    "trouble",
    [state.Updated(JobUpdate("job 1", "failed", message="Too big.")), state.Failed("Too big.")],
)
def test_an_error_of_one_does_not_stop_the_others_and_is_told_until_it_was_read(trouble):
    now, held, _effects = after(trouble, now=under_way()[0], held=under_way()[1])
    assert (now.request, seeds(held)) == (TWO, [3])
    now, held, _effects = after(
        state.Updated(JobUpdate("job 2", "done")), state.Imported("Take 001 is there."), now=now, held=held
    )
    assert held.lost == ("Take with Seed 1: Too big.",)
    assert after(queue.Dismissed(), now=now, held=held)[1].lost == ()
    now, held, _effects = after(state.CancelPressed(), now=now, held=held)
    assert not now.busy
    assert after(state.Pressed(ONE), now=now, held=held)[1] == Queue(), "a new start"


def test_one_that_fails_while_it_waits_is_told_and_not_waited_for():
    now, held = under_way()
    now, held, effects = after(
        state.Updated(JobUpdate("job 2", "failed", message="The disk is full.")), now=now, held=held
    )
    assert (now.request, seeds(held), held.lost) == (ONE, [3], ("Take with Seed 2: The disk is full.",))
    (discard, keep) = effects
    assert (discard.waiting.request, discard.waiting.job_id, keep) == (TWO, "", queue.Keep())


def test_one_that_waits_is_cancelled_and_the_others_are_made():
    now, held = under_way()
    now, held, effects = after(queue.CancelWaiting(TWO.path), now=now, held=held)
    assert (now.request, seeds(held)) == (ONE, [3])
    assert effects == (queue.Discard(Waiting(TWO, "job 2")), queue.Keep())
    _now, held, effects = after(queue.CancelWaiting(), now=now, held=held)
    assert (held.waiting, len(effects)) == ((), 2)
    assert after(queue.CancelWaiting("gone"), now=now, held=held)[2] == ()


def test_the_take_that_shall_be_next_comes_before_the_others_here_and_on_the_server_but_for_the_one_under_way():
    now, held, _effects = after(
        state.Updated(JobUpdate("job 1", "queued")),
        state.Updated(JobUpdate("job 2", "queued")),
        state.Updated(JobUpdate("job 3", "queued")),
        now=under_way()[0],
        held=under_way()[1],
    )
    now, held, effects = after(queue.NextPressed(THREE.path), now=now, held=held)
    assert seeds(held) == [3, 2]
    assert effects == (queue.PutFirst("job 3"), queue.PutFirst("job 1"), queue.Keep())
    now, held, effects = after(queue.NextPressed("gone"), now=now, held=held)
    assert (seeds(held), effects) == ([3, 2], ())


def test_what_a_server_never_said_to_have_is_sent_again_under_its_own_id_so_that_none_is_made_twice():
    """The answer may have been lost, but not the job."""
    now, held = under_way()
    now, held, effects = after(state.Reconnected(), now=now, held=held)
    assert (now.phase, now.again, [each.again for each in held.waiting]) == ("preparing", "job 1", ["job 2", "job 3"])
    now, held, effects = after(state.Prepared(ONE, "a job"), now=now, held=held)
    assert effects == (state.Submit("a job", ONE.files, "job 1"),)
    now, held, effects = after(state.Submitted("job 1"), now=now, held=held)
    assert effects[1:] == (queue.HandOver(TWO, "job 2"), queue.HandOver(THREE, "job 3"))
    now, held, _effects = after(queue.HandedOver(TWO, "job 2"), now=now, held=held)
    assert [(each.job_id, each.again) for each in held.waiting] == [("job 2", ""), ("", "job 3")]
    now, held, effects = after(state.CancelPressed(), state.Failed("gone"), now=now, held=held)
    assert now.again == "job 3"


def test_the_file_keeps_the_ids_of_takes_that_were_sent_and_not_confirmed(scene):
    waiting = tuple(
        Waiting(replace(request, scene=scene.name), job_id, taken=taken, again=again)
        for request, job_id, taken, again in (
            (ONE, "job 1", True, ""),
            (TWO, "job 2", False, ""),
            (THREE, "", False, "3"),
        )
    )
    memory.keep(waiting)
    assert [(each.job_id, each.taken, each.again) for each in memory.kept()] == [
        ("job 1", True, ""),
        ("", False, "job 2"),
        ("", False, "3"),
    ]
    scene.ex4d.waiting = json.dumps(
        [entry[:3] for entry in json.loads(scene.ex4d.waiting)][:1]
    )  # as written by an earlier version
    assert [(each.job_id, each.taken) for each in memory.kept()] == [("job 1", True)]


def test_a_proxy_is_shown_once_and_told_until_the_take_is_imported():
    now, held = under_way()
    coming = JobUpdate("job 1", "downloading", stage="download", step=1, steps=9, eta_s=7.0)
    now, held, effects = after(state.Updated(coming), now=now, held=held)
    assert not now.proxy
    assert not any(isinstance(effect, state.ShowProxy) for effect in effects)
    here = replace(coming, step=2, proxy=Path("proxy.mp4"))
    now, held, effects = after(state.Updated(here), now=now, held=held)
    assert (now.proxy, effects) == (True, (state.ShowProxy(ONE, here),))
    now, held, effects = after(state.Updated(replace(here, step=3)), now=now, held=held)
    assert (now.proxy, effects) == (True, ())
    done = JobUpdate("job 1", "done", proxy=Path("proxy.mp4"))
    now, held, effects = after(state.Updated(done), state.Imported("Take 001 is there."), now=now, held=held)
    assert (now.request, now.proxy) == (TWO, False)


def test_a_server_that_does_not_answer_a_script_ends_all_of_them():
    now, held = under_way()
    now, held, effects = after(state.Troubled("No answer."), state.GaveUp(), now=now, held=held)
    assert (now.busy, now.message, held) == (False, "No answer.", Queue())
    assert [effect.waiting.job_id for effect in effects if isinstance(effect, queue.Discard)] == ["job 2", "job 3"]


def test_takes_wait_for_no_clip_that_is_opened():
    opening = State("working", OPEN, "job")
    assert after(state.Pressed(ONE), now=opening) == (opening, Queue(), ())
    assert not queue.may_ask_for_takes(opening)
    assert queue.may_ask_for_takes(under_way()[0])


def test_what_waited_goes_on_when_the_file_is_opened_again_and_nobody_was_first():
    waiting = (Waiting(TWO, "job 2", taken=True), Waiting(THREE))
    now, held, effects = after(queue.Restored(waiting))
    assert (now.phase, now.request, seeds(held)) == ("working", TWO, [3])
    assert effects == (state.Follow("job 2"), state.Remember(TWO, "job 2", True), queue.Keep())


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


@pytest.fixture
def from_panel(shot, monkeypatch):
    """Make buttons return at once, as in the panel; without a window, Blender runs them as scripts do."""
    monkeypatch.setattr(session.Session, "finish", lambda self: self.state)


def paths(*requests):
    return [camera_path.load(Path(each.path), shots.FRAMES, shots.WIDTH, shots.HEIGHT) for each in requests]


def test_variations_have_seeds_in_a_row_and_one_camera_each_in_a_file_of_its_own(scene, shot):
    bpy.ops.ex4d.camera_preset(preset="60")
    scene.ex4d.seed = 7
    found = variations.requests(scene, 3)
    assert [each.generation["seed"] for each in found] == [7, 8, 9]
    assert len({each.path for each in found}) == 3
    assert {json.dumps({**each.generation, "seed": 0}) for each in found} == {
        json.dumps({**found[0].generation, "seed": 0})
    }
    first, *others = paths(*found)
    assert all(np.array_equal(first.camera_to_world, other.camera_to_world) for other in others)


def test_a_preview_has_no_variations_and_the_panel_says_why(scene, shot):
    announced.by(announced.lacking("painter", "It needs an NVIDIA GPU."))
    why = "The preview looks the same with every seed"
    assert f"{why}." in draw(panels.draw_generator).text, "Best Available is the preview here"
    with pytest.raises(RuntimeError, match=why):
        bpy.ops.ex4d.variations(number=2)
    assert not session.current().state.busy
    announced.by()
    assert bpy.ops.ex4d.variations.poll()
    assert why not in draw(panels.draw_generator).text
    scene.ex4d.generator = "sketch"
    assert not bpy.ops.ex4d.variations.poll()
    session.current().client = None
    assert bpy.ops.ex4d.variations.poll(), "what will run is not known"


def test_moving_the_camera_later_does_not_change_takes_that_wait(scene, from_panel):
    bpy.ops.ex4d.camera_preset(preset="60")
    bpy.ops.ex4d.variations(number=2)
    now = session.current()
    (waiting,) = now.queue.waiting
    (before,) = paths(waiting.request)
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    bpy.ops.ex4d.generate()
    one, two = (each.request for each in now.queue.waiting)
    assert np.array_equal(paths(one)[0].camera_to_world, before.camera_to_world)
    assert not np.array_equal(paths(two)[0].camera_to_world, before.camera_to_world)
    assert now.state.message == "Queued behind 2 takes. It uses the camera as it is now."
    for _each in range(3):
        now.dispatch(state.CancelPressed())
    assert not now.state.busy
    assert not Path(one.path).exists(), "nothing of it stays"


def test_the_panel_lists_what_waits_with_a_cancel_for_each(scene, from_panel):
    scene.ex4d.seed = 4
    bpy.ops.ex4d.variations(number=3)
    drawn = draw(panels.draw_generate)
    assert "2 takes waiting" in drawn.text
    assert "Now: Take with Seed 4" in drawn.text
    assert "1. Take with Seed 5" in drawn.text
    assert "2. Take with Seed 6" in drawn.text
    assert drawn.text.index("with Seed 5") < drawn.text.index("with Seed 6")
    now = session.current()
    bpy.ops.ex4d.queue_cancel(path=now.queue.waiting[0].request.path)
    assert "1. Take with Seed 6" in draw(panels.draw_generate).text
    bpy.ops.ex4d.queue_cancel()
    assert "waiting" not in draw(panels.draw_generate).text
    assert now.state.request.generation["seed"] == 4, "what is under way goes on"
    now.dispatch(queue.Dismissed())
    now.dispatch(state.CancelPressed())


def test_while_takes_are_made_no_clip_can_be_opened(scene, from_panel):
    bpy.ops.ex4d.generate()
    assert bpy.ops.ex4d.generate.poll()
    assert bpy.ops.ex4d.preview.poll()
    assert bpy.ops.ex4d.variations.poll()
    assert not bpy.ops.ex4d.open_clip.poll()
    assert not bpy.ops.ex4d.open_again.poll()
    session.current().dispatch(state.CancelPressed())


def test_the_file_keeps_what_waits_in_order_and_its_scene(scene, shot, tmp_path):
    other = bpy.data.scenes.new("Other")
    waiting = [
        Waiting(replace(asked(seed), scene=where.name, scene_uid=where.session_uid), job_id, taken=seed < 4)
        for seed, where, job_id in ((2, scene, "job 2"), (3, other, "job 3"), (4, scene, "job 4"))
    ]
    memory.keep(tuple(waiting))
    blend = tmp_path / "a.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    session.current().leave_file()
    session.current()._entered = True  # check the file before its jobs are followed
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert memory.kept() == ()
    with bpy.data.libraries.load(str(blend)) as (there, here):
        here.scenes = there.scenes
    found = memory.kept()
    assert [(each.request.generation["seed"], each.job_id) for each in found] == [(2, "job 2"), (3, "job 3"), (4, "")]
    assert found[1].request.scene == "Other"


def test_what_the_server_has_not_said_to_have_is_sent_anew_when_the_file_is_opened_again(scene, shot):
    first = replace(asked(1), scene=scene.name, scene_uid=scene.session_uid)
    scene.ex4d.remember(first, "job 1", False)
    memory.keep((Waiting(replace(first, path="2/camera.npz"), "job 2"),))
    assert scene.ex4d.remembered is None
    assert [(each.request.path, each.job_id) for each in memory.kept()] == [("1/camera.npz", ""), ("2/camera.npz", "")]
    now, _held, effects = after(state.Updated(JobUpdate("job 1", "queued")), now=State("working", ONE, "job 1"))
    assert now.taken
    assert effects == (state.Remember(ONE, "job 1", True),)
    scene.ex4d.remember(first, "job 1", True)
    assert scene.ex4d.remembered == (first, "job 1")


def test_the_result_of_a_take_that_came_before_its_turn_is_removed_when_it_is_cancelled(scene, from_panel, tmp_path):
    bpy.ops.ex4d.variations(number=2)
    now = session.current()
    (waiting,) = now.queue.waiting
    result = tmp_path / "result.mp4"
    result.write_bytes(b"a take")
    now.dispatch(queue.HandedOver(waiting.request, "job 2"))
    now.dispatch(state.Updated(JobUpdate("job 2", "done", files={"result.mp4": result})))
    bpy.ops.ex4d.queue_cancel()
    assert not result.exists()
    now.dispatch(state.CancelPressed())


@pytest.mark.parametrize("text", ["{", "[1]", '[["a", "b", "c"]]', '[[0, "job", "{}"]]'])
def test_what_another_version_kept_is_left_out(scene, addon, text):
    scene.ex4d.waiting = text
    assert memory.kept() == ()


def test_undo_does_not_bring_back_what_was_cancelled_nor_lose_what_waits(scene, from_panel):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.ex4d.variations(number=2)
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert [each.request.generation["seed"] for each in memory.kept()] == [1]
    bpy.ops.ed.undo_push(message="with one that waits")
    bpy.ops.ex4d.queue_cancel()
    bpy.ops.ed.undo()
    assert memory.kept() == ()
    session.current().dispatch(state.CancelPressed())


def test_what_is_heard_of_takes_that_wait_is_not_taken_for_the_result_of_the_one_that_is_brought_in(scene, addon):
    now, held = under_way()
    learning = session.current().learning
    for event in (
        state.Updated(JobUpdate("job 1", "done", facts={"coverage": [1.0]})),
        state.Updated(JobUpdate("job 2", "running", stage="rendering")),
    ):
        before = now
        now, held, _effects = queue.transition(now, held, event)
        learning.follow(event, before, now)
    assert now.phase == "importing"
    assert learning._result == {"coverage": [1.0]}
