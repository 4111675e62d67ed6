"""Presets around the 3D cursor and around selected objects."""

import bpy
import numpy as np
import pytest
import shots
from mathutils import Matrix, Vector

from blender_addon.scene import axes, camera, objects

MARKED = (0.8, 5.0, 0.4)
"""A point in Blender axes, to the right of the source camera's axis and above it."""


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def seen(scene, point):
    """Where the chosen camera sees a point of Blender's world, (T,2) in pixels, and the camera's path."""
    root = camera.matrix_of(objects.find(scene, objects.ROOT))
    path = camera.sample(scene)
    local = axes.points_from_blender((np.linalg.inv(root) @ [*point, 1])[:3])
    at = (path.intrinsics @ (path.extrinsics @ [*local, 1])[:, :3, None])[..., 0]
    return at[:, :2] / at[:, 2:], path


def test_an_orbit_about_the_cursor_keeps_what_it_marks_in_its_place(scene):
    scene.cursor.location = MARKED
    assert bpy.ops.ex4d.camera_preset(preset="60", amount=60, pivot="CURSOR") == {"FINISHED"}
    pixels, path = seen(scene, MARKED)
    assert pixels == pytest.approx(np.broadcast_to(pixels[0], pixels.shape), abs=0.1)
    assert pixels[0] == pytest.approx(
        [shots.WIDTH / 2 + 1.1 * shots.WIDTH * 0.8 / 5, shots.HEIGHT / 2 - 1.1 * shots.WIDTH * 0.4 / 5], rel=1e-4
    )
    level = np.hypot(0.8, 5)
    eye = path.camera_to_world[-1, :3, 3]
    assert np.hypot(eye[0] - 0.8, eye[2] - 5) == pytest.approx(level, rel=1e-3)
    assert eye[1] == pytest.approx(-0.2 * level * (1 - np.cos(np.radians(60))), rel=1e-2)
    assert np.array_equal(path.camera_to_world[0], np.eye(4))


def test_the_cursor_means_the_same_point_where_the_shot_was_moved_and_scaled(scene):
    root = objects.find(scene, objects.ROOT)
    root.location, root.rotation_euler, root.scale = (3, 1, 2), (0.1, 0.2, 0.3), (2, 2, 2)
    bpy.context.view_layer.update()
    scene.cursor.location = root.matrix_world @ Vector(MARKED)
    bpy.ops.ex4d.camera_preset(preset="arc", amount=30, pivot="CURSOR")
    pixels, path = seen(scene, scene.cursor.location)
    assert pixels == pytest.approx(np.broadcast_to(pixels[0], pixels.shape), abs=0.1)
    assert np.ptp(path.camera_to_world[:, 0, 3]) > 2


def test_the_middle_of_selected_objects_counts_and_neither_the_shot_nor_its_camera(scene):
    made = []
    for x in (0.3, 1.3):
        bpy.ops.mesh.primitive_cube_add(size=0.2, location=(x, 5.0, 0.4))
        made.append(bpy.context.object)
    made[1].data.transform(Matrix.Translation((0.4, 0, 0)))  # its origin is not its centre
    for thing in (*made, objects.find(scene, objects.MESH), scene.ex4d.camera):
        thing.select_set(True)
    bpy.ops.ex4d.camera_preset(preset="arc", amount=30, pivot="SELECTION")
    middle = (1.0, 5.0, 0.4)
    pixels, _path = seen(scene, middle)
    assert pixels == pytest.approx(np.broadcast_to(pixels[0], pixels.shape), abs=0.1)


def test_no_selection_and_a_cursor_behind_the_camera_are_refused_and_the_keys_stay(scene):
    bpy.ops.ex4d.camera_preset(preset="arc")
    before = camera.sample(scene).camera_to_world
    bpy.ops.object.select_all(action="DESELECT")
    objects.find(scene, objects.MESH).select_set(True)
    with pytest.raises(RuntimeError, match="No object is selected that the camera could turn around"):
        bpy.ops.ex4d.camera_preset(preset="90", pivot="SELECTION")
    scene.cursor.location = (0, -1, 0)
    with pytest.raises(RuntimeError, match="The 3D cursor is not in front of the source camera"):
        bpy.ops.ex4d.camera_preset(preset="90", pivot="CURSOR")
    assert np.array_equal(camera.sample(scene).camera_to_world, before)


def test_an_empty_can_be_the_pivot_and_the_panel_hands_its_choice_to_the_button(scene):
    bpy.ops.object.empty_add(location=MARKED)
    bpy.ops.ex4d.camera_preset(preset="crane", amount=0.4, pivot="SELECTION")
    pixels, path = seen(scene, MARKED)
    assert pixels == pytest.approx(np.broadcast_to(pixels[0], pixels.shape), abs=0.1)
    assert path.camera_to_world[-1, 1, 3] == pytest.approx(-0.4 * np.hypot(0.8, 5), rel=1e-3)
