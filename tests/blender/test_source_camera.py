"""A moving source camera: static things stay in place, and cameras find the source view in every frame."""

from dataclasses import replace

import bpy
import numpy as np
import pytest
import shots
from mathutils import Matrix
from test_mesh import evaluated_vertices

from blender_addon.scene import axes, camera, compat, motion, objects
from blender_addon.shot import asking, source
from blender_addon.work import requests, session, state
from ex4d.errors import InputError
from ex4d.geometry import presets, transforms
from ex4d.geometry.intrinsics import field_of_view_of
from ex4d.geometry.mesh import DWMesh
from ex4d.storage.names import beside

PICTURE = axes.Picture(shots.WIDTH, shots.HEIGHT)


def matrix_at(scene, thing, frame):
    scene.frame_set(frame)
    return np.array(thing.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world)


@pytest.fixture
def walking(tmp_path, addon):
    """The small shot, with a walking source camera."""
    return shots.open_small(tmp_path, poses=shots.walk())


@pytest.fixture
def tracked(scene):
    """A walking scene camera, rotated, scaled and away from the origin, and its keyed poses."""
    made = bpy.data.objects.new("Tracked", bpy.data.cameras.new("Tracked"))
    scene.collection.objects.link(made)
    made.scale = (2, 2, 2)
    start = Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.7, 4, "Z")
    poses = [np.array(start) @ axes.pose_to_blender(pose) for pose in shots.walk()]
    for t, pose in enumerate(poses):
        location, rotation, _scale = Matrix(pose.tolist()).decompose()
        made.location, made.rotation_euler = location, rotation.to_euler()
        made.keyframe_insert("location", frame=1 + t)
        made.keyframe_insert("rotation_euler", frame=1 + t)
    scene.ex4d.tracked_camera, scene.ex4d.motion = made, "CAMERA"
    return made


def test_mesh_and_source_camera_move_together(scene, walking):
    mesh, source_camera = DWMesh.from_depth(walking, shots.walk()), objects.find(scene, objects.SOURCE_CAMERA)
    for t in (0, 4, shots.FRAMES - 1):
        assert np.array_equal(evaluated_vertices(scene, 1 + t), axes.points_to_blender(mesh.vertices(t)))
        seen = matrix_at(scene, source_camera, 1 + t)
        assert seen == pytest.approx(axes.pose_to_blender(shots.walk()[t]), abs=1e-6)
    assert all(source_camera.lock_location)


def test_a_camera_snapped_in_every_frame_has_exactly_the_sources_path(scene, walking):
    chosen = scene.ex4d.camera
    assert camera.sample(scene).camera_to_world[3] == pytest.approx(np.eye(4), abs=1e-6)  # a new camera is still
    root = objects.find(scene, objects.ROOT)
    root.location, root.rotation_euler, root.scale = (1, 2, 0.5), (0.1, 0, 0.4), (1.5, 1.5, 1.5)
    for frame in range(1, 1 + shots.FRAMES):
        chosen.keyframe_insert("location", frame=frame)
        chosen.keyframe_insert("rotation_euler", frame=frame)
        scene.frame_set(frame)
        bpy.ops.ex4d.snap_to_source(at="CURRENT")
    found = camera.sample(scene).camera_to_world
    assert found == pytest.approx(shots.walk(), abs=2e-6)
    root.matrix_basis.identity()
    assert np.array_equal(camera.sample(scene).camera_to_world, shots.walk())


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_goes_along_with_the_source(scene, walking, name):
    bpy.ops.ex4d.camera_preset(preset=name)
    facts = scene.ex4d
    wanted = presets.preset(name, facts.radius, facts.intrinsics, facts.width, facts.height, facts.frames)
    found = transforms.inverse(shots.walk()) @ camera.sample(scene).camera_to_world
    assert found == pytest.approx(wanted.camera_to_world, abs=4e-3 * facts.radius)
    assert not camera.off_source(scene)


def test_a_source_that_stands_still_again_has_no_keys_left(scene, walking, tmp_path):
    shots.open_again(tmp_path, walking)
    source_camera = objects.find(scene, objects.SOURCE_CAMERA)
    assert not list(compat.fcurves(source_camera))
    assert matrix_at(scene, source_camera, 9) == pytest.approx(axes.pose_to_blender(np.eye(4)), abs=1e-6)
    assert scene.ex4d.path == ""


