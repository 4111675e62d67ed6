"""Frame numbers in messages are those of the timeline, wherever a message comes from."""

from dataclasses import replace

import bpy
import numpy as np
import pytest
import shots
from test_takes import deliver

from blender_addon.shot import takes
from blender_addon.work import requests, session, state
from ex4d.frame_numbers import in_shot
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.jobs.client import JobUpdate
from ex4d.render.conditioning import path_notes

FIRST = 101
JOB = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def shot(scene, tmp_path, addon):
    scene.frame_start = FIRST
    return shots.open_small(tmp_path)


def through_the_wall(depth):
    """The library's note on a camera that passes through the surface in its sixth frame."""
    mesh, poses = DWMesh.from_depth(depth), np.repeat(np.eye(4)[None], len(depth.depth), 0)
    poses[5:, 2, 3] = 50
    (note,) = path_notes(mesh, CameraPath(poses, mesh.intrinsics, mesh.width, mesh.height))
    return note


def test_a_take_is_told_of_with_the_frames_of_the_timeline(scene, shot, tmp_path):
    note = through_the_wall(shot)
    assert "frame 5 (from 0)" in note, "that is how the command line counts"
    request, update = deliver(scene, tmp_path / "one")
    told = shots.outcome(takes.bring_in(request, replace(update, facts={**update.facts, "notes": [note]})))
    assert "the first being frame 106, where" in told
    assert "from 0" not in told


def test_notes_of_the_clip_in_the_panel_count_as_the_timeline_does(scene, shot, tmp_path):
    update = shots.deliver(tmp_path / "again_job", shot)
    update = replace(update, facts={**update.facts, "notes": [f"From {in_shot(3)} on it is dark."]})
    asked = requests.OpenRequest(scene.name, scene.ex4d.shot, scene.ex4d.opened, "", "", {})
    shots.bring_in(asked, update)
    assert scene.ex4d.notes == "From frame 104 on it is dark."


def test_a_job_that_fails_names_the_frame_of_the_timeline(scene, shot):
    session.current().connect()
    request = takes.request_take(scene, preview=False)
    session.current().dispatch(state.Reopened(request, JOB))
    failed = JobUpdate(JOB, "failed", message=f"The depth of {in_shot(12)} is gone.")
    session.current().dispatch(state.Updated(failed))
    assert session.current().state.message == "The depth of frame 113 is gone."


def test_a_clip_that_is_not_open_yet_will_begin_at_the_scenes_first_frame(scene, addon):
    scene.frame_start = 11
    session.current().connect()
    request = requests.OpenRequest("Scene", "shot", "clip.mp4", "", "", {}, scene_uid=scene.session_uid)
    session.current().dispatch(state.Reopened(request, JOB))
    session.current().dispatch(state.Updated(JobUpdate(JOB, "failed", message=f"{in_shot(2)} is dark.")))
    assert session.current().state.message == "Frame 13 is dark."


def test_a_button_that_meets_a_damaged_camera_file_names_no_frame_from_0(scene, shot, tmp_path):
    request, update = deliver(scene, tmp_path / "one")
    shots.outcome(takes.bring_in(request, update))
    file = takes.take_folder(scene, 1) / "camera.npz"
    with np.load(file) as arrays:
        kept = dict(arrays)
    for name in {"camera_to_world", "extrinsics"} & set(kept):
        kept[name][4, 0, 0] = 7
    np.savez(file, **kept)
    with pytest.raises(RuntimeError, match="of frame 5 is not a rotation"):
        bpy.ops.ex4d.take_restore_camera(number=1)
    assert "of frame 5 is not a rotation" in session.current().state.message
