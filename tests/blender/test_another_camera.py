"""Several cameras of one shot, and the artist's own objects, which are not in takes."""

import bpy
import numpy as np
import pytest
import shots
from test_panels import draw
from test_takes import take

from blender_addon.scene import camera, compat, objects
from blender_addon.shot import checks, takes
from blender_addon.ui import panels
from blender_addon.work import session


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def said():
    return session.current().state.message


def told(scene):
    return [a for a in checks.warnings(scene) if "from the clip alone" in a.text]


def test_a_new_camera_stands_where_the_chosen_one_is_without_its_keys_and_is_chosen(scene):
    first = scene.ex4d.camera
    bpy.ops.ex4d.camera_preset(preset="dolly_zoom", amount=0.5)
    first.data.dof.focus_distance = 3.5
    scene.frame_set(scene.ex4d.start + 6)
    path = camera.sample(scene)
    assert bpy.ops.ex4d.new_camera() == {"FINISHED"}
    made = scene.ex4d.camera
    assert made not in (first, objects.find(scene, objects.CAMERA))
    assert made.parent == objects.find(scene, objects.ROOT)
    assert scene.camera == made
    assert not list(compat.fcurves(made)) + list(compat.fcurves(made.data))
    assert made.data != first.data
    assert made.data.dof.focus_distance == 3.5
    now = camera.sample(scene)
    assert now.camera_to_world == pytest.approx(np.broadcast_to(path.camera_to_world[6], (13, 4, 4)), abs=1e-5)
    assert now.intrinsics == pytest.approx(np.broadcast_to(path.intrinsics[6], (13, 3, 3)), rel=1e-5)
    assert path.camera_to_world[6, 2, 3] > 1  # it had moved
    bpy.ops.ex4d.camera_preset(preset="30")
    scene.ex4d.camera = first
    assert camera.sample(scene).camera_to_world == pytest.approx(path.camera_to_world, abs=1e-5)


def test_a_new_camera_can_stand_at_the_source_view_and_does_so_where_none_is_chosen(scene):
    scene.ex4d.camera.location.x = 2
    bpy.ops.ex4d.new_camera(at="SOURCE")
    assert np.array_equal(camera.sample(scene).camera_to_world, np.broadcast_to(np.eye(4), (13, 4, 4)))
    scene.ex4d.camera = None
    bpy.ops.ex4d.new_camera()
    assert np.array_equal(camera.sample(scene).camera_to_world, np.broadcast_to(np.eye(4), (13, 4, 4)))


def test_a_new_camera_is_at_the_same_place_where_a_parent_moves_the_chosen_one_and_the_shot_is_scaled(scene):
    root, chosen = objects.find(scene, objects.ROOT), scene.ex4d.camera
    root.scale, root.location = (2, 2, 2), (1, 2, 3)
    holder = bpy.data.objects.new("Crane", None)
    scene.collection.objects.link(holder)
    holder.location, holder.rotation_euler = (0, 1, 0.5), (0, 0.1, 0.2)
    chosen.parent = holder
    bpy.context.view_layer.update()
    before = np.array(chosen.matrix_world)
    bpy.ops.ex4d.new_camera()
    bpy.context.view_layer.update()
    after = np.array(scene.ex4d.camera.matrix_world)
    assert after[:3, 3] == pytest.approx(before[:3, 3], abs=1e-5)
    assert after[:3, :3] / 2 == pytest.approx(before[:3, :3], abs=1e-5)  # the shot's scale is not part of a pose


def test_a_take_remembers_the_name_of_its_camera_and_the_panel_shows_it(scene, tmp_path):
    scene.ex4d.camera.name = "Left"
    take(scene, tmp_path / "one")
    bpy.ops.ex4d.new_camera()
    scene.ex4d.camera.name = "Right"
    take(scene, tmp_path / "two")
    assert [entry.camera for entry in scene.ex4d.takes] == ["Left", "Right"]
    assert "Right" in draw(panels.draw_takes).labels


def add_cube(name, location, size=0.5):
    bpy.ops.mesh.primitive_cube_add(size=size, location=location)
    bpy.context.object.name = name
    return bpy.context.object


def test_own_objects_that_the_camera_sees_are_told_until_somebody_has_heard_it(scene):
    assert not told(scene)
    add_cube("Lamp", (0, 5, 0))
    add_cube("Behind", (0, -5, 0))
    add_cube("Beside", (9, 5, 0))
    add_cube("Hidden", (0.2, 5, 0)).hide_render = True
    (advice,) = told(scene)
    assert advice.text == "Takes are made from the clip alone: Lamp will not be in them."
    for number in range(3):
        add_cube(f"Box {number}", (0, 6, 0))
    (advice,) = told(scene)
    assert "Lamp, Box 0, Box 1 and others will not be in them" in advice.text
    bpy.ops.ex4d.own_objects_known()
    assert not told(scene)


def test_the_first_take_tells_of_objects_that_its_path_sees_in_any_frame_and_the_second_does_not(scene, tmp_path):
    bpy.ops.ex4d.camera_preset(preset="truck", amount=3.0)
    add_cube("Beside", (9, 5, 0))
    assert not told(scene)  # in the first frame
    for name, expected in (("one", True), ("two", False)):
        request = takes.request_take(scene, preview=False)
        assert bool(request.bystanders) == expected
        take(scene, tmp_path / name)
    assert not takes.request_take(scene, preview=True).bystanders


def test_what_a_take_tells_at_its_end_names_the_objects(scene, tmp_path):
    from test_takes import deliver

    add_cube("Lamp", (0, 5, 0))
    text = shots.outcome(takes.bring_in(*deliver(scene, tmp_path / "one")))
    assert text.endswith("Takes are made from the clip alone: Lamp will not be in them.")
