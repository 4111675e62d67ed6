"""Cameras moved by constraints, parents and drivers: read as evaluated, never written to."""

import bpy
import numpy as np
import pytest
import shots

from blender_addon.scene import camera, compat, objects, rig
from blender_addon.shot import checks
from ex4d.errors import InputError


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


@pytest.fixture
def on_a_path(scene):
    """Put the chosen camera on a curve, with Follow Path and a keyed offset."""
    curve = bpy.data.curves.new("way", "CURVE")
    curve.dimensions, curve.use_path, curve.path_duration = "3D", True, 100
    spline = curve.splines.new("POLY")
    spline.points.add(1)
    spline.points[0].co, spline.points[1].co = (0, 0, 0, 1), (4, 0, 0, 1)
    way = bpy.data.objects.new("way", curve)
    scene.collection.objects.link(way)
    data = bpy.data.cameras.new("Dolly")
    dolly = bpy.data.objects.new("Dolly", data)
    scene.collection.objects.link(dolly)
    dolly.rotation_euler = np.pi / 2, 0, 0
    follow = dolly.constraints.new("FOLLOW_PATH")
    follow.target, follow.name = way, "Along the Way"
    for frame, offset in ((scene.ex4d.start, 0.0), (scene.ex4d.last, -50.0)):
        follow.offset = offset
        follow.keyframe_insert("offset", frame=frame)
    scene.ex4d.camera = dolly
    bpy.context.view_layer.update()
    return dolly


def keys_of(thing):
    return {(c.data_path, c.array_index): [tuple(k.co) for k in c.keyframe_points] for c in compat.fcurves(thing)}


def x_of(scene):
    return camera.sample(scene).camera_to_world[:, 0, 3]


@pytest.mark.parametrize("press", ["camera_preset", "snap_to_source"])
def test_a_camera_on_a_path_is_refused_by_name_and_stays_as_it_is(scene, on_a_path, press):
    before, seen = keys_of(on_a_path), x_of(scene)
    with pytest.raises(
        RuntimeError, match=r"Dolly is moved by its constraint Along the Way, .* press Bake to New Camera"
    ):
        getattr(bpy.ops.ex4d, press)()
    assert keys_of(on_a_path) == before
    assert len(before) == 1
    assert on_a_path.parent is None
    assert np.array_equal(x_of(scene), seen)
    assert seen[-1] == pytest.approx(2.0, abs=1e-4)


def test_a_baked_copy_moves_as_the_camera_did_has_keys_alone_and_takes_presets(scene, on_a_path):
    on_a_path.data.dof.focus_distance = 3.5
    seen, shown = camera.sample(scene), scene.camera
    assert bpy.ops.ex4d.bake_camera() == {"FINISHED"}
    baked = scene.ex4d.camera
    assert baked != on_a_path
    assert not rig.movers(scene, baked)
    assert baked.data.dof.focus_distance == 3.5
    assert scene.camera == shown
    now = camera.sample(scene)
    assert now.camera_to_world == pytest.approx(seen.camera_to_world, abs=5e-3)
    assert now.intrinsics == pytest.approx(seen.intrinsics, rel=1e-5)
    bpy.ops.ex4d.camera_preset(preset="30")
    assert np.array_equal(camera.sample(scene).camera_to_world[0], np.eye(4))
    assert on_a_path.constraints["Along the Way"].target is not None


def test_a_copy_of_a_copy_is_called_baked_once(scene):
    for name in ("EX-4D Camera Baked", "EX-4D Camera Baked.001", "EX-4D Camera Baked.002"):
        assert bpy.ops.ex4d.bake_camera() == {"FINISHED"}
        assert scene.ex4d.camera.name == name


def test_the_panel_names_what_moves_the_camera_and_offers_the_copy(scene, on_a_path):
    advice = checks.rig_trouble(scene)
    assert "Dolly is moved by its constraint Along the Way" in advice.text
    assert advice.operator == "ex4d.bake_camera"
    on_a_path.constraints["Along the Way"].mute = True
    assert not checks.rig_trouble(scene)


def test_snap_first_frame_is_not_offered_for_a_camera_that_it_cannot_move(scene, on_a_path):
    scene.frame_set(scene.ex4d.start)
    on_a_path.location.z = 1
    bpy.context.view_layer.update()
    (advice,) = [a for a in checks.warnings(scene) if "does not start at the source view" in a.text]
    assert advice.operator == "ex4d.bake_camera"


