"""Another part of the open clip, with a real server: nothing that exists is computed again."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from test_whole_way import SAMPLE, addon_modules

from ex4d.geometry.depth_video import load_depth_npz
from ex4d.jobs.client import Client


@pytest.fixture
def lonely(tmp_path) -> Path:
    """A clip without any depth."""
    clip = tmp_path / "lonely.mp4"
    clip.write_bytes(SAMPLE.read_bytes())
    return clip


def depth_of(facts) -> np.ndarray:
    from blender_addon.shot import source

    return load_depth_npz(Path(source.standing_depth(facts))).depth


def test_fewer_frames_and_more_are_one_click_each_and_camera_and_takes_stay(scene, lonely, monkeypatch):
    from blender_addon.shot import part

    _camera, compat, _objects, session, takes = addon_modules()
    jobs, submit = [], Client.submit
    monkeypatch.setattr(
        Client, "submit", lambda self, job, files, **more: jobs.append(job) or submit(self, job, files, **more)
    )
    assert bpy.ops.ex4d.open_clip(filepath=str(lonely), frames=9, longest_side=256) == {"FINISHED"}
    facts = scene.ex4d
    assert (facts.clip_frames, facts.clip_width, facts.clip_height) == (49, 512, 288)
    assert "lonely.mp4 is open. Frames 1 to 9 of 49, 256x144 px." in session.current().state.message
    bpy.ops.ex4d.camera_preset(preset="30")
    keys = [[tuple(p.co) for p in curve.keyframe_points] for curve in compat.fcurves(facts.camera)]
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    all_nine = depth_of(facts)

    facts.part_first, facts.part_frames = 4, 5
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    (depth,) = jobs[-1].source.depth
    assert (depth.name, jobs[-1].source.settings.estimator) == ("depth.npz", "file")
    assert np.array_equal(depth_of(facts), all_nine[3:8])
    assert "a guess" in facts.notes
    assert facts.depth["provider"] == "plane"
    assert facts.depth_found == ""

    facts.part_first, facts.part_frames = 1, 999
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    assert jobs[-1].source.depth == (), "the depth of frames that nobody has seen yet is estimated"
    assert part.opened(facts) == part.Part(0, 49, 256)
    assert [[tuple(p.co) for p in curve.keyframe_points] for curve in compat.fcurves(facts.camera)] == keys
    assert compat.strip_range(takes.strip_of(scene, 1)) == (1, 10)
    assert bpy.ops.ex4d.take_again(number=1) == {"FINISHED"}
    first, second = ((takes.take_folder(scene, n) / "result.mp4").read_bytes() for n in (1, 2))
    assert first == second
    assert compat.strip_range(takes.strip_of(scene, 2)) == (1, 10)


def test_fewer_frames_of_every_second_one_keep_step_rate_and_depth(scene, lonely):
    from blender_addon.shot import part

    assert bpy.ops.ex4d.open_clip(filepath=str(lonely), frames=9, step=2, longest_side=256) == {"FINISHED"}
    facts, first = scene.ex4d, scene.ex4d.start
    all_nine, rate = depth_of(facts), facts.fraction
    assert "9 of the 49 frames of lonely.mp4 are used, every 2nd one, beginning with frame 1." in facts.notes
    facts.part_first, facts.part_frames = 5, 4
    assert bpy.ops.ex4d.open_again() == {"FINISHED"}
    assert part.opened(facts) == part.Part(4, 4, 256, step=2)
    assert part.told(part.opened(facts), facts.clip_frames) == "frames 5 to 11 of 49, every 2nd one"
    assert np.array_equal(depth_of(facts), all_nine[2:6])
    assert (facts.start, facts.last, facts.fraction) == (first + 2, first + 5, rate)
