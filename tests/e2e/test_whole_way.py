"""The whole workflow of an artist: the add-on's own operators with a real backend process."""

import json
import os
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
import pytest

SAMPLE = Path(__file__).parents[2] / "sample" / "clip.mp4"


def addon_modules():
    from blender_addon.scene import camera, compat, objects
    from blender_addon.shot import takes
    from blender_addon.work import session

    return camera, compat, objects, session, takes


def movie(path: str | Path) -> tuple[np.ndarray, Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), stream.average_rate


def eroded(mask: np.ndarray, by: int) -> np.ndarray:
    for axis in (1, 2):
        mask = np.min([np.roll(mask, shift, axis) for shift in range(-by, by + 1)], axis=0)
    return mask


def tick_until(reached: Callable[[], bool], seconds: float = 60.0) -> None:
    session = addon_modules()[3]
    end = time.monotonic() + seconds
    while not reached():
        session.current().tick()
        assert time.monotonic() < end, session.current().state
        time.sleep(0.002)


def connected():
    """The session, once the server has announced what it can do."""
    now = addon_modules()[3].current()
    now.connect()
    tick_until(lambda: now.client.status == "ready")
    return now


def open_few_frames() -> None:
    assert bpy.ops.ex4d.open_clip(filepath=str(SAMPLE), frames=9, longest_side=256) == {"FINISHED"}


def press_generate_and_wait_until_it_runs() -> None:
    """Do what the panel's button does; without a window, Blender turns every invoke into execute, which blocks."""
    _camera, _compat, _objects, session, takes = addon_modules()
    session.current().press(takes.request_take(bpy.context.scene, preview=False))
    assert session.current().state.busy
    tick_until(lambda: session.current().state.phase == "working" and session.current().state.step > 0)


def test_a_clip_goes_in_and_a_strip_comes_out(scene, tmp_path):
    camera, compat, objects, _session, takes = addon_modules()
    blend = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))

    assert bpy.ops.ex4d.open_clip(filepath=str(SAMPLE)) == {"FINISHED"}
    facts = scene.ex4d
    assert (facts.width, facts.height, facts.frames) == (512, 288, 49)
    assert (scene.frame_start, scene.frame_end) == (1, 49)
    mesh = objects.find(scene, objects.MESH)
    assert len(mesh.data.vertices) == 258 * 146  # every second pixel, and the border: a light mesh

    assert bpy.ops.ex4d.camera_preset(preset="30") == {"FINISHED"}
    keyed = facts.camera
    scene.frame_set(scene.frame_end)
    keyed.location.z += 0.2
    keyed.keyframe_insert("location", frame=scene.frame_end)
    path = camera.sample(scene)
    facts.seed = 7

    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    (strip,) = compat.strips(scene)
    assert compat.strip_range(strip) == (1, 50)
    assert strip.name == "EX-4D Take 001 (Preview)"
    assert (strip["ex4d_take"], strip["ex4d_seed"], strip["ex4d_generator"]) == (1, 7, "preview")
    assert strip["ex4d_is_preview"]
    assert strip["ex4d_job"]

    folder = tmp_path / "ex4d" / facts.shot / "takes" / "take_001"
    assert {p.name for p in folder.iterdir()} == {
        "result.mp4",
        "colour.mp4",
        "mask.mp4",
        "camera.npz",
        "take.json",
        "generated.mp4",
        "thumbnail.jpg",
    }
    assert json.loads((folder / "take.json").read_text())["seed"] == 7
    kept = takes.camera_of(scene, 1)
    assert kept.camera_to_world == pytest.approx(path.camera_to_world)

    result, rate = movie(folder / "result.mp4")
    colour, _ = movie(folder / "colour.mp4")
    mask, _ = movie(folder / "mask.mp4")
    source, _ = movie(SAMPLE)
    assert result.shape == source.shape
    assert rate == Fraction(scene.render.fps) == 24
    real = eroded(mask[..., 0] > 127, 3)
    assert real[0, 3:-3, 3:-3].mean() > 0.95
    assert real[-1].mean() < 0.95
    difference = np.abs(result.astype(int) - colour)[real]
    assert difference.mean() < 2
    assert np.quantile(difference, 0.99) <= 12
    first = np.abs(result[0].astype(int) - source[0])
    assert first.mean() < 3

    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    (strip,) = compat.strips(scene)
    assert strip.filepath.startswith("//")
    assert Path(bpy.path.abspath(strip.filepath)) == folder / "result.mp4"
    assert [take.title for take in scene.ex4d.takes] == ["Take 001 (Preview)"]
    assert Path(bpy.path.abspath(objects.find(scene, objects.MESH).modifiers[0].filepath)).is_file()
    assert camera.sample(scene).camera_to_world == pytest.approx(path.camera_to_world, abs=1e-6)

    # A second take next to the first.
    assert bpy.ops.ex4d.preview() == {"FINISHED"}
    names = {strip.name for strip in compat.strips(scene)}
    assert names == {"EX-4D Take 001 (Preview)", "EX-4D Path Preview 001"}
    assert len({strip.channel for strip in compat.strips(scene)}) == 2
    assert np.array_equal(movie(folder / "result.mp4")[0], result)


