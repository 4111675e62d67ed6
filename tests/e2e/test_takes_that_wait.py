"""Waiting takes, with a real server: order, seeds, a file closed in the meantime, a killed server."""

import json
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from test_whole_way import movie, open_few_frames, tick_until


def addon_modules():
    from blender_addon.shot import takes, variations
    from blender_addon.work import queue, session

    return queue, session, takes, variations


def press_variations(number):
    """Do what the panel's button does, without waiting for the end."""
    _queue, session, _takes, variations = addon_modules()
    for request in variations.requests(bpy.context.scene, number):
        session.current().press(request)


def seeds_of_takes(scene):
    _queue, _session, takes, _variations = addon_modules()
    folders = [takes.take_folder(scene, entry.number) for entry in scene.ex4d.takes]
    return [json.loads((folder / "take.json").read_text())["seed"] for folder in folders]


def ending(client, job_id, seconds=60.0):
    """The update that ends the job. The session does not tick meanwhile: its tick would take the update instead."""
    last = time.monotonic() + seconds
    while time.monotonic() < last:
        for update in client.poll():
            if update.job_id == job_id and update.ended:
                return update
        time.sleep(0.002)
    raise AssertionError(f"Job {job_id} has not ended after {seconds:.0f} s.")


def test_variations_are_takes_with_seeds_in_a_row_and_one_camera(scene, tmp_path):
    _queue, session, takes, _variations = addon_modules()
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="30")
    scene.ex4d.seed = 3
    press_variations(3)
    tick_until(lambda: not session.current().state.busy)
    assert seeds_of_takes(scene) == [3, 4, 5]
    assert not session.current().queue.waiting
    assert (scene.ex4d.job_id, scene.ex4d.waiting) == ("", "")
    paths = [takes.camera_of(scene, number).camera_to_world for number in (1, 2, 3)]
    assert np.array_equal(paths[0], paths[1])
    assert np.array_equal(paths[0], paths[2])
    assert not list((tmp_path / "user" / "paths").glob("*")), "the cameras are with their takes now"


@pytest.mark.parametrize("has_them", [True, False], ids=["the server has them", "nothing was sent yet"])
def test_closing_the_file_loses_no_take_that_waits(scene, tmp_path, has_them):
    _queue, session, _takes, _variations = addon_modules()
    blend = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="30")
    press_variations(3)
    now = session.current()
    if has_them:
        tick_until(lambda: now.state.taken and all(each.taken for each in now.queue.waiting))
    else:
        tick_until(lambda: now.state.job_id and all(each.job_id for each in now.queue.waiting))
    wanted = [now.state.job_id, *(each.job_id for each in now.queue.waiting)]
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    session.current().disconnect()
    assert not session.current().state.busy
    assert not session.current().queue.waiting

    bpy.ops.wm.open_mainfile(filepath=str(blend))
    now = session.current()
    now.enter_file()
    found = [now.state.job_id, *(each.job_id for each in now.queue.waiting)]
    assert found == (wanted if has_them else ["", "", ""])
    assert not now.finish().failed
    assert not now.queue.lost
    fresh = bpy.context.scene
    assert seeds_of_takes(fresh) == [0, 1, 2]
    assert (fresh.ex4d.job_id, fresh.ex4d.waiting) == ("", "")
    strips = [_takes.strip_of(fresh, entry.number) for entry in fresh.ex4d.takes]
    assert [strip["ex4d_job"] for strip in strips] == wanted, "none is made twice, should the server have had it"


def test_a_server_that_is_killed_makes_all_of_them_once_it_is_back(scene, server):
    _queue, session, _takes, _variations = addon_modules()
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="30")
    press_variations(2)
    now = session.current()
    tick_until(lambda: now.state.step > 0 and bool(now.queue.waiting[0].job_id))
    server.kill()
    tick_until(lambda: bool(now.state.trouble), 30)
    server.start()
    tick_until(lambda: not now.state.busy)
    assert not now.state.failed, now.state.message
    assert seeds_of_takes(scene) == [0, 1]


def test_one_that_waits_is_cancelled_on_the_server_too_and_an_error_stops_no_other(scene, tmp_path):
    queue, session, _takes, variations = addon_modules()
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="30")
    one, two, three, four = variations.requests(scene, 4)
    broken = {**two.generation, "generator": "nobody"}
    two = type(two)(**{**vars(two), "generation": broken})
    now = session.current()
    for request in (one, two, three, four):
        now.press(request)
    tick_until(lambda: all(each.taken for each in now.queue.waiting if each.request.path == three.path))
    third = next(each for each in now.queue.waiting if each.request.path == three.path)
    now.dispatch(queue.CancelWaiting(three.path))
    tick_until(lambda: not now.state.busy)
    assert seeds_of_takes(scene) == [0, 3]
    (lost,) = now.queue.lost
    assert lost.startswith("Take with Seed 1: ")
    assert "nobody" in lost
    assert not Path(three.path).exists()
    now.client.follow(third.job_id)
    assert ending(now.client, third.job_id).state == "cancelled"


def test_takes_have_thumbnails_of_their_middle_frame(scene):
    _queue, _session, takes, _variations = addon_modules()
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="30")
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    assert bpy.ops.ex4d.preview() == {"FINISHED"}
    for view, name in ((False, "result.mp4"), (True, "view.mp4")):
        folder = takes.take_folder(scene, 1, view)
        frames, _rate = movie(folder / name)
        times = frames.shape[1] // 144  # a take has the clip's own size, a path preview the working size
        frames = frames.reshape(len(frames), 144, times, 256, times, 3).mean(axis=(2, 4))
        image = bpy.data.images.load(str(folder / "thumbnail.jpg"))
        assert tuple(image.size) == (256, 144)
        shown = np.array(image.pixels).reshape(144, 256, 4)[::-1, :, :3] * 255
        assert np.argmin([np.abs(shown - frame).mean() for frame in frames]) == 4
        assert np.median(np.abs(shown - frames[4])) <= 6
