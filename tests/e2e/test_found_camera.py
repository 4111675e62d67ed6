"""The source camera arrives after the shot is open: a real server, generated clips with a known true camera."""

import json
import subprocess

import bpy
import numpy as np
import pytest
from conftest import PYTHON
from test_whole_way import tick_until

# The library's own Python renders the clips, because Blender has neither numba nor OpenCV.
SHOOT = """
import sys
from dataclasses import replace
from fractions import Fraction
import numpy as np
from ex4d.geometry.depth_video import save_depth
from ex4d.media.movie import write_movie
from ex4d.synthetic import scenes
name, folder, pumping = sys.argv[1:]
made = scenes.make(name, 13, 384, 208)
write_movie(f"{folder}/{name}.mp4", made.source.frames, Fraction(24))
jitter = np.exp(float(pumping) * np.random.default_rng(4).standard_normal((13, 1, 1))).astype(np.float32)
save_depth(f"{folder}/{name}_depth.npz", replace(made.depth, depth=made.depth.depth * jitter))
np.save(f"{folder}/median.npy", np.median(made.depth.depth, axis=(1, 2)))
np.save(f"{folder}/focal.npy", made.source.cameras.intrinsics[0, 0, 0])
np.save(f"{folder}/truth.npy", made.source.cameras.camera_to_world)
"""


def addon_modules():
    from blender_addon.scene import camera, objects
    from blender_addon.shot import takes
    from blender_addon.work import session

    return camera, objects, session, takes


def shoot(name, folder, pumping=0.0):
    """Render a clip next to its true depth, or depth that pumps; returns the clip and its true camera (T,4,4)."""
    subprocess.run([PYTHON, "-c", SHOOT, name, str(folder), str(pumping)], check=True, timeout=300)
    return folder / f"{name}.mp4", np.load(folder / "truth.npy")


def press_open(clip):
    """Open a clip as the panel's button does; returns once the shot is open, without waiting for the search."""
    _camera, _objects, session, _takes = addon_modules()
    from blender_addon.shot import asking

    session.current().press(asking.request_open(bpy.context.scene, clip, "", 0, None, 1024))
    tick_until(lambda: bpy.context.scene.ex4d.shot or session.current().state.failed)


def degrees(one, other):
    turned = one[:3, :3].T @ other[:3, :3]
    return np.degrees(np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1)))


def local(thing):
    """Current pose (4,4) of an object, in the world of the shot, in library axes."""
    camera, _objects, _session, _takes = addon_modules()
    graph = bpy.context.evaluated_depsgraph_get()
    to_shot = np.linalg.inv(camera.origin_of(bpy.context.scene, graph))
    return camera.rigid(to_shot @ camera.matrix_of(thing.evaluated_get(graph)), thing.name)


def path_of(scene, thing):
    """`local` in every frame of the shot (T,4,4)."""
    found = []
    for frame in range(scene.ex4d.start, scene.ex4d.last + 1):
        scene.frame_set(frame)
        found.append(local(thing))
    return np.stack(found)


def test_the_camera_comes_after_the_shot_moves_as_the_truth_and_keys_and_points_go_along(scene, tmp_path):
    _camera, objects, session, takes = addon_modules()
    clip, truth = shoot("street", tmp_path)
    press_open(clip)
    now, facts = session.current(), scene.ex4d
    assert now.state.finds_camera, "the shot stands, and the search goes on by itself"
    assert facts.path == ""
    assert "street.mp4 is open" in now.state.message

    # In the meantime, the artist adds keys and queues a take.
    bpy.ops.ed.undo_push(message="Opened")
    bpy.ops.ex4d.camera_preset(preset="30")
    bpy.ops.ed.undo_push(message="Keys")
    beside = path_of(scene, facts.camera)
    frame = scene.frame_current
    now.press(takes.request_take(scene, True, now.capabilities))
    assert len(now.queue.waiting) == 1

    tick_until(lambda: not now.state.finds_camera, 240)
    scene, facts = bpy.context.scene, bpy.context.scene.ex4d
    found = facts.poses
    assert scene.frame_current == frame
    way = np.linalg.norm(truth[-1, :3, 3])
    assert np.linalg.norm(found[:, :3, 3] - truth[:, :3, 3], axis=1).max() < 0.08 * way
    assert max(degrees(a, b) for a, b in zip(found, truth, strict=True)) < 0.6
    source = objects.find(scene, objects.SOURCE_CAMERA)
    assert path_of(scene, source) == pytest.approx(found, abs=1e-4)
    assert "The source camera was found by tracking points" in facts.notes
    assert "The source camera was found by tracking points" in now.state.message
    assert "The keys of EX-4D Camera were moved along with the source camera." in now.state.message

    went = path_of(scene, facts.camera)
    assert went == pytest.approx(found @ beside, abs=4e-3 * facts.radius)
    points = objects.find(scene, objects.POINTS)
    assert points.parent == objects.find(scene, objects.ROOT)
    assert points.hide_render
    seen = np.array([vertex.co for vertex in points.data.vertices])
    assert len(seen) > 100
    # The points are on visible surfaces: on Blender's mesh in the first frame.
    from blender_addon.scene import axes

    k, at = facts.intrinsics, axes.points_from_blender(seen)
    pixels = at @ k.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = ((pixels > 0) & (pixels < (facts.width, facts.height))).all(axis=1) & (at[:, 2] > 0)
    assert inside.mean() > 0.5

    tick_until(lambda: not now.state.busy)
    assert len(scene.ex4d.takes) == 1, "the take that waited is made"

    bpy.ops.ed.undo()  # the view
    bpy.ops.ed.undo()  # the camera
    scene, facts = bpy.context.scene, bpy.context.scene.ex4d
    assert facts.path == ""
    assert objects.find(scene, objects.POINTS) is None
    assert path_of(scene, facts.camera) == pytest.approx(beside, abs=1e-5)
    bpy.ops.ed.redo()
    assert bpy.context.scene.ex4d.path != ""