def test_cancel_leaves_no_strip_and_an_idle_backend(scene, server):
    _camera, compat, _objects, session, _takes = addon_modules()
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="60")
    press_generate_and_wait_until_it_runs()
    bpy.ops.ex4d.cancel()
    assert not session.current().state.busy
    assert session.current().state.message == "Cancelled."
    assert not compat.all_strips(scene)
    assert not (scene.ex4d.folder / "takes").exists()
    assert scene.ex4d.job_id == ""
    assert bpy.ops.ex4d.generate() == {"FINISHED"}  # only an idle backend accepts it
    assert len(compat.strips(scene)) == 1


def test_a_backend_killed_in_mid_job_is_told_and_the_next_press_works(scene, server):
    _camera, compat, _objects, session, _takes = addon_modules()
    open_few_frames()
    press_generate_and_wait_until_it_runs()
    server.kill()
    tick_until(lambda: session.current().state.trouble != "")
    assert "does not answer" in session.current().state.trouble
    assert session.current().state.busy  # it would continue if the same server came back
    bpy.ops.ex4d.cancel()
    assert not session.current().state.busy
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    python, settings.python = settings.python, ""
    with pytest.raises(RuntimeError, match="does not answer: press Set Up Server"):
        bpy.ops.ex4d.generate()
    settings.python = python
    assert bpy.ops.ex4d.server_start() == {"FINISHED"}
    assert session.current().state.trouble == ""
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert len(compat.strips(scene)) == 1


def test_a_press_starts_the_server_where_none_answers(scene, server, tmp_path, monkeypatch):
    _camera, compat, _objects, session, takes = addon_modules()
    own = session.current().server
    open_few_frames()
    server.kill()
    monkeypatch.chdir(tmp_path)
    settings = bpy.context.preferences.addons["blender_addon"].preferences
    settings.python = os.path.relpath(settings.python)  # relative to Blender's working folder
    assert not own.is_running
    session.current().press(takes.request_take(scene, preview=False))
    assert "A server was started. It runs on this machine" in session.current().state.message
    tick_until(lambda: not session.current().state.busy)
    assert not session.current().state.failed, session.current().state
    assert len(compat.strips(scene)) == 1
    assert own.is_running
    own.process.kill()
    own.process.wait()
    assert own.trouble == f"The server has ended (signal 9). Its log is {own.log_file}."


