"""The add-on's conversion, compared with Blender's own projection."""

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Quaternion, Vector

from blender_addon.scene import axes, camera

TOLERANCE_PX = 1e-4

# Small, because Blender's function computes in float32: its own error is a ten-millionth of the focal length.
PICTURES = [(64, 36, 1, 1), (36, 64, 1, 1), (50, 50, 1, 1), (60, 40, 1, 2), (32, 40, 1.25, 1)]
FITS = ["AUTO", "HORIZONTAL", "VERTICAL"]


def random_camera(rng: np.random.Generator, fit: str) -> bpy.types.Object:
    data = bpy.data.cameras.new("random")
    data.lens = rng.uniform(12, 120)
    data.sensor_fit = fit
    data.sensor_width, data.sensor_height = rng.uniform(16, 60, 2)
    data.shift_x, data.shift_y = rng.uniform(-0.4, 0.4, 2)
    made = bpy.data.objects.new("random", data)
    bpy.context.scene.collection.objects.link(made)
    rotation = Quaternion(rng.normal(size=4)).normalized().to_matrix().to_4x4()
    made.matrix_world = Matrix.Translation(rng.uniform(-2, 2, 3)) @ rotation
    bpy.context.view_layer.update()
    return made


def in_front(rng: np.random.Generator, of: bpy.types.Object) -> list[Vector]:
    local = np.stack([*rng.uniform(-0.5, 0.5, (2, 20)), -rng.uniform(1, 4, 20)], axis=-1)
    return [of.matrix_world @ Vector(point) for point in local]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("picture", PICTURES)
def test_pixels_are_where_blender_puts_them(scene, fit, picture):
    rng = np.random.default_rng([FITS.index(fit), picture[0], picture[1]])
    render = scene.render
    render.resolution_x, render.resolution_y, render.pixel_aspect_x, render.pixel_aspect_y = picture
    compared = 0
    for _ in range(20):
        made = random_camera(rng, fit)
        size = camera.picture_of(scene)
        k = axes.intrinsics_from_lens(camera.lens_of(made.data), size)
        pose = axes.pose_from_blender(camera.matrix_of(made))
        for point in in_front(rng, made):
            seen = np.linalg.inv(pose) @ [*axes.points_from_blender(np.array(point, np.float64)), 1]
            ours = (k @ seen[:3] / seen[2])[:2]
            theirs = world_to_camera_view(scene, made, point)
            expected = np.array([theirs.x * size.width, (1 - theirs.y) * size.height])
            if 0 < theirs.x < 1 and 0 < theirs.y < 1:
                compared += 1
                assert ours == pytest.approx(expected, abs=TOLERANCE_PX)
    assert compared > 20


def view_in_float64(scene: bpy.types.Scene, of: bpy.types.Object, point: Vector) -> tuple[float, float]:
    """`world_to_camera_view` for a perspective camera: the same formula on Blender's view frame, but in float64."""
    local = np.linalg.inv(np.array(of.matrix_world, np.float64)) @ [*point, 1]
    frame = np.array([corner[:] for corner in of.data.view_frame(scene=scene)[:3]], np.float64)
    frame *= local[2] / frame[:, 2:]
    left, right, bottom, top = frame[2, 0], frame[1, 0], frame[1, 1], frame[0, 1]
    return (local[0] - left) / (right - left), (local[1] - bottom) / (top - bottom)


@pytest.mark.parametrize("fit", FITS)
def test_pixels_are_where_blenders_formula_puts_them_in_a_picture_of_real_size(scene, fit):
    rng = np.random.default_rng(FITS.index(fit))
    scene.render.resolution_x, scene.render.resolution_y = 512, 288
    compared = 0
    for _ in range(40):
        made = random_camera(rng, fit)
        size = camera.picture_of(scene)
        k = axes.intrinsics_from_lens(camera.lens_of(made.data), size)
        pose = axes.pose_from_blender(camera.matrix_of(made))
        for point in in_front(rng, made):
            seen = np.linalg.inv(pose) @ [*axes.points_from_blender(np.array(point, np.float64)), 1]
            x, y = view_in_float64(scene, made, point)
            if 0 < x < 1 and 0 < y < 1:
                compared += 1
                expected = np.array([x * size.width, (1 - y) * size.height])
                assert (k @ seen[:3] / seen[2])[:2] == pytest.approx(expected, abs=TOLERANCE_PX)
    assert compared > 100


def test_the_percentage_scales_the_picture(scene):
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 640, 480, 50
    assert camera.picture_of(scene) == axes.Picture(320, 240)
    lens = axes.Lens(50.0, shift_x=0.1)
    full = axes.intrinsics_from_lens(lens, axes.Picture(640, 480))
    half = axes.intrinsics_from_lens(lens, camera.picture_of(scene))
    assert half == pytest.approx(np.diag([0.5, 0.5, 1]) @ full)


def test_poses_and_points_come_back_from_blender_axes():
    rng = np.random.default_rng(5)
    pose = np.eye(4)
    pose[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pose[:3, 3] = rng.normal(size=3)
    assert axes.pose_from_blender(axes.pose_to_blender(pose)) == pytest.approx(pose)
    points = rng.normal(size=(7, 3)).astype(np.float32)
    assert np.array_equal(axes.points_from_blender(axes.points_to_blender(points)), points)


def test_lenses_come_back_from_intrinsics():
    rng = np.random.default_rng(6)
    for _ in range(50):
        width, height = (int(n) for n in rng.integers(16, 2000, 2))
        fx, fy = rng.uniform(50, 3000, 2)
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        lens, aspect = axes.lens_from_intrinsics(k, width, height)
        assert axes.intrinsics_from_lens(lens, axes.Picture(width, height, aspect)) == pytest.approx(k)


def test_the_source_view_stands_upright_and_looks_along_y():
    matrix = axes.pose_to_blender(np.eye(4))
    assert -matrix[:3, 2] == pytest.approx([0, 1, 0])  # where a Blender camera looks
    assert matrix[:3, 1] == pytest.approx([0, 0, 1])  # its up direction
    assert axes.points_to_blender(np.array([0.0, -1.0, 5.0])) == pytest.approx([0, 5, 1])
