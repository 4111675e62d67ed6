"""Cameras: the source view, presets as keys, and reading what Blender evaluates."""

import math

import announced
import bpy
import numpy as np
import pytest
import shots
from mathutils import Matrix

from blender_addon.scene import axes, camera, compat, objects
from blender_addon.shot import checks
from ex4d.errors import InputError
from ex4d.geometry import presets


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def preset(scene, name, **parameters):
    assert bpy.ops.ex4d.camera_preset(preset=name, **parameters) == {"FINISHED"}
    return camera.sample(scene)


def test_a_new_camera_sees_exactly_the_source_view_in_every_frame(scene, shot):
    path = camera.sample(scene)
    assert len(path) == shots.FRAMES
    assert (path.width, path.height) == (shots.WIDTH, shots.HEIGHT)
    assert np.array_equal(path.camera_to_world, np.broadcast_to(np.eye(4), (shots.FRAMES, 4, 4)))
    assert np.array_equal(path.intrinsics, shot.intrinsics)


def test_the_source_camera_is_locked_and_has_the_source_lens(scene, shot):
    source = objects.find(scene, objects.SOURCE_CAMERA)
    assert all(source.lock_location)
    assert all(source.lock_rotation)
    k = axes.intrinsics_from_lens(camera.lens_of(source.data), axes.Picture(shots.WIDTH, shots.HEIGHT))
    assert k == pytest.approx(shot.intrinsics[0], rel=1e-6)
    assert source.data.clip_end > shot.depth.max() * 2


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_becomes_keys_that_give_the_preset_back(scene, shot, name):
    path = preset(scene, name)
    radius = presets.pivot_distance(shot.depth[0])
    wanted = presets.preset(name, radius, shot.intrinsics[0], shots.WIDTH, shots.HEIGHT, shots.FRAMES)
    assert path.camera_to_world[:, :3, 3] == pytest.approx(wanted.camera_to_world[:, :3, 3], abs=2e-3 * radius)
    assert path.camera_to_world[:, :3, :3] == pytest.approx(wanted.camera_to_world[:, :3, :3], abs=2e-3)
    assert np.array_equal(path.camera_to_world[0], np.eye(4))


def test_a_dolly_zoom_keys_the_lens_and_easing_and_hand_held_come_from_the_panel(scene, shot):
    facts, radius = scene.ex4d, presets.pivot_distance(shot.depth[0])
    path = preset(scene, "dolly_zoom", amount=0.5)
    focal, first = path.intrinsics[:, 0, 0], shot.intrinsics[0, 0, 0]
    assert focal == pytest.approx(first * (1 - path.camera_to_world[:, 2, 3] / radius), rel=2e-3)
    assert focal[-1] == pytest.approx(first / 2, rel=1e-5)
    facts.preset, facts.easing, facts.shake, facts.shake_seed = "truck", "in", 1.0, 3
    path = preset(scene, "truck", easing=facts.easing, shake=facts.shake, shake_seed=facts.shake_seed)
    k, size = shot.intrinsics[0], (shots.WIDTH, shots.HEIGHT, shots.FRAMES)
    wanted = presets.preset("truck", radius, k, *size, easing="in", shake=1.0, shake_seed=3)
    assert path.camera_to_world == pytest.approx(wanted.camera_to_world, abs=3e-3 * radius)
    assert path.intrinsics == pytest.approx(np.broadcast_to(k, (shots.FRAMES, 3, 3)), rel=1e-6)


def test_a_preset_of_a_long_clip_has_few_keys(scene):
    scene.ex4d.frames = 49
    preset(scene, "60")
    curves = list(compat.fcurves(scene.ex4d.camera))
    assert len(curves) == 6
    assert all(2 < len(curve.keyframe_points) < 10 for curve in curves)


def test_an_orbit_keeps_its_distance_from_the_pivot(scene, shot):
    path = preset(scene, "90", rise=0.0)
    radius = presets.pivot_distance(shot.depth[0])
    distances = np.linalg.norm(path.camera_to_world[:, :3, 3] - [0, 0, radius], axis=-1)
    assert distances == pytest.approx(radius, rel=2e-3)


def test_amount_and_rise_change_an_orbit(scene, shot):
    path = preset(scene, "30", amount=50, rise=0.5)
    radius = presets.pivot_distance(shot.depth[0])
    a = math.radians(50)
    wanted = [math.sin(a) * radius, 0.5 * radius * (math.cos(a) - 1), radius * (1 - math.cos(a))]
    assert path.camera_to_world[-1, :3, 3] == pytest.approx(wanted, abs=1e-4 * radius)


def test_keys_can_be_moved_by_hand_and_the_rest_stays(scene):
    before = preset(scene, "30")
    moved = scene.ex4d.camera
    scene.frame_set(scene.ex4d.last)
    moved.location.z += 1
    moved.keyframe_insert("location", frame=scene.ex4d.last)
    after = camera.sample(scene)
    assert np.array_equal(after.camera_to_world[0], np.eye(4))
    assert after.camera_to_world[-1, 1, 3] == pytest.approx(before.camera_to_world[-1, 1, 3] - 1, abs=1e-5)


