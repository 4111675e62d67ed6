"""Takes by a generator that the add-on does not know, the way an artist makes them: tests/plugins/ex4d_orange.py.

The server gets it from a package on its path; nothing in the add-on refers to it.
"""

import hashlib
import json
import subprocess
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import Server
from test_whole_way import addon_modules, connected, eroded, movie, open_few_frames, tick_until

PLUGINS = Path(__file__).resolve().parent.parent / "plugins"
WHY_NOT = "Files of the orange model are missing: `ex4d models` says how to get them."


@pytest.fixture
def server(tmp_path):
    environment = {"PYTHONPATH": str(PLUGINS), "EX4D_TEST_MISSING": str(tmp_path / "missing")}
    made = Server(tmp_path / "backend", environment)
    made.state.mkdir()
    try:
        made.start()
        yield made
    finally:
        made.kill()


def workers(server):
    """Ids of the processes that the server has started."""
    return subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True).stdout.split()


def a_shot_that_moves(scene):
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="60")


def test_the_model_makes_a_take_that_shows_pictures_meanwhile_and_says_its_quality(scene, server):

    _camera, compat, _objects, session, takes = addon_modules()
    a_shot_that_moves(scene)
    scene.ex4d_generators.orange.quality, scene.ex4d.seed = "draft", 3
    session.current().press(takes.request_take(scene, preview=False))
    tick_until(lambda: session.current().state.picture != b"")
    assert session.current().state.stage == "Sampling"
    assert tuple(session.current().picture.preview.image_size) == (160, 90)
    tick_until(lambda: not session.current().state.busy)
    assert not session.current().state.failed, session.current().state
    assert session.current().picture.preview is None

    (strip,) = compat.strips(scene)
    assert strip.name == "EX-4D Take 001 (Draft)"
    assert not strip["ex4d_is_preview"]
    assert "Made at draft quality" in session.current().state.message
    assert "preview" not in session.current().state.message
    assert scene.ex4d.takes[0].made == "Orange Model, Draft, seed 3"
    folder = takes.take_folder(scene, 1)
    record = json.loads((folder / "take.json").read_text())
    assert (record["generator"], record["settings"]["quality"], record["seed"]) == ("orange", "draft", 3)
    result, _ = movie(folder / "result.mp4")
    mask, _ = movie(folder / "mask.mp4")
    hole = eroded(255 - mask[..., 0], 4)[-1] > 127
    assert hole.any()
    assert np.abs(result[-1][hole].astype(int) - (250, 120, 0)).mean() < 6