def test_parents_drivers_and_strips_of_actions_count_and_the_source_does_not(scene):
    chosen = scene.ex4d.camera
    assert chosen.parent == objects.find(scene, objects.ROOT)
    assert not rig.movers(scene, chosen)
    chosen.data.driver_add("lens")
    assert rig.movers(scene, chosen) == ["a driver"]
    chosen.data.driver_remove("lens")
    chosen.parent = holder = bpy.data.objects.new("Crane", None)
    assert rig.movers(scene, chosen) == ["its parent Crane"]
    with pytest.raises(InputError, match="its parent Crane"):
        camera.snap_to_source(scene, chosen, 1)
    chosen.parent = objects.find(scene, objects.ROOT)
    chosen.keyframe_insert("location", frame=1)
    holder.animation_data_create()
    chosen.animation_data.nla_tracks.new().strips.new("move", 1, chosen.animation_data.action)
    assert rig.movers(scene, chosen) == ["a track of the Nonlinear Animation editor"]


def test_a_preset_keeps_what_is_keyed_of_the_camera_besides_its_move(scene):
    chosen = scene.ex4d.camera
    chosen.keyframe_insert("hide_render", frame=1)
    chosen.keyframe_insert("rotation_quaternion", frame=1)
    chosen.data.dof.keyframe_insert("focus_distance", frame=1)
    chosen.data.keyframe_insert("lens", frame=1)
    bpy.ops.ex4d.camera_preset(preset="30")
    assert {path for path, _index in keys_of(chosen)} == {"location", "rotation_euler", "hide_render"}
    assert {path for path, _index in keys_of(chosen.data)} == {"dof.focus_distance"}


def test_a_preset_leaves_the_keys_of_a_camera_that_shares_them(scene):
    chosen = scene.ex4d.camera
    chosen.keyframe_insert("location", frame=1)
    chosen.keyframe_insert("hide_render", frame=1)
    other = chosen.copy()
    scene.collection.objects.link(other)
    before = keys_of(other)
    assert ("location", 0) in before
    bpy.ops.ex4d.camera_preset(preset="30")
    assert keys_of(other) == before


def test_a_free_camera_becomes_a_child_of_the_source_and_the_panel_says_so(scene):
    from blender_addon.work import session

    scene.ex4d.camera.parent = None
    bpy.ops.ex4d.camera_preset(preset="30")
    assert "It is now parented to EX-4D Source" in session.current().state.message
    bpy.ops.ex4d.camera_preset(preset="60")
    assert "child" not in session.current().state.message


def other(scene, name, data=None):
    made = bpy.data.objects.new(name, data)
    scene.collection.objects.link(made)
    return made


def slide(thing, scene, far=1.5):
    for frame, x in ((scene.ex4d.start, 0.0), (scene.ex4d.last, far)):
        thing.location.x = x
        thing.keyframe_insert("location", index=0, frame=frame)


def track_to(scene, chosen):
    aim = other(scene, "Aim")
    aim.location = (0, 5, 0)
    slide(aim, scene)
    constraint = chosen.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = aim, "TRACK_NEGATIVE_Z", "UP_Y"
    return "its constraint Track To"


def moving_parent(scene, chosen):
    crane = other(scene, "Crane")
    slide(crane, scene)
    kept = chosen.matrix_world.copy()
    chosen.parent = crane
    chosen.matrix_world = kept
    return "its parent Crane"


def driver_of_place(scene, chosen):
    scene["rail"] = 0.0
    for frame, value in ((scene.ex4d.start, 0.0), (scene.ex4d.last, 1.0)):
        scene["rail"] = value
        scene.keyframe_insert('["rail"]', frame=frame)
    drive(chosen.driver_add("location", 0), scene, '["rail"]')
    return "a driver"


def driver_of_influence(scene, chosen):
    constraint = chosen.constraints.new("COPY_LOCATION")
    constraint.target, constraint.influence = other(scene, "Far"), 0.0
    constraint.target.location = (1, 0, 1)
    scene["rail"] = 0.0
    for frame, value in ((scene.ex4d.start, 0.0), (scene.ex4d.last, 1.0)):
        scene["rail"] = value
        scene.keyframe_insert('["rail"]', frame=frame)
    scene.frame_set(scene.ex4d.start)
    drive(constraint.driver_add("influence"), scene, '["rail"]')
    return "its constraint Copy Location"


def drive(curve, scene, path):
    curve.driver.type = "AVERAGE"
    variable = curve.driver.variables.new()
    variable.targets[0].id_type = "SCENE"
    variable.targets[0].id, variable.targets[0].data_path = scene, path


def strip_of_an_action(scene, chosen):
    slide(chosen, scene)
    data = chosen.animation_data
    data.nla_tracks.new().strips.new("move", scene.ex4d.start, data.action)
    data.action = None
    return "a track of the Nonlinear Animation editor"


