"""The pure state machine, and how the session that runs it handles errors."""

import json
import socket
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import announced
import bpy
import numpy as np
import pytest
import shots

from blender_addon.scene import camera
from blender_addon.shot import checks
from blender_addon.work import requests, session, state
from blender_addon.work.requests import OpenRequest, TakeRequest
from blender_addon.work.state import State, transition
from ex4d.jobs.client import JobUpdate

OPEN = OpenRequest("Scene", "shot", "clip.mp4", "clip.depth.npz", "", {"start": 0, "frames": 49})
TAKE = TakeRequest("Scene", "shot", "path.npz", "{}", {"00": "clip.mp4"}, {"generator": "auto", "seed": 3})
FETCH = requests.FetchRequest("Scene", "shot", "11111111-1111-4111-8111-111111111111", "lobby.blend")
WORKING = State("working", TAKE, "job")


def after(*events: state.Event) -> tuple[State, tuple]:
    now, effects = State(), ()
    for event in events:
        now, effects = transition(now, event)
    return now, effects


def test_a_request_goes_through_all_phases_and_ends_idle_with_one_undo_step():
    done = JobUpdate("job", "done")
    now, effects = after(state.Pressed(TAKE))
    assert (now.phase, effects) == ("preparing", (state.Prepare(TAKE),))
    now, effects = transition(now, state.Prepared(TAKE, "a job"))
    assert effects == (state.Submit("a job", TAKE.files),)
    now, effects = transition(now, state.Submitted("job"))
    assert effects == (state.Remember(TAKE, "job"),)
    now, effects = transition(now, state.Updated(JobUpdate("job", "running", stage="rendering", step=3, steps=9)))
    assert (now.stage, now.step, now.steps, effects) == ("Rendering", 3, 9, ())
    now, effects = transition(now, state.Updated(done))
    assert (now.phase, effects) == ("importing", (state.Import(TAKE, done),))
    now, effects = transition(now, state.Imported("There."))
    assert now == State(message="There.")
    assert effects == (state.Forget(TAKE), state.PushUndo("EX-4D: Generate"), state.ShowResult(TAKE))


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (OPEN, "EX-4D: Open clip.mp4"),
        (TAKE, "EX-4D: Generate"),
        (replace(TAKE, preview=True), "EX-4D: Preview Path"),
        (replace(OPEN, clip="/footage/" + 40 * "ö" + ".mp4"), "EX-4D: Open " + 25 * "ö"),
    ],
)
def test_undo_steps_have_whole_names_that_fit_into_blenders_list(request_, name):
    now = State("importing", request_, "job")
    _now, effects = transition(now, state.Imported("a.b.mp4 is open: 25.5% of it."))
    assert [effect for effect in effects if isinstance(effect, state.PushUndo)] == [state.PushUndo(name)]
    assert len(name.encode()) < 64


def test_after_undo_the_panel_does_not_go_on_saying_what_was_undone(scene, tmp_path):
    bpy.ops.ed.undo_push(message="before")
    shots.open_small(tmp_path)
    session.current().dispatch(state.Said("small.mp4 is open: 13 frames."))
    bpy.ops.ed.undo_push(message="EX-4D: Open small.mp4")
    bpy.ops.ed.undo()
    assert not bpy.context.scene.ex4d.shot
    assert session.current().state == State()


def test_undo_takes_no_word_of_work_that_goes_on():
    busy = transition(WORKING, state.Said("No server answered, so one was started."))[0]
    assert transition(busy, state.SteppedBack()) == (busy, ())


def test_a_second_press_is_ignored_while_something_is_under_way():
    assert transition(WORKING, state.Pressed(OPEN)) == (WORKING, ())


def test_updates_of_other_jobs_and_after_the_end_are_ignored():
    assert transition(WORKING, state.Updated(JobUpdate("other", "done"))) == (WORKING, ())
    assert transition(State(), state.Updated(JobUpdate("job", "done"))) == (State(), ())