def test_a_take_by_the_model_is_made_again_the_same(scene, server):
    from blender_addon.shot import files

    _camera, compat, _objects, session, takes = addon_modules()
    a_shot_that_moves(scene)
    scene.ex4d_generators.orange.quality = "draft"
    scene.ex4d.seed, scene.ex4d.keep_source = 3, False
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    scene.ex4d_generators.orange.quality = "balanced"
    scene.ex4d.seed, scene.ex4d.keep_source = 9, True
    assert bpy.ops.ex4d.take_again(number=1) == {"FINISHED"}
    assert bpy.ops.ex4d.take_again(number=1, options='{"quality": "final"}') == {"FINISHED"}
    assert [take.title for take in scene.ex4d.takes] == ["Take 001 (Draft)", "Take 002 (Draft)", "Take 003 (Final)"]
    one, two, three = (takes.take_folder(scene, number) for number in (1, 2, 3))
    for name in ("result.mp4", "composited.mp4", "camera.npz"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    record, camera_file = json.loads((three / "take.json").read_text()), (three / "camera.npz").read_bytes()
    assert (one / "camera.npz").read_bytes() == camera_file
    assert record["job"]["path"]["sha256"] == hashlib.sha256(camera_file).hexdigest()
    assert record["seed"] == 3
    assert len(compat.strips(scene)) == 3
    assert not list(files.user_shots().parent.glob("paths/*"))  # camera files wait there and are removed with their job
    assert not session.current().state.failed


def test_free_memory_ends_the_idle_worker_and_the_next_take_works(scene, server):
    _camera, compat, _objects, session, takes = addon_modules()
    a_shot_that_moves(scene)
    assert len(workers(server)) == 1
    session.current().press(takes.request_take(scene, preview=False))
    tick_until(lambda: session.current().state.picture != b"")
    bpy.ops.ex4d.unload()
    tick_until(lambda: "A job is running" in session.current().state.message)
    assert session.current().state.busy
    tick_until(lambda: not session.current().state.busy)
    before = workers(server)
    bpy.ops.ex4d.unload()
    tick_until(lambda: "The memory has been freed" in session.current().state.message)
    assert workers(server) == []
    bpy.ops.ex4d.unload()
    tick_until(lambda: session.current().state.message == "Nothing is loaded.")
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert workers(server) != before
    assert len(compat.strips(scene)) == 2


def test_where_the_model_cannot_run_it_is_known_before_and_refused_or_replaced(scene, tmp_path):
    from blender_addon.shot import checks

    _camera, compat, _objects, session, _takes = addon_modules()
    missing = tmp_path / "missing"
    missing.write_text(WHY_NOT)
    now = connected()
    assert now.capabilities.generators[0].missing == WHY_NOT
    (advice,) = checks.generator_trouble(scene)
    assert advice.text.startswith(f"The take will be a preview. {WHY_NOT}")
    a_shot_that_moves(scene)
    scene.ex4d.generator = "orange"
    with pytest.raises(RuntimeError, match="Files of the orange model are missing"):
        bpy.ops.ex4d.generate()
    assert session.current().state.failed
    assert not compat.all_strips(scene)
    assert not (scene.ex4d.folder / "takes").exists()
    scene.ex4d.generator = "auto"
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert compat.strips(scene)[0].name == "EX-4D Take 001 (Preview)"
    assert WHY_NOT in session.current().state.message

    # Once the files have arrived, the button checks again, and the model makes the next take.
    missing.unlink()
    assert now.capabilities.generators[0].missing == WHY_NOT
    bpy.ops.ex4d.connect()
    tick_until(lambda: now.capabilities is not None and not now.capabilities.generators[0].missing)
    assert checks.generator_trouble(scene) == []
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert [take.title for take in scene.ex4d.takes] == ["Take 001 (Preview)", "Take 002 (Final)"]


def test_settings_of_the_generator_travel_stay_and_are_checked(scene, server, tmp_path):
    """The panel draws what the server announces, with ranges and choices; the .blend stores the values."""
    takes = addon_modules()[4]
    a_shot_that_moves(scene)
    settings = scene.ex4d_generators.orange
    settings.prompt, settings.pause = "a darker orange", 0.0
    about = settings.bl_rna.properties
    assert (about["pause"].hard_min, about["pause"].hard_max) == (0, 10)
    with pytest.raises(TypeError, match=r"not found in \('final', 'balanced', 'draft'\)"):
        settings.quality = "superb"
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    record = json.loads((takes.take_folder(scene, 1) / "take.json").read_text())
    assert record["job"]["generation"]["options"]["orange"] == {"prompt": "a darker orange", "pause": 0.0}
    assert record["settings"]["prompt"] == "a darker orange"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    server.kill()
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert json.loads(bpy.context.scene.ex4d.options)["orange"]["prompt"] == "a darker orange"
    server.start()
    connected()
    assert bpy.context.scene.ex4d_generators.orange.prompt == "a darker orange"


def test_cancel_stops_the_model_between_two_steps(scene, server):
    _camera, compat, _objects, session, takes = addon_modules()
    a_shot_that_moves(scene)
    bpy.ops.ex4d.preview()
    before = workers(server)
    session.current().press(takes.request_take(scene, preview=False))
    tick_until(lambda: session.current().state.picture != b"")
    bpy.ops.ex4d.cancel()
    assert (session.current().state.busy, session.current().state.picture) == (False, b"")
    time.sleep(1)
    assert workers(server) == before  # it stopped on its own, and nothing had to be killed
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert len(compat.strips(scene)) == 2


def test_a_file_opened_again_while_the_model_works_shows_its_picture(scene, server, tmp_path):
    _camera, compat, _objects, session, takes = addon_modules()
    a_shot_that_moves(scene)
    session.current().press(takes.request_take(scene, preview=False))
    tick_until(lambda: session.current().state.picture != b"")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "running.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert session.current().state.picture == b""
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "running.blend"))
    tick_until(lambda: session.current().state.picture != b"")
    tick_until(lambda: not session.current().state.busy)
    assert compat.strips(bpy.context.scene)[0].name == "EX-4D Take 001 (Final)"