def test_a_lens_that_changes_is_keyed_and_found_by_snapping_and_presets(scene, addon, tmp_path):
    depth = shots.small_depth()
    k = np.repeat(depth.intrinsics[:1], shots.FRAMES, 0)
    k[:, 0, 0] = k[:, 1, 1] = np.linspace(90, 140, shots.FRAMES)
    shots.open_small(tmp_path, depth=replace(depth, intrinsics=k))
    source_camera = objects.find(scene, objects.SOURCE_CAMERA)
    scene.frame_set(7)
    lens = camera.lens_of(source_camera.evaluated_get(bpy.context.evaluated_depsgraph_get()).data)
    assert axes.intrinsics_from_lens(lens, PICTURE) == pytest.approx(k[6], rel=1e-6)
    bpy.ops.ex4d.camera_preset(preset="zoom_in")
    assert camera.sample(scene).intrinsics == pytest.approx(k, rel=1e-6)
    for curve in compat.fcurves(scene.ex4d.camera.data):
        for point in curve.keyframe_points:
            point.co.y = 0
    bpy.ops.ex4d.snap_to_source(at="CURRENT")
    lens = camera.lens_of(scene.ex4d.camera.data)
    assert axes.intrinsics_from_lens(lens, PICTURE) == pytest.approx(k[6], rel=1e-6)


def test_a_tracked_camera_is_read_as_it_is_evaluated_without_its_scale(scene, tracked):
    scene.frame_set(5)
    recorded = motion.record(scene, 0, shots.FRAMES, PICTURE)
    assert scene.frame_current == 5
    to_first = transforms.inverse(recorded.poses[0])
    assert to_first @ recorded.poses == pytest.approx(shots.walk(), abs=1e-5)
    assert recorded.points.shape == (0, 3)
    tracked.data.lens, tracked.data.sensor_width = 18, 36
    recorded = motion.record(scene, 0, 4, PICTURE)
    assert len(recorded.poses) == 4
    assert to_first @ recorded.poses == pytest.approx(shots.walk()[:4], abs=1e-5)
    assert field_of_view_of(recorded.intrinsics[0, 0], PICTURE.width) == pytest.approx(90)


@pytest.mark.parametrize("again", [False, True])
def test_the_scenes_frames_show_the_frames_of_the_clip_that_are_used_whichever_those_are(
    scene, walking, tracked, again
):
    scene.ex4d.start, scene.frame_start = (3, 9) if again else (9, 3)  # a new clip will begin at the scene's start
    scene.ex4d.source = shots.source_of("small.mp4", start=100)
    recorded = motion.record(scene, 100, 4, PICTURE, again)
    wanted = transforms.inverse(shots.walk()[2]) @ shots.walk()[2:6]
    assert transforms.inverse(recorded.poses[0]) @ recorded.poses == pytest.approx(wanted, abs=1e-5)


def test_a_tracked_camera_is_read_in_the_world_of_the_shot_that_stands_however_that_is_scaled(scene, walking, tracked):
    root = objects.find(scene, objects.ROOT)
    root.location, root.rotation_euler, root.scale = (1, 2, 3), (0.1, 0.2, 0.3), (3, 3, 3)
    wanted = shots.walk()
    new = motion.record(scene, 0, shots.FRAMES, PICTURE).poses
    assert transforms.inverse(new[0]) @ new == pytest.approx(wanted, abs=1e-5)
    poses = motion.record(scene, 0, shots.FRAMES, PICTURE, again=True).poses
    wanted[:, :3, 3] /= 3
    assert transforms.inverse(poses[0]) @ poses == pytest.approx(wanted, abs=1e-5)
    root.scale = (1, 2, 3)
    with pytest.raises(InputError, match="Tracked or EX-4D Source is scaled unevenly"):
        motion.record(scene, 0, shots.FRAMES, PICTURE, again=True)


def test_a_tracked_camera_that_cannot_be_used_is_told(scene, tracked):
    tracked.data.type = "ORTHO"
    with pytest.raises(InputError, match="set its lens type to Perspective"):
        motion.record(scene, 0, 3, PICTURE)
    scene.ex4d.tracked_camera = None
    with pytest.raises(InputError, match="No tracked camera is chosen"):
        motion.record(scene, 0, 3, PICTURE)
    scene.ex4d.tracked_camera = tracked
    bpy.data.objects.remove(tracked)
    with pytest.raises(InputError, match="No tracked camera is chosen"):
        motion.record(scene, 0, 3, PICTURE)