def pumps(scene, true):
    """Median change of the mesh's distances from frame to frame, relative to the truth."""
    _camera, objects, _session, _takes = addon_modules()
    from blender_addon.scene import axes

    facts, off = scene.ex4d, []
    for t, pose in enumerate(facts.poses if facts.path else np.tile(np.eye(4), (len(true), 1, 1))):
        scene.frame_set(facts.start + t)
        mesh = objects.find(scene, objects.MESH).evaluated_get(bpy.context.evaluated_depsgraph_get()).data
        at = axes.points_from_blender(np.array([vertex.co for vertex in mesh.vertices]))
        off.append(np.median(((at - pose[:3, 3]) @ pose[:3, :3])[:, 2]) / true[t])
    return np.median(np.abs(np.diff(np.log(off))))


def test_a_still_clip_whose_depth_pumps_gets_a_mesh_that_does_not_and_one_undo_takes_it_back(scene, tmp_path):
    _camera, objects, session, takes = addon_modules()
    clip, _truth = shoot("still", tmp_path, 0.05)
    true = np.load(tmp_path / "median.npy")
    press_open(clip)
    bpy.ops.ex4d.camera_preset(preset="30")
    bpy.ops.ed.undo_push(message="Keys")
    assert pumps(scene, true) > 0.03
    now, keys = session.current(), path_of(scene, scene.ex4d.camera)
    assert now.finish().failed is False
    scene = bpy.context.scene
    assert scene.ex4d.path == ""
    assert pumps(scene, true) < 0.01
    assert path_of(scene, scene.ex4d.camera) == pytest.approx(keys, abs=1e-5)
    assert objects.find(scene, objects.POINTS) is None
    for said in (scene.ex4d.notes, now.state.message):
        assert "The clip's own camera stands still." in said
        assert "The depth's scale pumped by" in said
    standing = scene.ex4d.source
    now.press(takes.request_take(scene, True, now.capabilities))
    assert now.finish().failed is False
    assert scene.ex4d.source == standing
    bpy.ops.ex4d.find_camera()
    assert now.finish().failed is False
    assert bpy.context.scene.ex4d.notes.count("The depth's scale pumped by") == 1
    before, after = (json.loads(source) for source in (standing, bpy.context.scene.ex4d.source))
    assert after["depth"] == before["depth"], "steadied depth is not steadied again"
    assert {**after, "moving": ()} == {**before, "moving": ()}, "only what moves may be seen better with it"
    bpy.ops.ed.undo()  # the view
    bpy.ops.ed.undo()  # the depth
    assert pumps(bpy.context.scene, true) > 0.03


@pytest.mark.slow
def test_with_the_camera_comes_a_mesh_that_no_longer_pumps_and_one_undo_takes_both_back(scene, tmp_path):
    _camera, _objects, session, _takes = addon_modules()
    clip, _truth = shoot("drone", tmp_path, 0.05)
    true = np.load(tmp_path / "median.npy")
    press_open(clip)
    bpy.ops.ed.undo_push(message="Opened")
    assert pumps(scene, true) > 0.03
    now = session.current()
    tick_until(lambda: not now.state.finds_camera, 240)
    scene = bpy.context.scene
    assert "The source camera was found" in scene.ex4d.notes
    assert "The depth's scale pumped by" in scene.ex4d.notes
    assert pumps(scene, true) < 0.01

    bpy.ops.ed.undo()
    scene = bpy.context.scene
    assert scene.ex4d.path == ""
    assert pumps(scene, true) > 0.03