@pytest.mark.parametrize("phase", ["preparing", "working", "importing"])
def test_cancel_ends_every_phase_and_forgets_the_job(phase):
    now, effects = transition(State(phase, TAKE, "job"), state.CancelPressed())
    assert now == State(message="Cancelled.")
    assert effects[-2:] == (state.Drop(), state.Forget(TAKE))
    assert (state.CancelJob("job") in effects) == (phase == "working")


def test_a_failed_job_says_why():
    now, effects = transition(WORKING, state.Updated(JobUpdate("job", "failed", message="Too big.")))
    assert now == State(message="Too big.", failed=True)
    assert effects == (state.Forget(TAKE),)


def test_a_lost_server_is_trouble_and_not_the_end():
    now, effects = transition(WORKING, state.Troubled("It does not answer."))
    assert now.busy
    assert (now.trouble, effects) == ("It does not answer.", ())
    assert transition(now, state.Troubled(""))[0] == WORKING


def test_requests_come_back_from_the_blend_file():
    for request in (OPEN, TAKE, FETCH):
        assert requests.request_from_json(requests.request_to_json(request)) == request


def test_a_file_that_is_saved_while_a_take_is_fetched_goes_on_fetching_it(addon, tmp_path, monkeypatch):
    followed = []
    monkeypatch.setattr(session.Session, "follow", lambda self, job_id: followed.append(job_id))
    session.current().dispatch(state.Pressed(FETCH))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "lobby.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "lobby.blend"))
    session.current().tick()
    assert followed == [FETCH.job_id, FETCH.job_id]
    now = session.current().state
    assert (now.phase, now.job_id) == ("working", FETCH.job_id)
    assert replace(now.request, scene_uid=0) == FETCH
    session.current().dispatch(state.Updated(JobUpdate(FETCH.job_id, "failed", message="The server is gone.")))
    assert (session.current().state.message, bpy.context.scene.ex4d.job_id) == ("The server is gone.", "")


def test_what_the_server_does_not_do_of_what_was_asked_is_said_once(addon):
    announced.by()
    here = session.current()
    here.client.refusal = "The server does not know this job."
    here.tick()
    assert (here.state.message, here.state.failed) == ("The server does not know this job.", True)
    here.dispatch(state.Said("Another word."))
    here.tick()
    assert here.state.message == "Another word."


OF_0_1 = {"kind": "OpenRequest", "scene": "", "shot": "", "clip": "", "depth": "", "camera": "", "settings": {}}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"kind": "Other"}', '{"kind": "TakeRequest", "new": 1}', json.dumps(OF_0_1)]
)
def test_a_request_of_another_version_is_not_followed(text):
    assert requests.request_from_json(text) is None


def test_an_error_in_the_timer_is_shown_and_the_timer_lives_on(scene, addon):
    session.current().press(OPEN)  # there is no clip.mp4
    assert session.timer() > 0
    assert session.current().state.failed
    assert "There is no clip clip.mp4" in session.current().state.message
    assert session.timer() > 0


def test_an_address_that_other_machines_can_reach_is_refused(scene, addon):
    bpy.context.preferences.addons["blender_addon"].preferences.address = "tcp://192.168.1.5:5750"
    with pytest.raises(RuntimeError, match="is not on this machine: use one such as"):
        bpy.ops.ex4d.connect()
    assert session.current().state.failed


def test_a_server_is_looked_for_without_waiting_for_an_answer(addon):
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    now = session.current()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        settings.address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with closing(socket.create_connection(silent.getsockname())):  # the backlog is full, so the next one waits
            began = time.monotonic()
            now.look_for_server()
            assert time.monotonic() - began < 0.1  # on Windows, a refusal takes 2 s
            assert now.client is None
        silent.accept()[0].close()
        end = time.monotonic() + 10
        while now.client is None and time.monotonic() < end:
            now.look_for_server()
            time.sleep(0.01)
        assert now.client is not None


