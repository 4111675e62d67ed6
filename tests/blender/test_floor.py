"""Set Floor: making the shot upright, through chosen vertices or on the ground that is found."""

import bpy
import numpy as np
import pytest
import shots
from mathutils import Euler, Vector
from test_unlucky_order import reported

from blender_addon.scene import camera, mesh_object, objects
from blender_addon.work import session
from ex4d.geometry.depth_video import DepthVideo


def ground_depth(height: float, pitch: float) -> DepthVideo:
    """Depth of ground `height` below a camera pitched down by `pitch` degrees, with a wall ahead."""
    depth = shots.small_depth()
    count, rows, columns = depth.depth.shape
    k = depth.intrinsics[0]
    down = (np.arange(rows) + 0.5 - k[1, 2]) / k[1, 1]
    falls = np.cos(np.radians(pitch)) * down + np.sin(np.radians(pitch))  # drop of a ray per unit of depth
    reach = np.where(falls > 1e-3, height / np.maximum(falls, 1e-3), np.inf)
    picture = np.repeat(np.minimum(reach, 9.0)[:, None], columns, 1).astype(np.float32)
    return DepthVideo(np.repeat(picture[None], count, 0), depth.intrinsics, "test")


def points_object(scene, points):
    """A mesh with these world points, in Edit Mode, all selected."""
    mesh = bpy.data.meshes.new("points")
    mesh.from_pydata([tuple(point) for point in points], [], [])
    thing = bpy.data.objects.new("points", mesh)
    scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    return thing


@pytest.fixture
def tilted(scene, tmp_path):
    """The root, turned and moved, of a shot from 1.5 above the ground, pitched down by 25 degrees."""
    shots.open_small(tmp_path, depth=ground_depth(1.5, 25.0))
    root = objects.find(scene, objects.ROOT)
    root.location, root.rotation_euler = (3, -2, 5), Euler((0.2, -0.1, 0.9))
    bpy.context.view_layer.update()
    return root


def eye(scene):
    bpy.context.view_layer.update()
    return np.array(objects.find(scene, objects.SOURCE_CAMERA).matrix_world.translation)


def heading(scene):
    matrix = camera.matrix_of(objects.find(scene, objects.SOURCE_CAMERA))
    return np.degrees(np.arctan2(-matrix[1, 2], -matrix[0, 2]))


def test_the_ground_that_is_found_becomes_the_floor(tilted, scene):
    before, cursor = eye(scene), np.array(scene.cursor.location)
    apart = np.linalg.norm(cursor - before)
    assert bpy.ops.ex4d.set_floor() == {"FINISHED"}
    assert "the shot was turned by" in session.current().state.message
    after = eye(scene)
    assert after == pytest.approx([*before[:2], 1.5], abs=0.02)
    matrix = camera.matrix_of(objects.find(scene, objects.SOURCE_CAMERA))
    assert np.degrees(np.arcsin(matrix[2, 2])) == pytest.approx(25, abs=0.5)  # pitched down this far, without roll
    assert abs(np.degrees(np.arcsin(matrix[2, 0]))) < 0.5
    heights = mesh_object.shown_points(scene)[:, 2]
    assert np.quantile(np.abs(heights), 0.3) < 0.02
    assert np.linalg.norm(np.array(scene.cursor.location) - after) == pytest.approx(apart)


def test_the_floor_goes_through_vertices_that_are_selected(tilted, scene):
    points = [Vector((0, 0, 1)), Vector((4, 0, 1)), Vector((0, 3, 3))]
    points_object(scene, points)
    before = eye(scene)
    assert bpy.ops.ex4d.set_floor() == {"FINISHED"}
    assert bpy.context.mode == "OBJECT"
    normal = (points[1] - points[0]).cross(points[2] - points[0]).normalized()
    assert eye(scene) == pytest.approx([*before[:2], normal.dot(Vector(before) - points[0])], abs=1e-4)


@pytest.mark.parametrize("turn", [0.0, 1.0, 2.5, 4.0])
def test_a_camera_that_looks_straight_down_ends_above_the_floor(tilted, scene, turn):
    tilted.rotation_euler = (-np.pi / 2, 0, turn)  # the camera looked along Y
    bpy.context.view_layer.update()
    below = np.array([[0, 0, -3], [2, 0.01, -3.01], [0.5, 2, -3]]) + eye(scene)
    points_object(scene, [Vector(point) for point in below])
    assert bpy.ops.ex4d.set_floor() == {"FINISHED"}
    assert eye(scene)[2] == pytest.approx(3, abs=0.05)


def test_undo_brings_the_shot_back(tilted, scene):
    bpy.ops.ed.undo_push(message="before")
    before = tuple(tilted.location)
    bpy.ops.ex4d.set_floor()
    bpy.ops.ed.undo_push(message="after")
    assert tuple(objects.find(bpy.context.scene, objects.ROOT).location) != before
    bpy.ops.ed.undo()
    assert tuple(objects.find(bpy.context.scene, objects.ROOT).location) == before


def test_a_floor_that_cannot_be_set_says_why_and_moves_nothing(scene, tmp_path):
    shots.open_small(tmp_path)
    root = objects.find(scene, objects.ROOT)
    before = root.matrix_world.copy()
    points_object(scene, [(0, 0, 0), (1, 0, 0)])
    try:
        assert "Select three or more vertices of the ground, not 2" in reported("set_floor")
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")
    held = root.constraints.new("LIMIT_LOCATION")
    assert "is moved by its constraint Limit Location: remove that" in reported("set_floor")
    root.constraints.remove(held)
    root.keyframe_insert("location", frame=1)
    assert "is moved by its keys: remove that" in reported("set_floor")
    root.keyframe_delete("location", frame=1)
    assert root.animation_data is not None
    assert "No ground was found" in reported("set_floor")
    assert root.matrix_world == before