def test_a_server_of_another_version_that_an_earlier_blender_has_left_can_be_stopped(scene, server, monkeypatch):
    from ex4d.jobs.messages import PROTOCOL_VERSION

    _camera, _compat, _objects, session, _takes = addon_modules()
    server.kill()
    now = session.current()
    assert bpy.ops.ex4d.server_start() == {"FINISHED"}
    process, now.server.process = now.server.process, None  # as after a crash
    now.disconnect()
    monkeypatch.setattr("ex4d.jobs.link.PROTOCOL_VERSION", PROTOCOL_VERSION + 1)
    now.connect()
    tick_until(lambda: now.client.status == "refused")
    assert "too old for EX-4D" in now.state.trouble
    assert "press Update, or Repair" in now.state.trouble
    assert bpy.ops.ex4d.server_stop() == {"FINISHED"}
    assert process.wait(20) == 0
    assert not now.may_stop_server


def test_a_server_that_comes_back_goes_on_with_the_job(scene, server):
    _camera, compat, _objects, session, _takes = addon_modules()
    open_few_frames()
    press_generate_and_wait_until_it_runs()
    server.kill()
    tick_until(lambda: session.current().state.trouble != "")
    server.start()
    tick_until(lambda: not session.current().state.busy)
    assert not session.current().state.failed, session.current().state
    assert len(compat.strips(scene)) == 1


def test_a_job_is_followed_again_after_the_file_is_loaded(scene, tmp_path):
    _camera, compat, _objects, session, _takes = addon_modules()
    open_few_frames()
    press_generate_and_wait_until_it_runs()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "running.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert not session.current().state.busy
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "running.blend"))
    assert session.current().state.busy
    tick_until(lambda: not session.current().state.busy)
    assert len(compat.strips(bpy.context.scene)) == 1
    assert bpy.context.scene.ex4d.job_id == ""


def test_a_clip_shorter_than_asked_for_is_opened_as_far_as_it_goes(scene, tmp_path):
    from ex4d.media.movie import write_movie

    frames = np.random.default_rng(1).integers(0, 255, (5, 64, 96, 3), np.uint8)
    write_movie(tmp_path / "short.mp4", frames, Fraction(25))
    depth = np.linspace(3, 9, 5 * 64 * 96, dtype=np.float32).reshape(5, 64, 96)
    np.savez(tmp_path / "short.depth.npz", depth=depth)
    assert bpy.ops.ex4d.open_clip(filepath=str(tmp_path / "short.mp4")) == {"FINISHED"}
    assert scene.ex4d.frames == 5
    assert (scene.frame_start, scene.frame_end, scene.render.fps) == (1, 5, 25)


def test_a_folder_of_pictures_runs_at_the_scenes_rate(scene, tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, colour in enumerate(((1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1))):
        image = bpy.data.images.new("picture", 64, 48)
        image.pixels[:] = colour * (64 * 48)
        image.filepath_raw, image.file_format = str(folder / f"{number:04d}.png"), "PNG"
        image.save()
        bpy.data.images.remove(image)
    np.savez(tmp_path / "walk.depth.npz", depth=np.full((3, 48, 64), 5, np.float32))
    scene.render.fps = 25
    assert bpy.ops.ex4d.open_clip(filepath=str(folder / "0001.png")) == {"FINISHED"}
    assert (scene.ex4d.frames, scene.ex4d.fraction, scene.render.fps) == (3, 25, 25)


def test_bad_input_is_told_in_a_sentence(scene, tmp_path):
    _camera, _compat, _objects, session, _takes = addon_modules()
    with pytest.raises(RuntimeError, match="No clip is chosen"):
        bpy.ops.ex4d.open_clip(filepath="")
    with pytest.raises(RuntimeError, match="There is no clip"):
        bpy.ops.ex4d.open_clip(filepath=str(tmp_path / "missing.mp4"))
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with pytest.raises(RuntimeError) as told:
        bpy.ops.ex4d.open_clip(filepath=str(text), depth=str(SAMPLE.with_name("clip.depth.npz")))
    assert "text.mp4" in str(told.value)
    assert session.current().state.failed
    assert not scene.ex4d.shot
    assert not list((tmp_path / "user").glob("shots/*"))