def noise(scene, chosen):
    slide(chosen, scene)
    (curve,) = compat.fcurves(chosen)
    curve.modifiers.new("NOISE").strength = 0.3
    return "a modifier of its animation curves"


def zooming_driver(scene, chosen):
    scene["zoom"] = 20.0
    for frame, value in ((scene.ex4d.start, 20.0), (scene.ex4d.last, 60.0)):
        scene["zoom"] = value
        scene.keyframe_insert('["zoom"]', frame=frame)
    drive(chosen.data.driver_add("lens"), scene, '["zoom"]')
    return "a driver"


RIGS = (
    track_to,
    moving_parent,
    driver_of_place,
    driver_of_influence,
    strip_of_an_action,
    noise,
    zooming_driver,
)


@pytest.mark.parametrize("rig_it", RIGS)
def test_whatever_moves_a_camera_is_named_refused_and_baked_as_it_is_seen(scene, rig_it):
    chosen = scene.ex4d.camera
    why = rig_it(scene, chosen)
    bpy.context.view_layer.update()
    assert rig.movers(scene, chosen) == [why]
    seen = camera.sample(scene)
    moved = np.ptp(seen.camera_to_world[:, :3, 3], axis=0).max() > 0.3
    turned = np.ptp(seen.camera_to_world[:, 0, 2]) > 0.1
    assert moved or turned or np.ptp(seen.intrinsics[:, 0, 0]) > 50
    for press in ("camera_preset", "snap_to_source"):
        with pytest.raises(RuntimeError, match=f"is moved by {why}"):
            getattr(bpy.ops.ex4d, press)()
    again = camera.sample(scene)
    assert np.array_equal(again.camera_to_world, seen.camera_to_world)
    bpy.ops.ex4d.bake_camera()
    baked = camera.sample(scene)
    assert not rig.movers(scene, scene.ex4d.camera)
    assert baked.camera_to_world == pytest.approx(seen.camera_to_world, abs=5e-3)
    assert baked.intrinsics == pytest.approx(seen.intrinsics, rel=1e-5)
    bpy.ops.ex4d.camera_preset(preset="30")
    scene.ex4d.camera = chosen
    assert np.array_equal(camera.sample(scene).camera_to_world, seen.camera_to_world)


def test_what_is_switched_off_moves_nothing(scene):
    chosen = scene.ex4d.camera
    strip_of_an_action(scene, chosen)
    chosen.animation_data.use_nla = False
    assert not rig.movers(scene, chosen)
    chosen.animation_data.use_nla = True
    chosen.animation_data.nla_tracks[0].strips[0].mute = True
    assert not rig.movers(scene, chosen)


def test_a_linked_camera_is_refused_by_the_name_of_its_file_and_baked(scene, tmp_path):
    far = bpy.data.objects.new("Layout Camera", bpy.data.cameras.new("Layout Camera"))
    far.location, far.rotation_euler = (1, 0, 0.5), (np.pi / 2, 0, 0.1)
    bpy.data.libraries.write(str(tmp_path / "layout.blend"), {far})
    bpy.data.objects.remove(far)
    with bpy.data.libraries.load(str(tmp_path / "layout.blend"), link=True) as (_there, here):
        here.objects = ["Layout Camera"]
    (linked,) = here.objects
    scene.collection.objects.link(linked)
    scene.ex4d.camera = linked
    bpy.context.view_layer.update()
    seen = camera.sample(scene)
    with pytest.raises(RuntimeError, match=r"is moved by the file layout\.blend, which it is linked from"):
        bpy.ops.ex4d.camera_preset()
    bpy.ops.ex4d.bake_camera()
    assert scene.ex4d.camera.library is None
    assert camera.sample(scene).camera_to_world == pytest.approx(seen.camera_to_world, abs=1e-5)


@pytest.mark.parametrize("mode", ["QUATERNION", "AXIS_ANGLE", "ZYX"])
def test_snapping_keys_the_rotation_that_the_camera_has(scene, mode):
    chosen = scene.ex4d.camera
    chosen.rotation_mode = mode
    chosen.location.x = 1
    chosen.keyframe_insert("location", frame=scene.ex4d.start)
    for channel in ("rotation_quaternion", "rotation_axis_angle", "rotation_euler"):
        chosen.keyframe_insert(channel, frame=scene.ex4d.start)
    bpy.ops.ex4d.snap_to_source(at="FIRST")
    assert camera.sample(scene).camera_to_world[0] == pytest.approx(np.eye(4), abs=1e-5)