def test_a_still_clip_stays_still_and_its_keys_and_undo_steps_are_untouched(scene, tmp_path):
    _camera, objects, session, _takes = addon_modules()
    clip, _truth = shoot("still", tmp_path)
    press_open(clip)
    now, facts = session.current(), scene.ex4d
    bpy.ops.ex4d.camera_preset(preset="30")
    bpy.ops.ed.undo_push(message="Keys")
    from blender_addon.scene import compat

    keys = [[tuple(p.co) for p in curve.keyframe_points] for curve in compat.fcurves(facts.camera)]
    folder = sorted(facts.folder.rglob("*"))
    assert now.finish().failed is False
    facts = bpy.context.scene.ex4d
    assert facts.path == ""
    assert [[tuple(p.co) for p in curve.keyframe_points] for curve in compat.fcurves(facts.camera)] == keys
    assert objects.find(bpy.context.scene, objects.POINTS) is None
    assert "The clip's own camera stands still." in facts.notes.splitlines()
    assert now.state.message.endswith("The clip's own camera stands still.")
    new = [path.name for path in sorted(set(facts.folder.rglob("*")) - set(folder))]
    assert new == ["again", "again_001", "moving.mp4"]
    bpy.ops.ed.undo()
    assert bpy.context.scene.ex4d.shot, "the search has made no step that would have to be undone"
    assert not list(compat.fcurves(bpy.context.scene.ex4d.camera))


def test_undoing_the_opening_while_the_camera_is_looked_for_drops_what_comes(scene, tmp_path):
    _camera, _objects, session, _takes = addon_modules()
    clip, _truth = shoot("tripod", tmp_path)
    bpy.ops.ed.undo_push(message="Nothing")
    press_open(clip)
    now = session.current()
    assert now.state.finds_camera
    bpy.ops.ed.undo()
    assert bpy.context.scene.ex4d.shot == ""
    ended = now.finish()
    assert (ended.failed, ended.message) == (False, ""), "there is no shot whose camera could be looked for again"
    assert bpy.context.scene.ex4d.shot == ""


@pytest.mark.slow
def test_another_clip_that_is_opened_meanwhile_takes_the_place_of_the_search(scene, tmp_path, monkeypatch):
    from blender_addon.shot import lens
    from ex4d.jobs.client import Client

    camera, _objects, session, _takes = addon_modules()
    clip, truth = shoot("tripod", tmp_path)
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    press_open(clip)
    now = session.current()
    tick_until(lambda: now.state.job_id)
    first, jobs, submit = now.state.job_id, [], Client.submit
    monkeypatch.setattr(
        Client, "submit", lambda self, job, files, **more: jobs.append(job) or submit(self, job, files, **more)
    )
    ended, cancel = [], Client.cancel
    monkeypatch.setattr(Client, "cancel", lambda self, job_id: ended.append(job_id) or cancel(self, job_id))
    assert bpy.ops.ex4d.open_clip.poll()
    assert bpy.ops.ex4d.open_clip(filepath=str(other)) == {"FINISHED"}
    assert now.state.message.startswith("other.mp4 is open")
    assert ended == [first], "the search for the first clip's camera is over, on the server too"
    assert [job.source.settings.camera_motion for job in jobs] == ["file", "auto"]
    facts = bpy.context.scene.ex4d
    assert facts.opened == str(other)
    # The lens of this clip is unknown and found as well, and the rotation deviates a little along with it.
    assert max(degrees(a, b) for a, b in zip(facts.poses, truth, strict=True)) < 1
    assert facts.intrinsics[0, 0] == pytest.approx(np.load(tmp_path / "focal.npy"), rel=0.05)
    assert "assumed" not in facts.notes
    assert lens.in_use(facts).endswith("°, found")
    data = camera.own_camera(bpy.context.scene).data
    assert data.lens / data.sensor_width == pytest.approx(facts.intrinsics[0, 0] / facts.width, rel=1e-5)


