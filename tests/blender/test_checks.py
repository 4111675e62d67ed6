"""The warnings of the Check panel, until it says that everything is ready."""

import contextlib
import os
import socket
import threading
import time
from types import SimpleNamespace

import announced
import bpy
import pytest
import shots

from blender_addon.scene import objects
from blender_addon.shot import checks, takes
from blender_addon.ui.preferences import preferences
from blender_addon.work import session, state


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


@pytest.fixture
def ready(scene):
    """A server that answers and a moving camera, so that there are no warnings."""
    announced.by()
    bpy.ops.ex4d.camera_preset(preset="30")
    assert not checks.warnings(scene)


def press(advice):
    group, name = advice.operator.split(".")
    assert getattr(getattr(bpy.ops, group), name)(**dict(advice.settings)) == {"FINISHED"}


@pytest.mark.parametrize(
    ("shown", "told"), [("EX-4D Source Camera", "scene's camera is EX-4D Source Camera"), (None, "scene has no camera")]
)
def test_a_chosen_camera_that_the_scene_does_not_show_is_told_and_the_button_shows_it(scene, ready, shown, told):
    scene.camera = scene.objects[shown] if shown else None
    (advice,) = checks.warnings(scene)
    assert advice.text == f"The take will be made with EX-4D Camera, but the {told}."
    press(advice)
    assert scene.camera == scene.ex4d.camera
    assert not checks.warnings(scene)


def test_choosing_the_own_camera_again_also_shows_it_where_the_old_one_was_shown(scene):
    other = bpy.data.objects.new("other", bpy.data.cameras.new("other"))
    scene.collection.objects.link(other)
    scene.ex4d.camera = scene.camera = other
    bpy.ops.ex4d.use_own_camera()
    assert scene.camera == scene.ex4d.camera == objects.find(scene, objects.CAMERA)
    scene.camera = other
    scene.ex4d.camera = None
    bpy.ops.ex4d.use_own_camera()
    assert scene.camera == other


def test_a_server_that_does_not_answer_is_told_at_the_top_with_its_button_and_nothing_is_ready(scene, ready):
    session.current().dispatch(
        state.Troubled("The server at tcp://127.0.0.1:5750 does not answer: press Start Server.")
    )
    assert [a.short for a in checks.warnings(scene)] == ["Takes wait for a server"]
    assert "does not answer" in checks.server_trouble().text
    assert checks.server_trouble().operator == "ex4d.server_set_up"
    preferences().python = "/of/my/own/python"
    assert checks.server_trouble().operator == "ex4d.server_start"
    assert [a.short for a in checks.warnings(scene)] == ["Takes wait for a server"]