def test_the_path_does_not_depend_on_where_the_shot_stands_or_how_big_it_is(scene):
    before = preset(scene, "60")
    root = objects.find(scene, objects.ROOT)
    root.location, root.rotation_euler, root.scale = (3, -2, 1), (0.3, 0.2, 1.1), (0.25, 0.25, 0.25)
    after = camera.sample(scene)
    assert after.camera_to_world == pytest.approx(before.camera_to_world, abs=1e-5)


def test_an_uneven_scale_is_refused(scene):
    objects.find(scene, objects.ROOT).scale = (1, 2, 1)
    scene.ex4d.camera.parent = None  # for a child of the root, the stretch would cancel out
    scene.ex4d.camera.rotation_euler = (0.4, 0.5, 0.6)
    with pytest.raises(InputError, match="scaled unevenly"):
        camera.sample(scene)


def test_parents_constraints_and_animated_lenses_are_read_as_evaluated(scene):
    rig = bpy.data.objects.new("rig", None)
    scene.collection.objects.link(rig)
    for frame, x in ((scene.ex4d.start, 0.0), (scene.ex4d.last, 2.0)):
        rig.location.x = x
        rig.keyframe_insert("location", frame=frame)
    target = objects.find(scene, objects.ROOT)
    data = bpy.data.cameras.new("other")
    other = bpy.data.objects.new("other", data)
    scene.collection.objects.link(other)
    other.parent, other.location = rig, (0, -5, 1)
    track = other.constraints.new("TRACK_TO")
    track.target, track.track_axis, track.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    for frame, lens in ((scene.ex4d.start, 30.0), (scene.ex4d.last, 60.0)):
        data.lens = lens
        data.keyframe_insert("lens", frame=frame)
    scene.ex4d.camera = other
    path = camera.sample(scene)
    assert path.camera_to_world[-1, :3, 3] == pytest.approx([2, -1, -5], abs=1e-5)
    looks = path.camera_to_world[-1, :3, 2]
    assert looks == pytest.approx(np.array([-2, 1, 5]) / math.sqrt(30), abs=1e-5)
    assert path.intrinsics[-1, 0, 0] == pytest.approx(2 * path.intrinsics[0, 0, 0], rel=1e-5)


def test_reading_the_camera_leaves_the_scene_as_it_was(scene):
    scene.frame_set(7)
    camera.sample(scene)
    assert scene.frame_current == 7
    assert all(modifier.show_viewport for modifier in objects.find(scene, objects.MESH).modifiers)


def test_other_lens_types_are_refused_with_what_to_do(scene):
    scene.ex4d.camera.data.type = "ORTHO"
    with pytest.raises(InputError, match="set its lens type to Perspective"):
        camera.sample(scene)
    with pytest.raises(RuntimeError, match="set its lens type to Perspective"):
        bpy.ops.ex4d.generate()


def test_a_picture_of_another_shape_is_refused(scene):
    scene.render.resolution_x = 2 * scene.render.resolution_y
    with pytest.raises(InputError, match="press Match Scene"):
        camera.sample(scene)
    bpy.ops.ex4d.match_scene(what="ALL")
    assert len(camera.sample(scene)) == shots.FRAMES


def test_a_render_of_another_size_but_the_same_shape_gives_the_same_path(scene):
    before = preset(scene, "30")
    scene.render.resolution_percentage = 50
    assert camera.sample(scene).intrinsics == pytest.approx(before.intrinsics, rel=1e-6)


def test_snapping_brings_any_camera_to_the_source_view(scene):
    chosen = scene.ex4d.camera
    objects.find(scene, objects.ROOT).scale = (3, 3, 3)
    chosen.matrix_world = Matrix.Translation((4, 5, 6))
    chosen.data.lens = 11
    bpy.context.view_layer.update()
    assert camera.off_source(scene)
    bpy.ops.ex4d.snap_to_source(at="CURRENT")
    bpy.context.view_layer.update()
    assert not camera.off_source(scene)
    path = camera.sample(scene)
    assert np.array_equal(path.camera_to_world[0], np.eye(4))


def test_a_path_that_starts_elsewhere_is_warned_about_and_the_button_mends_it(scene):
    preset(scene, "30")
    chosen = scene.ex4d.camera
    scene.frame_set(scene.ex4d.start)
    chosen.location.x += 1
    chosen.keyframe_insert("location", frame=scene.ex4d.start)
    bpy.context.view_layer.update()
    (advice,) = [a for a in checks.warnings(scene) if a.operator == "ex4d.snap_to_source"]
    bpy.ops.ex4d.snap_to_source(**dict(advice.settings))
    announced.by()
    assert not checks.warnings(scene)
    assert np.array_equal(camera.sample(scene).camera_to_world[0], np.eye(4))


def test_a_camera_whose_lens_was_keyed_before_its_place_takes_a_preset(scene, shot):
    """Since 4.4 both share an action, whose first slot is then that of the lens."""
    chosen = scene.ex4d.camera
    chosen.data.keyframe_insert("lens", frame=1)
    assert [curve.data_path for curve in compat.fcurves(chosen.data)] == ["lens"]
    assert not list(compat.fcurves(chosen))
    preset(scene, "60")
    assert {curve.data_path for curve in compat.fcurves(chosen)} == {"location", "rotation_euler"}
    chosen.keyframe_insert("hide_render", frame=1)
    assert not any(curve.data_path == "hide_render" for curve in compat.fcurves(chosen.data))
