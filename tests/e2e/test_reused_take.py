"""Reusing an earlier take, with a real server: its files are sent by content, and the take can be remade."""

import json
import subprocess
from pathlib import Path

import bpy
import numpy as np
from conftest import PYTHON
from test_found_camera import press_open, shoot
from test_whole_way import movie, tick_until


def addon_modules():
    from blender_addon.shot import takes
    from blender_addon.work import session

    return session, takes


def take(scene):
    """Press Generate and wait; returns the folder of the take."""
    session, takes = addon_modules()
    now, before = session.current(), len(scene.ex4d.takes)
    now.press(takes.request_take(scene, False, now.capabilities))
    tick_until(lambda: not now.state.busy, 240)
    assert len(scene.ex4d.takes) == before + 1, now.state
    return takes.take_folder(scene, scene.ex4d.takes[before].number)


def test_a_take_reuses_what_an_earlier_one_invented_and_is_made_again(scene, tmp_path):
    session, takes = addon_modules()
    clip, _truth = shoot("street", tmp_path)
    press_open(clip)
    tick_until(lambda: not session.current().state.busy, 240)
    scene = bpy.context.scene
    scene.ex4d.generator_name = "preview"
    bpy.ops.ex4d.camera_preset(preset="30", amount=30)
    first = take(scene)
    bpy.ops.ex4d.camera_preset(preset="30", amount=26)
    alone = take(scene)
    scene.ex4d.earlier = "1"
    second = take(scene)
    record, other = (json.loads((folder / "take.json").read_text()) for folder in (second, alone))
    assert record["coverage"] == other["coverage"]
    assert (second / "earlier_depth.npz").is_file()
    assert np.mean(record["earlier"][4:]) > 0.03
    assert "The earlier take was made by the preview: its invented parts are soft." in record["notes"]
    named = record["job"]["source"]["earlier"]
    places = {sha: (second / place).resolve() for sha, place in record["inputs"].items()}
    assert places[named["result"]["sha256"]] == (first / "result.mp4").resolve()
    assert places[named["camera"]["sha256"]].read_bytes() == (first / "camera.npz").read_bytes()
    assert not np.array_equal(movie(second / "result.mp4")[0], movie(alone / "result.mp4")[0])

    # With the command line, from the take's folder alone.
    made = tmp_path / "made"
    subprocess.run([PYTHON, "-m", "ex4d.cli", "again", str(second), "--output_dir", str(made)], check=True, timeout=300)
    assert (made / "result.mp4").read_bytes() == (second / "result.mp4").read_bytes()

    # From Blender, where the artist has since changed the choice.
    scene.ex4d.earlier = "NONE"
    before = len(scene.ex4d.takes)
    session.current().press(takes.request_again(scene, scene.ex4d.takes[before - 1].number))
    tick_until(lambda: not session.current().state.busy, 240)
    folder = takes.take_folder(scene, scene.ex4d.takes[before].number)
    assert json.loads((folder / "take.json").read_text())["earlier"] == record["earlier"]
    assert (Path(folder) / "result.mp4").read_bytes() == (second / "result.mp4").read_bytes()