def test_a_camera_that_is_hidden_is_still_read_as_it_moves(scene, tracked):
    scene.camera = None  # the scene's camera is always evaluated
    tracked.hide_viewport = tracked.hide_render = True
    recorded = motion.record(scene, 0, shots.FRAMES, PICTURE)
    assert transforms.inverse(recorded.poses[0]) @ recorded.poses == pytest.approx(shots.walk(), abs=1e-5)


def test_the_cameras_of_the_shot_cannot_be_its_tracked_camera(scene, walking, tracked):
    from blender_addon.ui.properties import _is_other_camera

    assert _is_other_camera(scene.ex4d, tracked)
    assert not _is_other_camera(scene.ex4d, scene.ex4d.camera)
    assert not _is_other_camera(scene.ex4d, objects.find(scene, objects.SOURCE_CAMERA))


def test_what_was_read_from_a_camera_is_removed_when_opening_is_given_up(scene, tracked, tmp_path):
    recorded = motion.record(scene, 0, shots.FRAMES, PICTURE)
    for own in (True, False):
        file = motion.save(recorded)
        if not own:  # a file of the artist's own
            file = file.rename(tmp_path / "mine.npz")
        request = requests.OpenRequest(
            scene.name, "shot", "clip.mp4", "", str(file), {}, source=shots.source_of("small.mp4")
        )
        session.current().connect()
        session.current().dispatch(state.Reopened(request, "11111111-1111-4111-8111-111111111111"))
        session.current().dispatch(state.CancelPressed())
        assert file.exists() != own


# -- scale ------------------------------------------------------------------------------------------


def cursor_on(scene, row, column, frame):
    """Put the 3D cursor on a vertex of the mesh; returns the vertex index."""
    number = row * shots.WIDTH + column
    root = objects.find(scene, objects.ROOT)
    place = np.array(root.matrix_world) @ [*evaluated_vertices(scene, frame)[number], 1]
    scene.cursor.location = place[:3]
    return number


def test_set_scale_brings_what_the_cursor_marks_to_its_distance_and_no_path_changes(scene, walking):
    bpy.ops.ex4d.camera_preset(preset="60")
    before = camera.sample(scene).camera_to_world
    root = objects.find(scene, objects.ROOT)
    root.location, root.rotation_euler = (1, 2, 3), (0, 0, 0.5)
    bpy.context.view_layer.update()
    number = cursor_on(scene, 30, 40, 9)
    for _again in range(2):  # the cursor moves along, so a second press changes nothing
        bpy.ops.ex4d.set_scale(distance=25.0)
        bpy.context.view_layer.update()
        to_world, vertex = np.array(root.matrix_world), evaluated_vertices(scene, 9)[number]
        eye = matrix_at(scene, objects.find(scene, objects.SOURCE_CAMERA), 9)[:3, 3]
        assert np.linalg.norm((to_world @ [*vertex, 1])[:3] - eye) == pytest.approx(25, rel=1e-4)
        assert np.array(scene.cursor.location) == pytest.approx((to_world @ [*vertex, 1])[:3], rel=1e-4)
    assert root.scale[0] == root.scale[1] == root.scale[2] != 1
    assert tuple(root.location) == (1, 2, 3)
    assert camera.sample(scene).camera_to_world == pytest.approx(before, abs=1e-4)
    reach = scene.ex4d.reach * root.scale[0]
    assert scene.ex4d.camera.data.clip_end >= reach
    views = [a.spaces.active for s in bpy.data.screens for a in s.areas if a.type == "VIEW_3D"]
    assert all(view.clip_end >= reach for view in views)


def test_a_camera_that_is_no_child_of_the_shot_stands_in_the_scaled_world(scene, walking):
    free = bpy.data.objects.new("Free", bpy.data.cameras.new("Free"))
    scene.collection.objects.link(free)
    scene.ex4d.camera = free
    free.matrix_world = Matrix(axes.pose_to_blender(np.eye(4)).tolist()) @ Matrix.Translation((2, 0, 0))
    assert camera.sample(scene).camera_to_world[0, :3, 3] == pytest.approx([2, 0, 0], abs=1e-6)
    objects.find(scene, objects.ROOT).scale = (4, 4, 4)
    assert camera.sample(scene).camera_to_world[0, :3, 3] == pytest.approx([0.5, 0, 0], abs=1e-6)