@pytest.mark.slow
def test_find_camera_looks_again_and_leaves_out_what_a_mask_says(scene, tmp_path, monkeypatch):
    from ex4d.jobs.client import Client

    clip, truth = shoot("tripod", tmp_path)
    scene.ex4d.motion = "STILL"
    assert bpy.ops.ex4d.open_clip(filepath=str(clip)) == {"FINISHED"}
    assert scene.ex4d.path == ""
    mask = bpy.data.images.new("mask", 384, 208)
    mask.filepath_raw, mask.file_format = str(tmp_path / "mask.png"), "PNG"
    mask.pixels = [0.0, 0.0, 0.0, 1.0] * (384 * 208)
    mask.save()
    jobs, submit = [], Client.submit
    monkeypatch.setattr(
        Client, "submit", lambda self, job, files, **more: jobs.append(job) or submit(self, job, files, **more)
    )
    scene.ex4d.motion, scene.ex4d.moving_path = "TRIPOD", mask.filepath_raw
    assert bpy.ops.ex4d.find_camera() == {"FINISHED"}
    (blob,) = jobs[-1].source.moving
    assert (blob.name, jobs[-1].source.settings.camera_motion) == ("mask.png", "rotation")
    facts = bpy.context.scene.ex4d
    assert max(degrees(a, b) for a, b in zip(facts.poses, truth, strict=True)) < 0.5
    assert not facts.poses[:, :3, 3].any()
    from blender_addon.shot import asking

    assert not asking.have_changed(facts), "the shot is as the panel says, so Open Again is not asked for"


def keyed(scene, poses, focal_over_width):
    """A camera of the scene with a key in every frame for poses (T,4,4), as a tracker's solution has."""
    from mathutils import Matrix

    from blender_addon.scene import axes

    made = bpy.data.objects.new("Solved", bpy.data.cameras.new("Solved"))
    made.data.lens = focal_over_width * made.data.sensor_width
    scene.collection.objects.link(made)
    made.rotation_mode = "QUATERNION"
    for t, pose in enumerate(poses):
        made.matrix_world = Matrix(axes.pose_to_blender(pose).tolist())
        for path in ("location", "rotation_quaternion"):
            made.keyframe_insert(path, frame=scene.frame_start + t)
    return made


@pytest.mark.parametrize("motion", ["FILE", "CAMERA"])
def test_a_shot_with_a_camera_from_elsewhere_gets_its_unit_what_moves_and_steady_depth(scene, tmp_path, motion):
    _camera, objects, session, takes = addon_modules()
    clip, truth = shoot("street", tmp_path, 0.05)
    true, in_inches = np.load(tmp_path / "median.npy"), truth.copy()
    in_inches[:, :3, 3] *= 39.37
    np.savez(tmp_path / "solve.npz", camera_to_world=in_inches)
    scene.ex4d.motion, scene.ex4d.motion_path = motion, str(tmp_path / "solve.npz")
    if motion == "CAMERA":
        scene.ex4d.tracked_camera = keyed(scene, in_inches, np.load(tmp_path / "focal.npy") / 384)
    press_open(clip)
    now = session.current()
    assert now.state.finds_camera, "the shot stands with its camera, and the search for the rest goes on by itself"
    assert scene.ex4d.poses[:, :3, 3] == pytest.approx(in_inches[:, :3, 3], abs=1e-3)
    bpy.ops.ed.undo_push(message="Opened")
    assert pumps(scene, true) > 0.03
    tick_until(lambda: not now.state.finds_camera, 240)
    scene = bpy.context.scene
    facts = scene.ex4d
    assert not now.state.failed
    for said in (facts.notes, now.state.message):
        assert "The camera given fits the clip" in said
        assert "points that were followed through the clip" in said
        assert "The depth's scale pumped by" in said
    assert "in the unit of the depth" not in facts.notes, "which was said while the shot was opened"
    assert len(objects.find(scene, objects.POINTS).data.vertices) > 100
    assert not bpy.ops.ex4d.find_camera.poll(), "which would drop the camera that was given"
    way = np.linalg.norm(truth[-1, :3, 3])
    assert np.linalg.norm(facts.poses[:, :3, 3] - truth[:, :3, 3], axis=1).max() < 0.08 * way
    assert path_of(scene, objects.find(scene, objects.SOURCE_CAMERA)) == pytest.approx(facts.poses, abs=1e-4)
    assert pumps(scene, true) < 0.01

    from blender_addon.scene import moving_tint
    from blender_addon.shot import asking

    assert moving_tint.strength(scene) is not None, "what moves can be tinted"
    assert not asking.have_changed(facts), "the shot is as the panel says, so Open Again is not asked for"
    bpy.ops.ex4d.camera_preset(preset="30")
    poses = facts.poses.copy()
    now.press(takes.request_take(scene, True, now.capabilities))
    assert now.finish().failed is False
    assert "of the picture comes from other frames of the clip" in now.state.message
    bpy.ops.ex4d.open_again()
    assert now.finish().failed is False
    again = bpy.context.scene.ex4d
    assert again.poses == pytest.approx(poses, rel=1e-3, abs=1e-4), "from the file again, and the same"
    assert pumps(bpy.context.scene, true) < 0.01