def test_start_server_says_what_is_missing(addon, tmp_path):
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    settings.address = "tcp://127.0.0.1:59731"
    with pytest.raises(RuntimeError, match="press Set Up Server"):
        bpy.ops.ex4d.server_start()
    settings.python = str(tmp_path / "nowhere")
    with pytest.raises(RuntimeError, match="There is no Python at"):
        bpy.ops.ex4d.server_start()
    bare = tmp_path / "bare_python"  # a Python without packages
    bare.write_text(f'#!/bin/sh\nexec "{Path(sys.executable)}" -S "$@"\n')
    bare.chmod(0o755)
    settings.python = str(bare)
    with pytest.raises(RuntimeError, match="has no EX-4D server in it"):
        bpy.ops.ex4d.server_start()
    assert not session.current().server.is_running


def test_nothing_is_left_after_disabling_the_add_on(addon):
    import addon_utils

    from blender_addon.work import handlers

    announced.by()
    assert hasattr(bpy.types.Scene, "ex4d_generators")
    ours = [name for name in dir(bpy.types) if name.startswith("EX4D")]
    assert "EX4D_OT_generate" in ours
    addon_utils.disable("blender_addon", default_set=True)
    assert not bpy.app.timers.is_registered(session.timer)
    assert not any(function in collection for collection, function in handlers.HANDLERS)
    assert not [name for name in dir(bpy.types) if name in ours]
    assert not hasattr(bpy.types.Scene, "ex4d")
    assert not hasattr(bpy.types.Scene, "ex4d_generators")
    assert not hasattr(bpy.types.WindowManager, "ex4d_session")
    addon_utils.enable("blender_addon", default_set=True)


def test_what_is_said_meanwhile_neither_ends_the_work_nor_stays_after_it():
    now, effects = transition(WORKING, state.Said("The disk is full.", failed=True))
    assert (now.busy, now.message, effects) == (True, "The disk is full.", ())
    now, _effects = transition(now, state.Updated(JobUpdate("job", "done")))
    assert transition(now, state.Imported("There."))[0] == State(message="There.")


def test_an_error_in_a_button_does_not_end_the_work_under_way(scene, tmp_path):
    shots.open_small(tmp_path)
    session.current().connect()
    session.current().dispatch(state.Reopened(TAKE, "11111111-1111-4111-8111-111111111111"))
    scene.ex4d.camera = None
    with pytest.raises(RuntimeError, match="No camera is chosen"):
        bpy.ops.ex4d.camera_preset(preset="60")
    assert session.current().state.busy
    session.current().dispatch(state.CancelPressed())


def test_a_button_that_works_takes_the_last_error_away_and_keeps_good_news(scene, tmp_path):
    shots.open_small(tmp_path)
    session.current().dispatch(state.Said("Take 001 is there."))
    bpy.ops.ex4d.match_scene()
    assert session.current().state.message == "Take 001 is there."
    scene.ex4d.camera = None
    with pytest.raises(RuntimeError, match="No camera is chosen"):
        bpy.ops.ex4d.camera_preset(preset="60")
    assert session.current().state.failed
    bpy.ops.ex4d.match_scene()
    assert session.current().state == State()


def test_the_check_chooses_the_shots_own_camera_and_makes_it_again_when_it_was_deleted(scene, tmp_path):
    shots.open_small(tmp_path)
    announced.by()
    for _again in range(2):
        bpy.data.objects.remove(scene.ex4d.camera)
        (advice,) = [a for a in checks.warnings(scene) if a.operator]
        getattr(bpy.ops.ex4d, advice.operator.removeprefix("ex4d."))()
        assert scene.ex4d.camera.name == "EX-4D Camera"
        (advice,) = checks.warnings(scene)
        assert "does not move" in advice.text
        assert np.array_equal(camera.sample(scene).camera_to_world[0], np.eye(4))