def test_a_cursor_at_the_source_camera_and_a_deleted_root_are_told(scene, walking):
    scene.frame_set(1)
    scene.cursor.location = (0, 0, 0)
    with pytest.raises(RuntimeError, match="The 3D cursor is at the source camera"):
        bpy.ops.ex4d.set_scale(distance=3)
    assert tuple(objects.find(scene, objects.ROOT).scale) == (1, 1, 1)
    bpy.data.objects.remove(objects.find(scene, objects.ROOT))
    with pytest.raises(RuntimeError, match="EX-4D Source was deleted"):
        bpy.ops.ex4d.set_scale(distance=3)


# -- requests ---------------------------------------------------------------------------------------


def a_clip(tmp_path):
    from ex4d.media.movie import write_movie

    write_movie(tmp_path / "clip.mp4", shots.small_frames(shots.small_depth()), shots.FPS)
    return tmp_path / "clip.mp4"


def test_the_lens_of_a_tracked_camera_is_taken_unless_one_is_given_or_the_depth_file_tells_it(scene, tracked, tmp_path):
    clip = a_clip(tmp_path)
    tracked.data.lens, tracked.data.sensor_width = 18, 36

    def asked():
        request = asking.request_open(scene, clip, "", 0, 49, None)
        assert motion.is_recording(request.camera)
        return request.settings["field_of_view"], request.notes

    degrees, note = asked()
    assert degrees == pytest.approx(90)
    assert note == "The field of view of 90.0 degrees is that of Tracked."
    scene.ex4d.field_of_view = 50
    assert asked() == (50, "")
    scene.ex4d.field_of_view = 0
    depth = shots.small_depth()
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth)
    assert asked()[0] == pytest.approx(90)
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics)
    assert asked() == (None, "")


def test_what_the_numbers_of_a_depth_file_mean_is_sent_only_with_a_file(scene, addon, tmp_path):
    clip, facts = a_clip(tmp_path), scene.ex4d
    facts.depth_unit, facts.depth_metres, facts.depth_distance, facts.depth_channel = "other", 0.5, "ray", "Z"

    def sent():
        request = asking.request_open(scene, clip, "", 0, 49, None)
        names = ("depth_unit", "depth_convention", "depth_distance", "depth_channel")
        return request.depth, tuple(request.settings[name] for name in names)

    assert sent() == ("", (None, "auto", "planar", None))
    np.savez(tmp_path / "clip.depth.npz", depth=shots.small_depth().depth)
    assert sent() == (str(tmp_path / "clip.depth.npz"), ("0.5", "auto", "ray", "Z"))
    facts.depth_unit = "cm"
    assert sent()[1][0] == "cm"
    facts.depth_convention = "disparity"
    assert sent()[1] == (None, "disparity", "planar", "Z")
    facts.estimator_name = "some"
    assert sent() == ("", (None, "auto", "planar", None))


def test_depth_beside_the_clip_is_found_by_the_names_that_the_command_line_knows(scene, addon, tmp_path):
    clip = a_clip(tmp_path)
    (tmp_path / "clip_Depth.mov").write_bytes(b"")
    request = asking.request_open(scene, clip, "", 0, 49, None)
    assert (request.depth, beside(clip)) == ("", None)
    assert request.notes == "clip_Depth.mov beside clip.mp4 may be its depth: if so, name it as the depth file."
    for name in ("clip_depth.mp4", "clip_depths_exr", "clip_depths.npz"):
        path = tmp_path / name
        path.mkdir() if name.endswith("exr") else path.write_bytes(b"")
        request = asking.request_open(scene, clip, "", 0, 49, None)
        assert (request.depth, request.notes) == (str(path), "")
        assert beside(clip) == path


def test_a_folder_of_pictures_is_sent_with_its_name(scene, addon, tmp_path):
    (tmp_path / "walk by the sea").mkdir()
    for number in range(3):
        image = bpy.data.images.new("picture", 64, 48)
        image.filepath_raw, image.file_format = str(tmp_path / "walk by the sea" / f"{number}.png"), "PNG"
        image.save()
    request = asking.request_open(scene, tmp_path / "walk by the sea", "", 0, None, None)
    sent = shots.outcome(source.prepare(request))[1].source
    assert (sent.folder, len(sent.clip), sent.settings.frames, sent.settings.fps) == ("walk by the sea", 3, 3, "24")