@pytest.fixture(params=["says nothing", "hangs up"])
def stranger(request, addon):
    """Another program that listens on the port where the add-on looks for its server."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    if request.param == "hangs up":

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
    preferences().address = f"tcp://127.0.0.1:{port}"
    yield port
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def tick_until(happened, seconds=60):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        session.current().tick()
        time.sleep(0.01)


def test_another_program_at_the_port_is_told_and_why_no_server_could_be_started(scene, stranger):
    now = session.current()
    now.connect()
    tick_until(lambda: now.state.trouble)
    advice = checks.server_trouble()
    assert (advice.short, advice.operator) == (f"Port {stranger} is taken by another server", "")
    assert "Server Address" in advice.text
    assert "in the preferences" in advice.text
    if "EX4D_PYTHON" not in os.environ:
        return
    preferences().python = os.environ["EX4D_PYTHON"]
    now.start_server()
    tick_until(lambda: "has ended" in now.state.trouble)
    last = now.server.log_file.read_text().strip().splitlines()[-1]
    assert str(stranger) in last
    assert now.state.message.startswith(f"The server has ended (exit code 2): {last.rstrip('.')}.")
    assert now.state.failed
    advice = checks.server_trouble()
    assert advice.short == f"Port {stranger} is taken by another server"
    assert last.rstrip(".") in advice.text


def test_where_nobody_listens_the_server_does_not_answer(scene, addon):
    now = session.current()
    now.connect()
    tick_until(lambda: now.state.trouble)
    assert "does not answer" in checks.server_trouble().text
    assert now.taken_port == 0


@pytest.mark.parametrize("python", ["", "/usr/bin/python3"])
def test_what_the_server_itself_lacks_is_told_without_a_button_that_would_not_help(scene, ready, python):
    preferences().python = python
    client = session.current().client
    client.trouble = "The server's disk is full: free some space where its state folder is."
    session.current().tick()
    advice = checks.server_trouble()
    assert (advice.text, advice.operator) == (client.trouble, "")
    client.trouble = ""
    session.current().tick()
    assert checks.server_trouble() is None


def test_without_a_server_nothing_is_ready_unless_generate_would_start_one(scene, ready):
    session.current().client = None
    (advice,) = checks.warnings(scene)
    assert advice.text == "No server is connected, and none is set up on this machine."
    assert advice.operator == "ex4d.server_set_up"
    preferences().python = "/usr/bin/python3"
    assert not checks.warnings(scene)
    session.current().client = SimpleNamespace(server=None, status="connecting", close=lambda: None)
    assert [a.text for a in checks.warnings(scene)] == ["The server has not answered yet."]


def test_a_camera_that_does_not_move_is_told_at_any_frame(scene, ready):
    chosen = scene.ex4d.camera
    chosen.animation_data_clear()
    bpy.ops.ex4d.snap_to_source(at="FIRST")
    for frame in (scene.ex4d.start, scene.ex4d.last):
        scene.frame_set(frame)
        (advice,) = checks.warnings(scene)
        assert "EX-4D Camera does not move, so the take would be the clip itself" in advice.text
    for frame in (200, 240):  # after the shot
        chosen.location.x = frame - 200
        chosen.keyframe_insert("location", frame=frame)
    scene.frame_set(scene.ex4d.start)
    assert "does not move" in checks.warnings(scene)[0].text
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    assert not checks.warnings(scene)


def test_a_camera_that_only_zooms_moves(scene, ready):
    chosen = scene.ex4d.camera
    chosen.animation_data_clear()
    bpy.ops.ex4d.snap_to_source(at="FIRST")
    for frame, factor in ((scene.ex4d.start, 1), (scene.ex4d.last, 2)):
        chosen.data.lens *= factor
        chosen.data.keyframe_insert("lens", frame=frame)
    scene.frame_set(scene.ex4d.start)
    assert not checks.warnings(scene)


def test_a_still_camera_off_the_source_view_is_told_at_any_frame(scene, ready):
    scene.ex4d.camera.animation_data_clear()
    bpy.ops.ex4d.snap_to_source(at="FIRST")
    scene.ex4d.camera.location.x += 1
    scene.frame_set(scene.ex4d.last)
    (advice,) = checks.warnings(scene)
    assert advice.operator == "ex4d.snap_to_source"


def test_a_keyed_camera_off_the_source_view_is_told_at_any_frame_and_after_a_reload(scene, ready, tmp_path):
    scene.ex4d.camera.location.x += 1
    scene.ex4d.camera.keyframe_insert("location", frame=scene.ex4d.start)
    scene.frame_set(scene.ex4d.last)
    for frame in (scene.ex4d.last, scene.ex4d.start):
        scene.frame_set(frame)
        assert [a.short for a in checks.warnings(scene)] == ["Starts off source view"]
    scene.frame_set(scene.ex4d.last)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "late.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "late.blend"))
    announced.by()
    scene = bpy.context.scene
    assert scene.frame_current == scene.ex4d.last
    assert [a.short for a in checks.warnings(scene)] == ["Starts off source view"]
    press(checks.warnings(scene)[0])
    assert not checks.warnings(scene)


def test_a_camera_keyed_to_move_as_the_source_camera_does_makes_the_clip_itself(scene, tmp_path):
    announced.by()
    shots.open_small(tmp_path / "moving", poses=shots.walk())
    assert not checks.warnings(scene), "a camera that stands while the source camera walks sees something else"
    bpy.ops.ex4d.camera_preset(preset="hold")
    for frame in (scene.ex4d.start, scene.ex4d.last):
        scene.frame_set(frame)
        (advice,) = checks.warnings(scene)
        assert "moves as the source camera does, so the take would be the clip itself" in advice.text
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    assert not checks.warnings(scene)


def test_a_camera_that_more_than_keys_moves_is_not_ready_before_its_path_was_looked_at(scene, ready):
    chosen, held = scene.ex4d.camera, bpy.data.objects.new("Held", None)
    scene.collection.objects.link(held)
    chosen.animation_data_clear()
    bpy.ops.ex4d.snap_to_source(at="FIRST")
    placed = chosen.matrix_world.copy()
    follows = chosen.constraints.new("CHILD_OF")
    follows.target = held
    bpy.context.view_layer.update()
    assert (chosen.matrix_world.translation - placed.translation).length < 1e-6
    for frame in (scene.ex4d.last, scene.ex4d.start):
        scene.frame_set(frame)
        (advice,) = checks.warnings(scene)
        assert (advice.short, advice.operator) == ("Path not checked", "ex4d.check_path")
    press(advice)
    (advice,) = checks.warnings(scene)
    assert advice.text.startswith("EX-4D Camera does not move, so the take would be the clip itself")

    for frame, x in ((scene.ex4d.start, 0.0), (scene.ex4d.last, 2.0)):
        held.location.x = x
        held.keyframe_insert("location", frame=frame)
    scene.frame_set(scene.ex4d.last)
    (advice,) = checks.warnings(scene)
    assert advice.operator == "ex4d.check_path", "it is elsewhere than it was: what was found does not hold"
    press(advice)
    assert scene.frame_current == scene.ex4d.last
    assert not checks.warnings(scene)

    held.animation_data_clear()
    held.location.x = 2
    bpy.context.view_layer.update()
    scene.frame_set(scene.ex4d.last)
    assert not checks.warnings(scene), "at the last frame nothing tells that it starts elsewhere now"
    scene.frame_set(scene.ex4d.start)
    assert [a.short for a in checks.warnings(scene)] == ["Starts off source view"]


def test_a_scene_range_that_misses_the_shot_is_told_and_the_button_mends_it(scene, ready):
    scene.frame_start, scene.frame_end = 100, 150
    (advice,) = checks.warnings(scene)
    assert advice.text == "The scene plays frames 100 to 150, but the clip is in frames 1 to 13."
    press(advice)
    assert (scene.frame_start, scene.frame_end) == (1, 13)
    assert not checks.warnings(scene)


def test_with_match_scene_off_the_cube_stays_and_check_offers_to_hide_it(scene, tmp_path):
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    scene = bpy.context.scene
    assert "hidden" not in shots.said_when_opened(tmp_path / "kept", match_scene=False)
    cube = scene.objects["Cube"]
    assert (cube.hide_viewport, cube.hide_render) == (False, False)
    (advice,) = [a for a in checks.warnings(scene) if a.operator == "ex4d.hide"]
    press(advice)
    assert cube.hide_render


def test_with_a_lead_in_a_path_may_begin_anywhere_and_the_take_is_asked_for_with_it(scene, ready):
    scene.ex4d.camera.location.x += 1
    scene.ex4d.camera.keyframe_insert("location", frame=scene.ex4d.start)
    (advice,) = checks.warnings(scene)
    assert advice.text.endswith("start it there, or turn on Lead-In in the Generator panel.")
    assert takes.request_take(scene, False).generation["lead_in"] is False
    scene.ex4d.lead_in = True
    assert not checks.warnings(scene)
    assert takes.request_take(scene, False).generation["lead_in"] is True