@pytest.mark.parametrize(("kind", "name"), [("ORTHO", "orthographic"), ("PANO", "panoramic")])
def test_a_camera_of_the_wrong_kind_is_called_by_its_name(scene, tmp_path, kind, name):
    shots.open_small(tmp_path)
    scene.ex4d.camera.data.type = kind
    announced.by()
    (advice,) = checks.warnings(scene)
    assert f"The camera is {name}: set its lens" in advice.text


def test_an_expected_error_prints_no_traceback(scene, addon, capfd):
    session.current().press(OPEN)  # there is no clip.mp4
    session.current().tick()
    assert session.current().state.failed
    assert "Traceback" not in capfd.readouterr().err


def test_an_empty_name_is_no_clip(scene, addon):
    for name in ("", "/"):
        with pytest.raises(RuntimeError, match="No clip is chosen"):
            bpy.ops.ex4d.open_clip(filepath=name)


def test_server_python_may_begin_with_a_tilde_and_stays_a_link(addon, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "real"
    script.write_text(f'#!/bin/sh\necho "$0" > {tmp_path / "said"}; exit 3\n')
    script.chmod(0o755)
    (tmp_path / "link").symlink_to(script)
    server = session.current().server
    server.start("~/link", "tcp://127.0.0.1:59731")
    server.process.wait()
    assert (tmp_path / "said").read_text().strip() == str(tmp_path / "link")
    assert server.trouble == f"The server has ended (exit code 3). Its log is {server.log_file}."
    server.stop()


def test_a_server_that_a_crashed_blender_has_left_is_known_and_asked_to_end(addon, tmp_path, monkeypatch):
    monkeypatch.setattr("blender_addon.scene.compat.user_folder", lambda package: tmp_path)
    own = session.current().server
    own.state.mkdir()
    assert not own.is_instance("0a1b")
    (own.state / "server.json").write_text('{"address": "tcp://127.0.0.1:5750", "instance": "2c3d", "pid": 1}')
    assert own.is_instance("2c3d")
    assert not own.is_instance("4e5f")  # another server, on the same address
    own.ask_to_end()
    assert (own.state / "stop").exists()


def test_a_server_that_is_started_lingers_and_is_asked_before_it_is_ended(addon, tmp_path, monkeypatch):
    monkeypatch.setattr("blender_addon.scene.compat.user_folder", lambda package: tmp_path)
    script = tmp_path / "python"
    stop = tmp_path / "server" / "stop"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "said"}\nwhile [ ! -e {stop} ]; do sleep 0.05; done\n')
    script.chmod(0o755)
    own = session.current().server
    own.start(str(script), "tcp://127.0.0.1:59731")
    assert session.current().may_stop_server
    process = own.process
    session.current().stop_server()
    assert process.returncode == 0
    assert "--linger 900" in (tmp_path / "said").read_text()


def test_the_folder_of_a_server_that_is_started_here_is_private(addon, user_folder, tmp_path):
    """Even one that an earlier version made readable by everyone."""
    (user_folder / "server").mkdir(mode=0o755)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    server = session.current().server
    server.start(str(python), "tcp://127.0.0.1:5750")
    server.stop()
    assert (user_folder / "server").stat().st_mode & 0o777 == 0o700


def test_while_a_file_goes_over_the_socket_the_timer_comes_back_sooner(addon, monkeypatch):
    here = session.current()
    budgets = []

    class Moving:
        status, problem, server, unloaded, refusal, moving = "ready", "", None, None, "", True

        def poll(self, budget):
            budgets.append(budget)
            return []

        def close(self):
            pass

    monkeypatch.setattr(here, "client", Moving())
    assert session.timer() <= 0.005
    assert 0.01 <= budgets[0] <= 0.04, "more than usual, but never what a user would feel as a stop"
    Moving.moving = False
    assert session.timer() == session.IDLE_INTERVAL_S
    assert budgets[1] < 0.01
